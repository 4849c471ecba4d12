/* SPDX-License-Identifier: Apache-2.0 */
/* The C interface, compiled as C90. Prints what failed and returns 1, or returns 0. Arguments: model folder,
 * picture, missing file. */
#define _POSIX_C_SOURCE 200112L
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "qwen3vl/qwen3vl_c.h"

static int failures = 0;

static void check(int good, const char* what) {
  if (good) return;
  ++failures;
  printf("FAILED: %s (last error: %s)\n", what, qwen3vl_last_error());
}

static int stop_loading(void* user, qwen3vl_phase phase, size_t done, size_t total) {
  (void)user, (void)done, (void)total;
  return phase != QWEN3VL_LOAD;
}

static int count_text(void* user, const char* text, size_t length) {
  (void)text;
  *(size_t*)user += length;
  return 1;
}

static void check_errors(const char* model_path, const char* missing) {
  qwen3vl_model* model = NULL;
  qwen3vl_picture* picture = NULL;
  qwen3vl_model_options options;
  check(qwen3vl_model_load(missing, NULL, &model) == QWEN3VL_NOT_FOUND && model == NULL,
        "a missing model is not found");
  check(strstr(qwen3vl_last_error(), missing) != NULL, "the error names the file");
  check(qwen3vl_model_load(NULL, NULL, &model) == QWEN3VL_INVALID_ARGUMENT, "a NULL path is refused");
  check(qwen3vl_model_load(model_path, NULL, NULL) == QWEN3VL_INVALID_ARGUMENT, "a NULL result is refused");
  check(qwen3vl_picture_load(missing, &picture) == QWEN3VL_NOT_FOUND, "a missing picture is not found");
  check(qwen3vl_picture_from_rgb((const uint8_t*)"abc", 0, 1, &picture) == QWEN3VL_INVALID_ARGUMENT,
        "an empty picture is refused");
  check(qwen3vl_picture_from_rgb((const uint8_t*)"abc", (size_t)-1, 2, &picture) == QWEN3VL_INVALID_ARGUMENT,
        "an overflowing picture is refused");

  qwen3vl_model_options_init(&options);
  options.repack = 3;
  check(qwen3vl_model_load(model_path, &options, &model) == QWEN3VL_INVALID_ARGUMENT,
        "an unknown way to repack is refused");
  options.repack = QWEN3VL_REPACK_ON;
  options.progress = stop_loading;
  check(qwen3vl_model_load(model_path, &options, &model) == QWEN3VL_CANCELLED, "loading can be cancelled");
  qwen3vl_model_free(NULL);
  qwen3vl_session_free(NULL);
  qwen3vl_picture_free(NULL);
  qwen3vl_chat_free(NULL);
  qwen3vl_reply_free(NULL);
  qwen3vl_session_cancel(NULL);
}

static void count_line(void* user, int is_warning, const char* line, size_t length) {
  (void)is_warning;
  if (length > 4 && strncmp(line, "gpu:", 4) == 0) ++*(size_t*)user;
}

static qwen3vl_session* open_session(const char* model_path) {
  qwen3vl_model* model = NULL;
  qwen3vl_session* session = NULL;
  qwen3vl_session_options options;
  size_t lines = 0;
  check(qwen3vl_model_load(model_path, NULL, &model) == QWEN3VL_OK, "the model loads");
  qwen3vl_session_options_init(&options);
  options.threads = 2;
  options.context = 1024;
  options.kv_type = 9;
  check(qwen3vl_session_create(model, &options, &session) == QWEN3VL_INVALID_ARGUMENT,
        "an unknown cache type is refused");
  options.kv_type = QWEN3VL_KV_F32;
  options.gpu_vision = 3;
  check(qwen3vl_session_create(model, &options, &session) == QWEN3VL_INVALID_ARGUMENT,
        "an unknown place for the vision tower is refused");
  options.gpu_vision = QWEN3VL_GPU_VISION_AUTO;
  options.cpu_products = 3;
  check(qwen3vl_session_create(model, &options, &session) == QWEN3VL_INVALID_ARGUMENT,
        "unknown products are refused");
  options.cpu_products = QWEN3VL_CPU_PRODUCTS_INT16;
  options.gpu_layers = QWEN3VL_AUTO_GPU_LAYERS;
  options.log = count_line;
  options.user = &lines;
  check(qwen3vl_session_create(model, &options, &session) == QWEN3VL_OK, "a session is made");
  check(lines == 1, "one line says what became of the GPU");
  qwen3vl_model_free(model); /* the session keeps what it needs */
  return session;
}

