// SPDX-License-Identifier: Apache-2.0
// The public C++ interface: load a Qwen3-VL model, open a session, ask about pictures. Needs only the
// standard library.
//
//   qwen3vl::Model model = qwen3vl::Model::Load("Qwen3VL-4B-Instruct-Q4_K_M.gguf");
//   qwen3vl::Session session(model);
//   qwen3vl::Picture cat = qwen3vl::LoadPicture("cat.jpg");
//   qwen3vl::Reply reply = session.Chat({qwen3vl::UserMessage("What is this?", {cat})});
//
// Errors are thrown as qwen3vl::Error; functions that name no codes throw none. Whatever allocates may throw
// std::bad_alloc besides. The library never prints, exits or aborts; it keeps no global state but the
// process's choice of instruction set. A Model is immutable and may be shared by threads; a Session belongs
// to one thread at a time, except Cancel(). Callbacks of a Session may call Cancel() and the const functions
// of it: Chat, Complete and Reset then throw. A Model or Session that was moved from can only be assigned to
// or destroyed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qwen3vl/error.h"
#include "qwen3vl/export.h"

namespace qwen3vl {

enum class LogLevel { kInfo, kWarning };
using LogFn = std::function<void(LogLevel level, std::string_view line)>;

enum class Phase { kLoad, kEncode, kPrefill, kDecode };

// How far a phase is: kLoad in bytes, kEncode in vision blocks, kPrefill and kDecode in tokens.
struct Progress {
  Phase phase = Phase::kLoad;
  size_t done = 0;
  size_t total = 0;
};
// Called between steps on the caller's thread; returning false cancels.
using ProgressFn = std::function<bool(const Progress& progress)>;

// ---- Pictures and conversations ----

// 8-bit RGB, [height, width, 3], rows top to bottom.
struct Picture {
  size_t width = 0;
  size_t height = 0;
  std::vector<uint8_t> pixels;
};

struct PictureOptions {
  bool alpha_on_white = false;  // composite transparency on white; false drops alpha, as the reference does
  size_t max_pixels = size_t{256} << 20;  // larger files are refused before they are decoded
};

// JPEG, PNG, WebP, GIF (first frame) or BMP, EXIF orientation applied.
// Throws Error: kNotFound, kCorruptFile, kUnsupported (another format, too many pixels), kOutOfMemory.
QWEN3VL_API Picture LoadPicture(const std::string& path, const PictureOptions& options = {});
// The same from memory; `name` is for messages. Throws Error: kCorruptFile, kUnsupported.
QWEN3VL_API Picture DecodePicture(std::span<const uint8_t> file, const std::string& name,
                                  const PictureOptions& options = {});

// Frames of a clip, in order, with the second at which each was taken.
struct Clip {
  std::vector<Picture> frames;
  std::vector<double> seconds;  // [frames]
};

// How many frames of a clip are taken. These are the numbers of the published models; ModelInfo has those of
// a model.
struct ClipSampling {
  double fps = 2;  // frames a second
  size_t min_frames = 4, max_frames = 768;
};

struct ClipOptions {
  PictureOptions picture;
  double fps = 0;      // of the frame files; 0: unknown, 24 as in the reference
  bool sample = true;  // pick frames as `sampling` says; false: take every file
  ClipSampling sampling;
};
// From a list of frame files.
// Throws as LoadPicture; kUnsupported (frames of unlike sizes), kInvalidArgument (none to sample, bad fps).
QWEN3VL_API Clip LoadClip(const std::vector<std::string>& frame_files, const ClipOptions& options = {});
// From a folder of frame files in natural order (frame2 before frame10).
// Throws as the other; kNotFound (no such folder, no frame in it), kInvalidArgument (not a folder).
QWEN3VL_API Clip LoadClip(const std::string& folder, const ClipOptions& options = {});

// One part of a message: a text, or a picture, or a clip. Pictures are shared, not copied; they may change
// between two calls.
struct Part {
  std::string text;
  std::shared_ptr<const Picture> picture;
  std::shared_ptr<const Clip> clip;
};

struct ToolCall {
  std::string name;
  std::string arguments_json;
};

struct Message {
  std::string role;  // "system", "user", "assistant", "tool"
  std::vector<Part> parts;
  std::string reasoning;             // of an assistant turn of a thinking model
  std::vector<ToolCall> tool_calls;  // of an assistant turn
};

// A user turn: pictures in the order given, before the text.
QWEN3VL_API Message UserMessage(std::string text, std::vector<Picture> pictures = {});
QWEN3VL_API Message TextMessage(std::string role, std::string text);

// ---- The model ----

// Copies of the text model's matrices in Q4_0, Q4_K, Q5_K and Q6_K, rows interleaved, which are streamed
// faster (AVX2 and later), but not by exact sessions and not for layers on a GPU. They take the memory that
// those weights take in the file, whose own pages may then be dropped. kAuto: where the free memory holds
// both and 1 GiB besides.
enum class RepackChoice { kAuto, kOn, kOff };

struct ModelOptions {
  std::string mmproj;  // vision GGUF; empty: found beside the text file
  RepackChoice repack = RepackChoice::kAuto;
  LogFn log;            // one line at a time, no line end
  ProgressFn progress;  // Phase::kLoad; false: Error(kCancelled)
};

struct ModelInfo {
  std::string name;
  size_t n_layers = 0, dim = 0, n_heads = 0, n_kv_heads = 0, head_dim = 0, vocab_size = 0, max_seq_len = 0;
  size_t n_experts = 0;         // 0: dense
  size_t vision_layers = 0;     // 0: text only
  size_t weight_bytes = 0;      // as they lie in the files
  size_t repackable_bytes = 0;  // of them in the formats that RepackChoice is about
  size_t repacked_bytes = 0;    // of those copied when the model was loaded
  bool has_tokenizer = false;
  bool thinking = false;           // replies begin inside the reasoning
  size_t pixels_per_token = 1024;  // area of a picture that becomes one token
  size_t max_image_tokens = 0;     // larger pictures are shrunk to this, unless a session says otherwise
  ClipSampling clip_sampling;
};

struct SamplingOptions {
  float temperature = 0;  // 0: greedy
  float top_p = 1;
  size_t top_k = 0;  // 0: all
  float min_p = 0;
  float repetition_penalty = 1;
  float presence_penalty = 0;
  uint64_t seed = 0;
};

class QWEN3VL_API Model {
 public:
  // A Hugging Face folder, a GGUF file (any part of a split one), or a folder with one. Weights stay mapped.
  // Throws Error: kNotFound, kCorruptFile, kUnsupported (architecture, format, tokenizer), kInvalidArgument
  // (another file of a model, an mmproj that is ambiguous or out of place, a bad QWEN3VL_ISA), kOutOfMemory,
  // kCancelled (by `progress`).
  static Model Load(const std::string& path, const ModelOptions& options = {});

