/* SPDX-License-Identifier: Apache-2.0 */
/* The public C interface of qwen3vl.
 *
 * Rules. Handles are opaque; each *_free takes NULL. A function that can fail returns a status and hands its
 * result out through the last pointer, which is written on success only. Texts go in as pointer and length
 * (UTF-8, no terminator needed) and come out as pointers that stay valid as stated. Option structs begin with
 * struct_size: set it to sizeof the struct (the *_init functions do), so that programs built against an older
 * header keep working. A field of 0 is the default, but for kv_type (f16), max_tokens (512) and draft_tokens
 * (3), which the *_init functions set. Callbacks get the `user` pointer of their options and return 0 to
 * cancel. qwen3vl_last_error() is the text of the last failure on the calling thread. Beside the statuses
 * that stand with a function, a NULL that is not allowed for gives QWEN3VL_INVALID_ARGUMENT, lack of memory
 * QWEN3VL_OUT_OF_MEMORY, and a mistake of this library QWEN3VL_INTERNAL. A model may be shared by
 * threads; a session belongs to one thread at a time, except qwen3vl_session_cancel(), and its callbacks may
 * call nothing else of it. A pthread_cancel takes effect when the call that it meets is over. Nothing prints,
 * exits or aborts. */
#ifndef QWEN3VL_C_H_
#define QWEN3VL_C_H_

#include <stddef.h>
#include <stdint.h>

#include "qwen3vl/export.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum qwen3vl_status {
  QWEN3VL_OK = 0,
  QWEN3VL_INVALID_ARGUMENT = 1,
  QWEN3VL_NOT_FOUND = 2,
  QWEN3VL_CORRUPT_FILE = 3,
  QWEN3VL_UNSUPPORTED = 4,
  QWEN3VL_OUT_OF_MEMORY = 5,
  QWEN3VL_DEVICE = 6,
  QWEN3VL_CANCELLED = 7,
  QWEN3VL_INTERNAL = 8
} qwen3vl_status;

typedef enum qwen3vl_phase {
  QWEN3VL_LOAD = 0,
  QWEN3VL_ENCODE = 1,
  QWEN3VL_PREFILL = 2,
  QWEN3VL_DECODE = 3
} qwen3vl_phase;
typedef enum qwen3vl_kv_type {
  QWEN3VL_KV_F32 = 0,
  QWEN3VL_KV_F16 = 1,
  QWEN3VL_KV_BF16 = 2,
  QWEN3VL_KV_Q8_0 = 3
} qwen3vl_kv_type;
typedef enum qwen3vl_finish {
  QWEN3VL_FINISH_STOP = 0,
  QWEN3VL_FINISH_LENGTH = 1,
  QWEN3VL_FINISH_CONTEXT_FULL = 2,
  QWEN3VL_FINISH_CANCELLED = 3
} qwen3vl_finish;

typedef struct qwen3vl_model qwen3vl_model;
typedef struct qwen3vl_session qwen3vl_session;
typedef struct qwen3vl_picture qwen3vl_picture;
typedef struct qwen3vl_chat qwen3vl_chat;
typedef struct qwen3vl_reply qwen3vl_reply;

typedef int (*qwen3vl_progress_fn)(void* user, qwen3vl_phase phase, size_t done, size_t total);
typedef int (*qwen3vl_text_fn)(void* user, const char* text, size_t length);
typedef void (*qwen3vl_log_fn)(void* user, int is_warning, const char* line, size_t length);

/* Copies of weights in Q4_0, Q4_K, Q5_K and Q6_K that are read faster; auto: where the free memory holds
 * both. */
typedef enum qwen3vl_repack { QWEN3VL_REPACK_AUTO, QWEN3VL_REPACK_ON, QWEN3VL_REPACK_OFF } qwen3vl_repack;

typedef struct qwen3vl_model_options {
  size_t struct_size;
  const char* mmproj; /* vision GGUF, zero-terminated, or NULL: found beside the text file */
  qwen3vl_progress_fn progress;
  qwen3vl_log_fn log;
  void* user;
  int repack; /* a qwen3vl_repack; any other number is refused */
} qwen3vl_model_options;

/* As many layers as fit, where one is measured to be faster on the GPU. */
#define QWEN3VL_AUTO_GPU_LAYERS ((size_t)-1)

/* The vision tower on an NVIDIA GPU; auto: with QWEN3VL_AUTO_GPU_LAYERS, where it is measured to be faster
 * there. */
typedef enum qwen3vl_gpu_vision {
  QWEN3VL_GPU_VISION_AUTO,
  QWEN3VL_GPU_VISION_ON,
  QWEN3VL_GPU_VISION_OFF
} qwen3vl_gpu_vision;

/* Attention of prompts and pictures on the CPU, and their products with f32, f16 and bf16 weights: of floats,
 * or of numbers rounded to 16 bits in about a quarter less time; auto: rounded where weights, or the keys
 * and values of text, have 16 bits or fewer, but floats throughout with kv_type QWEN3VL_KV_F32. */
typedef enum qwen3vl_cpu_products {
  QWEN3VL_CPU_PRODUCTS_AUTO,
  QWEN3VL_CPU_PRODUCTS_F32,
  QWEN3VL_CPU_PRODUCTS_INT16
} qwen3vl_cpu_products;