static void check_answer(qwen3vl_session* session, const char* picture_path) {
  qwen3vl_picture* picture = NULL;
  const qwen3vl_picture* pictures[1];
  qwen3vl_chat* chat = NULL;
  qwen3vl_reply* reply = NULL;
  qwen3vl_generate_options generate;
  size_t streamed = 0, length = 0;
  check(qwen3vl_picture_load(picture_path, &picture) == QWEN3VL_OK, "the picture loads");
  pictures[0] = picture;
  check(qwen3vl_chat_create(&chat) == QWEN3VL_OK, "a chat is made");
  check(qwen3vl_chat_add(chat, "user", "What is this?", 13, pictures, 1) == QWEN3VL_OK, "a turn is added");
  qwen3vl_generate_options_init(&generate);
  generate.max_tokens = 6;
  generate.greedy = 1;
  generate.on_text = count_text;
  generate.user = &streamed;
  check(qwen3vl_session_chat(session, chat, &generate, &reply) == QWEN3VL_OK, "the session answers");
  if (reply) {
    const char* text = qwen3vl_reply_text(reply, &length);
    check(text != NULL && strlen(text) <= length && streamed == length, "what was streamed is the reply");
    check(qwen3vl_reply_prompt_tokens(reply) > 10, "the picture's tokens count");
    check(qwen3vl_reply_generated_tokens(reply) >= 1 || qwen3vl_reply_finish(reply) == QWEN3VL_FINISH_STOP,
          "something was generated");
  }
  qwen3vl_reply_free(reply);
  qwen3vl_chat_free(chat);
  qwen3vl_picture_free(picture);
}

static qwen3vl_status ask(qwen3vl_session* session, const qwen3vl_generate_options* generate,
                          qwen3vl_reply** reply) {
  qwen3vl_chat* chat = NULL;
  qwen3vl_status status;
  *reply = NULL;
  check(qwen3vl_chat_create(&chat) == QWEN3VL_OK, "a chat is made");
  check(qwen3vl_chat_add(chat, "user", "Hello", 5, NULL, 0) == QWEN3VL_OK, "a turn is added");
  status = qwen3vl_session_chat(session, chat, generate, reply);
  qwen3vl_chat_free(chat);
  return status;
}

static int same_text(const qwen3vl_reply* a, const qwen3vl_reply* b) {
  return a && b && strcmp(qwen3vl_reply_text(a, NULL), qwen3vl_reply_text(b, NULL)) == 0;
}

static void check_drafts(qwen3vl_session* session) {
  qwen3vl_generate_options generate;
  qwen3vl_reply *with = NULL, *without = NULL, *none = NULL;
  qwen3vl_generate_options_init(&generate);
  check(generate.draft_tokens == 3, "tokens are guessed unless told otherwise");
  generate.max_tokens = 40;
  generate.greedy = 1;
  check(ask(session, &generate, &with) == QWEN3VL_OK, "an answer with guesses");
  generate.draft_tokens = 0;
  check(ask(session, &generate, &without) == QWEN3VL_OK, "an answer without");
  check(same_text(with, without), "they are the same");
  generate.draft_tokens = 4;
  check(ask(session, &generate, &none) == QWEN3VL_INVALID_ARGUMENT, "four guesses are refused");
  qwen3vl_reply_free(with);
  qwen3vl_reply_free(without);
}