  ModelInfo info() const;
  // What a reply is sampled with unless GenerateOptions says otherwise (generation_config).
  SamplingOptions default_sampling() const;

  // Text to token ids and back. Throws Error: kUnsupported (the model came without a tokenizer).
  std::vector<int32_t> Encode(std::string_view text) const;
  std::string Decode(std::span<const int32_t> ids, bool skip_special = false) const;
  std::string Piece(int32_t id) const;

  struct Impl;
  const std::shared_ptr<const Impl>& impl() const { return impl_; }

 private:
  explicit Model(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

// ---- A session ----

enum class KvType { kF32, kF16, kBF16, kQ8_0 };
enum class AttentionChoice { kAuto, kCuda, kTiled, kStandard };
// Attention scores on a GPU: in fp32, or from q and k rounded to 8 bits.
enum class GpuScores { kF32, kInt8 };
// Attention of prompts and pictures on the CPU, and their products with f32, f16 and bf16 weights: of floats,
// or of whole numbers of 16 bits, to which both sides are rounded: about a quarter less time, with errors as
// of numbers in f16. kAuto: whole numbers where the weights, or the keys and values of text, are kept in 16
// bits or fewer, but floats throughout with KvType::kF32 or SessionOptions::exact, which refuses kInt16.
enum class CpuProducts { kAuto, kF32, kInt16 };

// A tensor as it passes by ("text.layer.3.attn"): `qwen3vl trace --help` lists the names. Valid during the
// call only.
struct TraceTensor {
  std::string_view name;
  std::span<const size_t> shape;
  const float* f32 = nullptr;  // one of the two
  const int32_t* i32 = nullptr;
};
using TraceFn = std::function<void(const TraceTensor& tensor)>;

// As many layers as fit, where one layer is measured to be faster on the GPU than on the CPU.
inline constexpr size_t kAutoGpuLayers = static_cast<size_t>(-1);

// The vision tower on an NVIDIA GPU. kAuto: with kAutoGpuLayers, where one of its blocks is measured to be
// faster there and its memory is free.
enum class GpuVision { kAuto, kOn, kOff };

inline constexpr size_t kDefaultContext = 8192;  // tokens

struct SessionOptions {
  size_t threads = 0;  // at most 1024; 0: as measured by `qwen3vl bench tune`, else the physical fast cores
  size_t context = 0;  // tokens the cache holds; 0: kDefaultContext, or the model's own limit if lower
  KvType kv_type = KvType::kF16;
  AttentionChoice attention = AttentionChoice::kAuto;
  std::vector<std::pair<size_t, AttentionChoice>> attention_layers;  // text layers that differ
  CpuProducts cpu_products = CpuProducts::kAuto;
  GpuScores gpu_scores = GpuScores::kF32;
  size_t gpu_layers = 0;  // text layers on an NVIDIA GPU, counted from the last one; or kAutoGpuLayers
  GpuVision gpu_vision = GpuVision::kAuto;
  size_t tile = 0;             // key/value rows per step; 0: as measured, else by hardware
  bool use_tuning = true;      // look at what `qwen3vl bench tune` stored for this machine and user
  size_t prefill_chunk = 512;  // prompt tokens at a time: bounds scratch memory
  bool check_finite = false;   // look for non-finite attention results and recompute them
  bool exact = false;          // quantised weights times float activations instead of 8-bit ones
  // Bounds on the tokens of a picture, and of a clip; 0: what the model's files say.
  size_t min_image_tokens = 0, max_image_tokens = 0, max_video_tokens = 0;
  // Where an upper bound is 0: pictures, or clips, are scaled down so that this many of the largest size fill
  // half the context (a photo in the size that the files allow may fill the default context alone). 0: they
  // are not, as in the reference; for Complete with ids from elsewhere.
  size_t pictures_to_fit = 1;
  bool ignore_memory = false;  // start although the free memory looks too small
  bool verify = false;         // run every attention on the standard path too and keep the deviations
  bool profile = false;        // keep times per part
  LogFn log;
  ProgressFn progress;
  TraceFn trace;  // encodes all pictures in one pass and computes the logits of all positions
};

struct GenerateOptions {
  size_t max_tokens = 512;
  std::optional<SamplingOptions> sampling;  // absent: the model's generation_config
  // Picks the next token from logits [vocab_size] in the place of sampling: for answers that have to follow a
  // grammar, say. Called once a token, in order. Another number than 0 to vocab_size - 1: kInvalidArgument.
  std::function<int32_t(std::span<const float> logits)> choose;
  std::vector<std::string> stop;  // texts that end the answer; not part of it
  // Tokens that a step may compute along because the conversation went on so before: where they come true, a
  // step gives several. The answer is the same to the bit. At most 3; 0: none. Not with
  // SessionOptions::check_finite, nor where single attention calls go to a GPU (AttentionChoice::kCuda).
  size_t draft_tokens = 3;
  // The answer of a fresh session to the bit: of the previous call only whole chunks (prefill_chunk) are
  // reused. Else all that is shared is, and rounding may differ in the last digits.
  bool reproducible = false;
  bool ignore_end = false;  // go on after an end token
  bool trust_text = false;  // "<|im_end|>" written in a message counts as the token itself
  bool enable_thinking = true;
  bool add_vision_id = false;                          // "Picture 1: " before each picture
  std::vector<std::string> tools_json;                 // function descriptions
  std::function<bool(std::string_view text)> on_text;  // streamed whole characters; false: stop
};

enum class FinishReason { kStop, kLength, kContextFull, kCancelled };
QWEN3VL_API std::string_view Name(FinishReason reason);  // "stop", "length", "context_full", "cancelled"

struct Reply {
  std::string text;
  std::vector<int32_t> ids;  // generated, end token left out
  FinishReason finish = FinishReason::kStop;
  size_t prompt_tokens = 0;
  size_t reused_tokens = 0;  // of the prompt, taken from the cache
  size_t image_tokens = 0;
  size_t drafted_tokens = 0;   // computed along, see GenerateOptions::draft_tokens
  size_t accepted_tokens = 0;  // of them, those that became part of the answer
  double preprocess_s = 0, encode_s = 0, prefill_s = 0, decode_s = 0;
  double first_token_s = 0;  // from the call to the first token
};

// Largest difference between the path in use and standard attention, per layer (SessionOptions::verify).
struct LayerDeviation {
  std::string layer;  // "vision.block.3", "text.layer.0"
  std::string path;   // that was compared
  double max_abs = 0;
  double rel_norm = 0;
  size_t calls = 0;
};

// Time per part (SessionOptions::profile), and the attention shapes seen.
struct ProfileRow {
  std::string stage;  // "preprocess", "encode", "prefill", "decode"
  std::string part;   // "attention", "qkv", "mlp", ...
  std::string block;  // "vision.block.3", "text.layer.0", or empty
  size_t calls = 0;
  double seconds = 0;
  std::string shape;  // attention only: "q 64x16x64 kv 64 f32"
};

// Memory that running takes, in bytes, known before anything is loaded or computed.
struct MemoryNeed {
  size_t weights = 0;
  size_t kv_cache = 0;
  size_t image_stage = 0;  // pixels, patches and activations of the largest picture
  size_t text_stage = 0;   // activations of one chunk, logits, attention scratch
  // Memory of the GPU, besides: the layers (kAutoGpuLayers: all) and the tower asked for there.
  size_t gpu = 0;
  size_t total() const { return weights + kv_cache + image_stage + text_stage; }
};

// What the session will do with a picture: its size after resizing and its tokens. Of a clip: the size of a
// frame, the tokens of all frames.
struct PicturePlan {
  size_t width = 0, height = 0, tokens = 0;
};

class QWEN3VL_API Session {
 public:
  // A GPU that cannot be used is no error: gpu_report() tells. Throws Error: kInvalidArgument (an option out
  // of range, or two that contradict), kUnsupported (kQ8_0 and head_dim no multiple of 32), kOutOfMemory.
  explicit Session(const Model& model, const SessionOptions& options = {});
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  // Answers the conversation. What it shares with the previous call, pictures included, is not computed
  // again. The reply is not appended to `messages`: the caller does that for the next turn. After a
  // cancellation or an error the session stays usable.
  // Throws Error: kInvalidArgument (a message, picture or option; a prompt longer than the context; a call
  // during another one), kUnsupported (no tokenizer, or a picture and no vision part), kCorruptFile (the
  // weights lead to logits that are not finite), kOutOfMemory.
  Reply Chat(const std::vector<Message>& messages, const GenerateOptions& options = {});
  // The same on token ids whose placeholders are expanded already; pictures and clips in prompt order.
  // Throws as Chat.
  Reply Complete(std::span<const int32_t> ids, std::span<const Picture> pictures, std::span<const Clip> clips,
                 const GenerateOptions& options = {});

  // Stops the call in progress within a fraction of a second. May be called from any thread or a signal
  // handler.
  void Cancel();
  // Forgets the conversation, encoded pictures too. Throws Error: kInvalidArgument (during a call).
  void Reset();

  size_t context() const;  // capacity in tokens
  size_t length() const;   // tokens in the cache
  size_t threads() const;
  size_t tile() const;  // key/value rows per attention step: planned before the first reply, then what ran
  std::string tile_reason() const;      // "i5-10210U: prescribed 64"
  std::string attention_paths() const;  // which ran so far, and why one fell back
  std::string gpu_report() const;  // what gpu_layers and gpu_vision led to, and why; empty when nothing was
  // Throws Error: kUnsupported (no vision part), kInvalidArgument (a picture that Chat would refuse).
  PicturePlan Plan(const Picture& picture) const;
  PicturePlan Plan(const Clip& clip) const;
  // The bounds that SessionOptions::pictures_to_fit has set; 0: none.
  size_t fitted_image_tokens() const;
  size_t fitted_video_tokens() const;
  std::vector<LayerDeviation> deviations() const;
  std::vector<ProfileRow> profile() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// ---- The machine and the files, before anything is loaded ----

struct MachineReport {
  std::string cpu;
  size_t logical_cores = 0, physical_cores = 0, performance_cores = 0, efficiency_cores = 0,
         default_threads = 0;
  size_t l1d_bytes = 0, l2_bytes = 0, l3_bytes = 0;
  size_t memory_total_bytes = 0, memory_available_bytes = 0;
  bool container_limited = false;
  std::vector<std::string> isas;  // available, worst first
  std::string isa;                // in use
  struct Gpu {
    std::string name;
    int compute_major = 0, compute_minor = 0;
    size_t multiprocessors = 0, shared_bytes_per_block = 0, memory_total_bytes = 0;
    size_t tile = 0;
    std::string tile_reason;
  };
  std::vector<Gpu> gpus;
  std::string gpu_status;       // "no NVIDIA driver (libcuda.so.1 not found)"
  std::string gpu_code;         // in this library: "compute capability 6.1 (clang 14.0.6)", "none (...)"
  size_t tile = 0, q_rows = 0;  // for a prompt on 32 query and 8 key/value heads of 128
  std::string tile_reason;
  std::string tuning_status;  // "none stored", the file that counts and its plans, or why one is ignored
};
// Throws Error: kInvalidArgument (QWEN3VL_ISA names no instruction set of this machine).
QWEN3VL_API MachineReport ProbeMachine();

// The instruction set that all kernels of this process use: "baseline", "sse4", "avx2", "avx512",
// "avx512vnni", or "auto", the best. Not while a call runs.
// Throws Error: kInvalidArgument (another name, or one that this machine lacks).
QWEN3VL_API void SelectInstructionSet(std::string_view name);

struct FileReport {
  ModelInfo info;
  struct Tensor {
    std::string name, file, format;
    std::vector<size_t> shape;  // outermost first
    size_t bytes = 0;
  };
  std::vector<Tensor> tensors;
  std::vector<std::string> warnings;
  MemoryNeed memory;
  size_t image_tokens = 0;                                  // of the largest picture
  std::vector<std::pair<std::string, std::string>> config;  // name, value
};

struct InspectOptions {
  std::string mmproj;
  SessionOptions session;                          // context, kv_type, chunk, image token bounds
  size_t image_width = 1024, image_height = 1024;  // the largest picture, or the frames of a clip
  size_t image_frames = 1;                         // more: a clip
};
// Throws as Model::Load; kInvalidArgument (a session or picture that the model refuses).
QWEN3VL_API FileReport InspectModel(const std::string& path, const InspectOptions& options = {});

// Only the tokenizer of a model: a folder with tokenizer files is enough.
class QWEN3VL_API TextCodec {
 public:
  // Throws Error: kNotFound, kCorruptFile, kUnsupported, kInvalidArgument, kOutOfMemory, as Model::Load.
  static TextCodec Load(const std::string& path);
  std::vector<int32_t> Encode(std::string_view text) const;
  std::string Decode(std::span<const int32_t> ids, bool skip_special = false) const;
  std::string Piece(int32_t id) const;

 private:
  struct Impl;
  explicit TextCodec(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

}  // namespace qwen3vl
