/* SPDX-License-Identifier: Apache-2.0 */
/* Describes a picture, word by word as the model says it, through the C interface.
 * Usage: describe_image MODEL PICTURE [QUESTION] */
#include <stdio.h>
#include <string.h>

#include "qwen3vl/qwen3vl_c.h"

static int PrintText(void* user, const char* text, size_t length) {
  (void)user;
  fwrite(text, 1, length, stdout);
  fflush(stdout);
  return 1; /* go on */
}

int main(int argc, char** argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: describe_image MODEL PICTURE [QUESTION]\n");
    return 2;
  }
  const char* question = argc > 3 ? argv[3] : "Describe this picture.";
  qwen3vl_generate_options options;
  qwen3vl_generate_options_init(&options);
  options.max_tokens = 64;
  options.on_text = PrintText;

  qwen3vl_model* model = NULL;
  qwen3vl_session* session = NULL;
  qwen3vl_picture* picture = NULL;
  qwen3vl_chat* chat = NULL;
  qwen3vl_reply* reply = NULL;
  qwen3vl_status status = qwen3vl_model_load(argv[1], NULL, &model);
  if (status == QWEN3VL_OK) status = qwen3vl_session_create(model, NULL, &session);
  if (status == QWEN3VL_OK) status = qwen3vl_picture_load(argv[2], &picture);
  if (status == QWEN3VL_OK) status = qwen3vl_chat_create(&chat);
  if (status == QWEN3VL_OK) {
    const qwen3vl_picture* pictures[] = {picture};
    status = qwen3vl_chat_add(chat, "user", question, strlen(question), pictures, 1);
  }
  if (status == QWEN3VL_OK) status = qwen3vl_session_chat(session, chat, &options, &reply);
  if (status == QWEN3VL_OK) {
    printf("\n");
    fprintf(stderr, "%zu prompt tokens, %zu generated\n", qwen3vl_reply_prompt_tokens(reply),
            qwen3vl_reply_generated_tokens(reply));
  } else {
    fprintf(stderr, "describe_image: %s\n", qwen3vl_last_error());
  }

  qwen3vl_reply_free(reply);
  qwen3vl_chat_free(chat);
  qwen3vl_picture_free(picture);
  qwen3vl_session_free(session);
  qwen3vl_model_free(model);
  return status == QWEN3VL_OK ? 0 : 1;
}