static void check_sampling(qwen3vl_session* session) {
  qwen3vl_generate_options generate;
  qwen3vl_reply *first = NULL, *reply = NULL;
  int seed, others = 0;
  qwen3vl_generate_options_init(&generate);
  generate.max_tokens = 12;
  check(ask(session, &generate, &first) == QWEN3VL_OK, "the model's own settings are taken");
  for (seed = 0; seed < 8; ++seed) {
    generate.seed = (uint64_t)seed;
    check(ask(session, &generate, &reply) == QWEN3VL_OK, "a seed is taken");
    others += !same_text(first, reply);
    check(seed > 0 || others == 0, "the same seed gives the same answer");
    qwen3vl_reply_free(reply);
  }
  qwen3vl_reply_free(first);
  check(others > 0, "the seed counts beside the model's own temperature");

  generate.temperature = -1;
  check(ask(session, &generate, &reply) == QWEN3VL_INVALID_ARGUMENT, "a negative temperature is refused");
  memset(&generate, 0, sizeof generate);
  generate.struct_size = sizeof generate;
  generate.max_tokens = 1;
  generate.greedy = 1;
  check(ask(session, &generate, &reply) == QWEN3VL_OK, "greedy needs none of the other settings");
  qwen3vl_reply_free(reply);
}

/* One of them set, the others 0: what is 0 stays the model's own. */
static void check_single_settings(qwen3vl_session* session) {
  qwen3vl_generate_options generate;
  qwen3vl_reply *greedy = NULL, *reply = NULL;
  int seed, others = 0;
  memset(&generate, 0, sizeof generate);
  generate.struct_size = sizeof generate;
  generate.max_tokens = 12;
  generate.greedy = 1;
  check(ask(session, &generate, &greedy) == QWEN3VL_OK, "a greedy answer");
  generate.greedy = 0;
  for (seed = 0; seed < 8; ++seed) {
    generate.seed = (uint64_t)seed;
    generate.top_k = 1;
    check(ask(session, &generate, &reply) == QWEN3VL_OK, "a top_k is taken");
    check(same_text(greedy, reply), "top_k counts beside the model's own temperature");
    qwen3vl_reply_free(reply);
    generate.top_k = 0;
    generate.top_p = 1e-6f;
    check(ask(session, &generate, &reply) == QWEN3VL_OK, "a top_p is taken");
    check(same_text(greedy, reply), "top_p counts beside the model's own temperature");
    qwen3vl_reply_free(reply);
    generate.top_p = 0;
    generate.temperature = 2;
    check(ask(session, &generate, &reply) == QWEN3VL_OK, "a temperature is taken without top_p and top_k");
    others += reply && !same_text(greedy, reply);
    qwen3vl_reply_free(reply);
    generate.temperature = 0;
  }
  qwen3vl_reply_free(greedy);
  check(others > 0, "the temperature counts");
  generate.top_p = 2;
  check(ask(session, &generate, &reply) == QWEN3VL_INVALID_ARGUMENT, "a top_p above 1 is refused");
}

static int cancel_own_thread(void* user, const char* text, size_t length) {
  (void)text, (void)length;
  ++*(int*)user;
  pthread_cancel(pthread_self());
  pthread_testcancel();
  return 1;
}

static void* answer_once(void* session) {
  qwen3vl_generate_options generate;
  qwen3vl_reply* reply = NULL;
  int calls = 0;
  qwen3vl_generate_options_init(&generate);
  generate.max_tokens = 4;
  generate.greedy = 1;
  generate.on_text = cancel_own_thread;
  generate.user = &calls;
  check(ask((qwen3vl_session*)session, &generate, &reply) == QWEN3VL_OK && calls > 0,
        "a call is ended though its thread is to be");
  qwen3vl_reply_free(reply);
  pthread_testcancel();
  return NULL;
}

static void check_thread_cancellation(qwen3vl_session* session) {
  pthread_t thread;
  void* result = NULL;
  check(pthread_create(&thread, NULL, answer_once, session) == 0, "a thread is made");
  check(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED, "the thread is ended afterwards");
}

int main(int argc, char** argv) {
  qwen3vl_session* session;
  if (argc != 4) return 2;
  check(strlen(qwen3vl_version()) > 0, "there is a version");
  check_errors(argv[1], argv[3]);
  session = open_session(argv[1]);
  check_answer(session, argv[2]);
  check_drafts(session);
  check_sampling(session);
  check_single_settings(session);
  check_thread_cancellation(session);
  qwen3vl_session_free(session);
  return failures ? 1 : 0;
}
