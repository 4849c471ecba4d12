// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/qwen3vl_c.h"

#include <pthread.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "qwen3vl/qwen3vl.h"

struct qwen3vl_model {
  qwen3vl::Model model;
};
struct qwen3vl_session {
  qwen3vl::Session session;
  qwen3vl::SamplingOptions default_sampling;
};
struct qwen3vl_picture {
  std::shared_ptr<const qwen3vl::Picture> picture;
};
struct qwen3vl_chat {
  std::vector<qwen3vl::Message> messages;
};
struct qwen3vl_reply {
  qwen3vl::Reply reply;
};

namespace {

using qwen3vl::Error;
using qwen3vl::ErrorCode;

thread_local std::string last_error;

qwen3vl_status ToStatus(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return QWEN3VL_INVALID_ARGUMENT;
    case ErrorCode::kNotFound:
      return QWEN3VL_NOT_FOUND;
    case ErrorCode::kCorruptFile:
      return QWEN3VL_CORRUPT_FILE;
    case ErrorCode::kUnsupported:
      return QWEN3VL_UNSUPPORTED;
    case ErrorCode::kOutOfMemory:
      return QWEN3VL_OUT_OF_MEMORY;
    case ErrorCode::kDevice:
      return QWEN3VL_DEVICE;
    case ErrorCode::kCancelled:
      return QWEN3VL_CANCELLED;
  }
  return QWEN3VL_INTERNAL;
}

qwen3vl_status Fail(qwen3vl_status status, const char* text) noexcept {
  try {
    last_error = text;
  } catch (...) {
    last_error.clear();  // no memory for the text: the status alone has to do
  }
  return status;
}

