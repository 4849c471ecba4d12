/* SPDX-License-Identifier: Apache-2.0 */
/* The C interface, compiled as C. Prints what failed and returns 1, or returns 0. Arguments: model folder,
 * picture, missing file. */
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

  qwen3vl_model_options options;
  qwen3vl_model_options_init(&options);
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

static void check_answer(const char* model_path, const char* picture_path) {
  qwen3vl_model* model = NULL;
  qwen3vl_session* session = NULL;
  qwen3vl_picture* picture = NULL;
  qwen3vl_chat* chat = NULL;
  qwen3vl_reply* reply = NULL;
  check(qwen3vl_model_load(model_path, NULL, &model) == QWEN3VL_OK, "the model loads");
  check(qwen3vl_picture_load(picture_path, &picture) == QWEN3VL_OK, "the picture loads");
  qwen3vl_session_options options;
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
  size_t lines = 0;
  options.gpu_layers = QWEN3VL_AUTO_GPU_LAYERS;
  options.log = count_line;
  options.user = &lines;
  check(qwen3vl_session_create(model, &options, &session) == QWEN3VL_OK, "a session is made");
  check(lines == 1, "one line says what became of the GPU");
  qwen3vl_model_free(model); /* the session keeps what it needs */

  const qwen3vl_picture* pictures[] = {picture};
  check(qwen3vl_chat_create(&chat) == QWEN3VL_OK, "a chat is made");
  check(qwen3vl_chat_add(chat, "user", "What is this?", 13, pictures, 1) == QWEN3VL_OK, "a turn is added");
  size_t streamed = 0, length = 0;
  qwen3vl_generate_options generate;
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
  qwen3vl_session_free(session);
}

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  check(strlen(qwen3vl_version()) > 0, "there is a version");
  check_errors(argv[1], argv[3]);
  check_answer(argv[1], argv[2]);
  return failures ? 1 : 0;
}