typedef struct qwen3vl_session_options {
  size_t struct_size;
  size_t threads;          /* 0: physical fast cores; at most 1024 */
  size_t context;          /* tokens; 0: 8192 or the model's limit */
  int kv_type;             /* a qwen3vl_kv_type; any other number is refused */
  size_t max_image_tokens; /* 0: what the model's files say, and at most half the context */
  qwen3vl_progress_fn progress;
  qwen3vl_log_fn log;
  void* user;
  size_t gpu_layers; /* text layers on an NVIDIA GPU, the last ones; or QWEN3VL_AUTO_GPU_LAYERS */
  int gpu_vision;    /* a qwen3vl_gpu_vision; any other number is refused */
  int cpu_products;  /* a qwen3vl_cpu_products; any other number is refused */
} qwen3vl_session_options;

/* The model's own are those of its generation_config. Unlike SamplingOptions of C++ and --temp of the
 * command, a temperature of 0 is not greedy: set `greedy`. */
typedef struct qwen3vl_generate_options {
  size_t struct_size;
  size_t max_tokens;       /* 0: the prompt is computed, nothing is generated */
  int greedy;              /* 1: always the largest logit; the next four then do not count */
  float temperature;       /* 0: the model's own */
  float top_p;             /* 0: the model's own; 1: no limit */
  size_t top_k;            /* 0: the model's own; (size_t)-1: no limit */
  uint64_t seed;           /* of every draw */
  qwen3vl_text_fn on_text; /* streamed whole characters; NULL: none */
  void* user;
  size_t draft_tokens; /* guessed from the conversation and computed along, 0 to 3: the answer is the same */
} qwen3vl_generate_options;

/* Valid until the thread's next failing call; "" when none failed. */
QWEN3VL_API const char* qwen3vl_last_error(void);
QWEN3VL_API const char* qwen3vl_version(void);

QWEN3VL_API void qwen3vl_model_options_init(qwen3vl_model_options* options);
QWEN3VL_API void qwen3vl_session_options_init(qwen3vl_session_options* options);
QWEN3VL_API void qwen3vl_generate_options_init(qwen3vl_generate_options* options);

/* Wherever options are taken they may be NULL: defaults. */

/* NOT_FOUND, CORRUPT_FILE, UNSUPPORTED (architecture, format, tokenizer), INVALID_ARGUMENT (an option,
 * another file of a model, an unclear mmproj, a bad QWEN3VL_ISA), CANCELLED (by `progress`). */
QWEN3VL_API qwen3vl_status qwen3vl_model_load(const char* path, const qwen3vl_model_options* options,
                                              qwen3vl_model** model);
QWEN3VL_API void qwen3vl_model_free(qwen3vl_model* model); /* sessions keep what they need */

/* NOT_FOUND, CORRUPT_FILE, UNSUPPORTED (another format, too many pixels). */
QWEN3VL_API qwen3vl_status qwen3vl_picture_load(const char* path, qwen3vl_picture** picture);
/* Copies width * height * 3 bytes, rows top to bottom. INVALID_ARGUMENT (no pixels, or too many to count). */
QWEN3VL_API qwen3vl_status qwen3vl_picture_from_rgb(const uint8_t* rgb, size_t width, size_t height,
                                                    qwen3vl_picture** picture);
QWEN3VL_API void qwen3vl_picture_free(qwen3vl_picture* picture);

/* INVALID_ARGUMENT (an option out of range), UNSUPPORTED (Q8_0 and heads of no multiple of 32). */
QWEN3VL_API qwen3vl_status qwen3vl_session_create(const qwen3vl_model* model,
                                                  const qwen3vl_session_options* options,
                                                  qwen3vl_session** session);
QWEN3VL_API void qwen3vl_session_free(qwen3vl_session* session);
QWEN3VL_API void qwen3vl_session_cancel(qwen3vl_session* session); /* from any thread or a signal handler */

/* A conversation: turns are added in order. role: "system", "user", "assistant". Pictures stand before the
 * text. */
QWEN3VL_API qwen3vl_status qwen3vl_chat_create(qwen3vl_chat** chat);
QWEN3VL_API qwen3vl_status qwen3vl_chat_add(qwen3vl_chat* chat, const char* role, const char* text,
                                            size_t length, const qwen3vl_picture* const* pictures,
                                            size_t n_pictures);
QWEN3VL_API void qwen3vl_chat_free(qwen3vl_chat* chat);

/* Answers the conversation. What it shares with the session's previous call is not computed again.
 * INVALID_ARGUMENT (a role, picture or option, a prompt longer than the context, a call during another one),
 * UNSUPPORTED (no tokenizer, or a picture and no vision part), CORRUPT_FILE (logits that are not finite). */
QWEN3VL_API qwen3vl_status qwen3vl_session_chat(qwen3vl_session* session, const qwen3vl_chat* chat,
                                                const qwen3vl_generate_options* options,
                                                qwen3vl_reply** reply);
/* Zero-terminated, valid until the reply is freed; length may be NULL. */
QWEN3VL_API const char* qwen3vl_reply_text(const qwen3vl_reply* reply, size_t* length);
QWEN3VL_API qwen3vl_finish qwen3vl_reply_finish(const qwen3vl_reply* reply);
QWEN3VL_API size_t qwen3vl_reply_prompt_tokens(const qwen3vl_reply* reply);
QWEN3VL_API size_t qwen3vl_reply_generated_tokens(const qwen3vl_reply* reply);
QWEN3VL_API void qwen3vl_reply_free(qwen3vl_reply* reply);

#ifdef __cplusplus
}
#endif

#endif /* QWEN3VL_C_H_ */