// Puts pthread_cancel off: the unwinding that it starts would end in a catch (...) or at a noexcept.
class CancelPutOff {
 public:
  CancelPutOff() { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
  CancelPutOff(const CancelPutOff&) = delete;
  CancelPutOff& operator=(const CancelPutOff&) = delete;
  ~CancelPutOff() { pthread_setcancelstate(before_, nullptr); }

 private:
  int before_ = PTHREAD_CANCEL_ENABLE;
};

// Runs `body` and turns every exception into a status: none may cross into C.
template <class Body>
qwen3vl_status Guard(const Body& body) noexcept {
  const CancelPutOff put_off;
  try {
    body();
    return QWEN3VL_OK;
  } catch (const Error& e) {
    return Fail(ToStatus(e.code()), e.what());
  } catch (const std::bad_alloc&) {
    return Fail(QWEN3VL_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception& e) {
    return Fail(QWEN3VL_INTERNAL, e.what());
  } catch (...) {
    return Fail(QWEN3VL_INTERNAL, "unknown failure");
  }
}

void Require(bool given, const char* what) {
  if (!given) throw Error(ErrorCode::kInvalidArgument, std::string(what) + ": NULL, want a pointer");
}

// The caller's options over the defaults: only the bytes that the caller's version of the struct has.
template <class Options>
Options WithDefaults(const Options* given, void (*init)(Options*)) {
  Options out;
  init(&out);
  if (!given) return out;
  if (given->struct_size < sizeof(size_t))
    throw Error(ErrorCode::kInvalidArgument, "options: struct_size " + std::to_string(given->struct_size) +
                                                 ", want sizeof the struct (call the init function)");
  std::memcpy(&out, given, std::min(given->struct_size, sizeof(Options)));
  return out;
}

// Each setting that is 0 stays the model's own: structs begin as zeros, and one setting must not undo others.
qwen3vl::SamplingOptions SamplingOf(const qwen3vl_generate_options& o,
                                    const qwen3vl::SamplingOptions& of_model) {
  if (o.greedy) return {};
  qwen3vl::SamplingOptions sampling = of_model;
  if (o.temperature != 0) sampling.temperature = o.temperature;
  if (o.top_p != 0) sampling.top_p = o.top_p;
  if (o.top_k != 0) sampling.top_k = o.top_k;
  sampling.seed = o.seed;
  return sampling;
}

qwen3vl::ProgressFn Wrap(qwen3vl_progress_fn fn, void* user) {
  if (!fn) return nullptr;
  return [fn, user](const qwen3vl::Progress& p) {
    return fn(user, static_cast<qwen3vl_phase>(p.phase), p.done, p.total) != 0;
  };
}

qwen3vl::LogFn Wrap(qwen3vl_log_fn fn, void* user) {
  if (!fn) return nullptr;
  return [fn, user](qwen3vl::LogLevel level, std::string_view line) {
    fn(user, level == qwen3vl::LogLevel::kWarning, line.data(), line.size());
  };
}

}  // namespace

extern "C" {

const char* qwen3vl_last_error(void) { return last_error.c_str(); }
const char* qwen3vl_version(void) { return QWEN3VL_VERSION; }

void qwen3vl_model_options_init(qwen3vl_model_options* o) {
  *o = {sizeof *o, nullptr, nullptr, nullptr, nullptr, QWEN3VL_REPACK_AUTO};
}
void qwen3vl_session_options_init(qwen3vl_session_options* o) {
  *o = {.struct_size = sizeof *o, .kv_type = QWEN3VL_KV_F16};
}
void qwen3vl_generate_options_init(qwen3vl_generate_options* o) {
  *o = {.struct_size = sizeof *o, .max_tokens = 512, .draft_tokens = 3};
}

qwen3vl_status qwen3vl_model_load(const char* path, const qwen3vl_model_options* options,
                                  qwen3vl_model** model) {
  return Guard([&] {
    Require(path, "path");
    Require(model, "model");
    const qwen3vl_model_options o = WithDefaults(options, qwen3vl_model_options_init);
    if (o.repack < QWEN3VL_REPACK_AUTO || o.repack > QWEN3VL_REPACK_OFF)
      throw Error(ErrorCode::kInvalidArgument, "repack: " + std::to_string(o.repack) + ", want 0 to 2");
    *model =
        new qwen3vl_model{qwen3vl::Model::Load(path, {.mmproj = o.mmproj ? o.mmproj : "",
                                                      .repack = static_cast<qwen3vl::RepackChoice>(o.repack),
                                                      .log = Wrap(o.log, o.user),
                                                      .progress = Wrap(o.progress, o.user)})};
  });
}

void qwen3vl_model_free(qwen3vl_model* model) { delete model; }

qwen3vl_status qwen3vl_picture_load(const char* path, qwen3vl_picture** picture) {
  return Guard([&] {
    Require(path, "path");
    Require(picture, "picture");
    *picture = new qwen3vl_picture{std::make_shared<const qwen3vl::Picture>(qwen3vl::LoadPicture(path))};
  });
}

qwen3vl_status qwen3vl_picture_from_rgb(const uint8_t* rgb, size_t width, size_t height,
                                        qwen3vl_picture** picture) {
  return Guard([&] {
    Require(rgb, "rgb");
    Require(picture, "picture");
    size_t bytes;
    if (width == 0 || height == 0 || __builtin_mul_overflow(width, height, &bytes) ||
        __builtin_mul_overflow(bytes, size_t{3}, &bytes))
      throw Error(ErrorCode::kInvalidArgument, "picture: " + std::to_string(width) + " x " +
                                                   std::to_string(height) + " pixels, want at least 1 x 1");
    *picture = new qwen3vl_picture{
        std::make_shared<const qwen3vl::Picture>(qwen3vl::Picture{width, height, {rgb, rgb + bytes}})};
  });
}

void qwen3vl_picture_free(qwen3vl_picture* picture) { delete picture; }

qwen3vl_status qwen3vl_session_create(const qwen3vl_model* model, const qwen3vl_session_options* options,
                                      qwen3vl_session** session) {
  return Guard([&] {
    Require(model, "model");
    Require(session, "session");
    const qwen3vl_session_options o = WithDefaults(options, qwen3vl_session_options_init);
    if (o.kv_type < QWEN3VL_KV_F32 || o.kv_type > QWEN3VL_KV_Q8_0)
      throw Error(ErrorCode::kInvalidArgument, "kv_type: " + std::to_string(o.kv_type) + ", want 0 to 3");
    if (o.gpu_vision < QWEN3VL_GPU_VISION_AUTO || o.gpu_vision > QWEN3VL_GPU_VISION_OFF)
      throw Error(ErrorCode::kInvalidArgument,
                  "gpu_vision: " + std::to_string(o.gpu_vision) + ", want 0 to 2");
    if (o.cpu_products < QWEN3VL_CPU_PRODUCTS_AUTO || o.cpu_products > QWEN3VL_CPU_PRODUCTS_INT16)
      throw Error(ErrorCode::kInvalidArgument,
                  "cpu_products: " + std::to_string(o.cpu_products) + ", want 0 to 2");
    qwen3vl::SessionOptions s{.threads = o.threads,
                              .context = o.context,
                              .kv_type = static_cast<qwen3vl::KvType>(o.kv_type),
                              .cpu_products = static_cast<qwen3vl::CpuProducts>(o.cpu_products),
                              .gpu_layers = o.gpu_layers,
                              .gpu_vision = static_cast<qwen3vl::GpuVision>(o.gpu_vision),
                              .max_image_tokens = o.max_image_tokens};
    s.log = Wrap(o.log, o.user);
    s.progress = Wrap(o.progress, o.user);
    *session = new qwen3vl_session{qwen3vl::Session(model->model, s), model->model.default_sampling()};
  });
}

void qwen3vl_session_free(qwen3vl_session* session) { delete session; }

void qwen3vl_session_cancel(qwen3vl_session* session) {
  if (session) session->session.Cancel();
}

qwen3vl_status qwen3vl_chat_create(qwen3vl_chat** chat) {
  return Guard([&] {
    Require(chat, "chat");
    *chat = new qwen3vl_chat;
  });
}

qwen3vl_status qwen3vl_chat_add(qwen3vl_chat* chat, const char* role, const char* text, size_t length,
                                const qwen3vl_picture* const* pictures, size_t n_pictures) {
  return Guard([&] {
    Require(chat, "chat");
    Require(role, "role");
    Require(text || length == 0, "text");
    Require(pictures || n_pictures == 0, "pictures");
    qwen3vl::Message m{.role = role};
    for (size_t i = 0; i < n_pictures; ++i) {
      Require(pictures[i], "picture");
      m.parts.push_back({.picture = pictures[i]->picture});
    }
    m.parts.push_back({.text = std::string(text ? text : "", length)});
    chat->messages.push_back(std::move(m));
  });
}

void qwen3vl_chat_free(qwen3vl_chat* chat) { delete chat; }

qwen3vl_status qwen3vl_session_chat(qwen3vl_session* session, const qwen3vl_chat* chat,
                                    const qwen3vl_generate_options* options, qwen3vl_reply** reply) {
  return Guard([&] {
    Require(session, "session");
    Require(chat, "chat");
    Require(reply, "reply");
    const qwen3vl_generate_options o = WithDefaults(options, qwen3vl_generate_options_init);
    qwen3vl::GenerateOptions g{.max_tokens = o.max_tokens,
                               .sampling = SamplingOf(o, session->default_sampling),
                               .draft_tokens = o.draft_tokens};
    if (o.on_text)
      g.on_text = [&o](std::string_view text) { return o.on_text(o.user, text.data(), text.size()) != 0; };
    *reply = new qwen3vl_reply{session->session.Chat(chat->messages, g)};
  });
}

const char* qwen3vl_reply_text(const qwen3vl_reply* reply, size_t* length) {
  if (length) *length = reply->reply.text.size();
  return reply->reply.text.c_str();
}

qwen3vl_finish qwen3vl_reply_finish(const qwen3vl_reply* reply) {
  return static_cast<qwen3vl_finish>(reply->reply.finish);
}
size_t qwen3vl_reply_prompt_tokens(const qwen3vl_reply* reply) { return reply->reply.prompt_tokens; }
size_t qwen3vl_reply_generated_tokens(const qwen3vl_reply* reply) { return reply->reply.ids.size(); }
void qwen3vl_reply_free(qwen3vl_reply* reply) { delete reply; }

}  // extern "C"
