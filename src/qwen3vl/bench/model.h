// SPDX-License-Identifier: Apache-2.0
// `bench model` and `bench image`: a whole model, on random token ids and on made-up pictures, so that a
// model without a tokenizer serves as well.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "qwen3vl/bench/measure.h"
#include "qwen3vl/qwen3vl.h"

namespace qwen3vl::bench {

using RowSink = std::function<void(const Row&)>;

struct ModelOptionsBench {
  std::string model;
  ModelOptions load;
  SessionOptions session;                  // the context is chosen to hold what is measured
  size_t prompt_tokens = 512;              // 0: not measured
  size_t generate_tokens = 64;             // 0: not measured
  std::vector<size_t> depths = {0, 4096};  // tokens in the cache before
  // Texts that are answered word for word, each with and without guessed tokens.
  struct AnswerText {
    std::string path, name, prompt, answer;
  };
  std::vector<AnswerText> answers;
  size_t check_tokens = 32;  // of the prompt whose logits are compared with those of float32
  std::string command = "qwen3vl bench model", command_tail;
};

// The threads that a session takes where none are asked for. Reads the headers of the files only.
size_t ThreadsOfModel(const std::string& model, const std::string& mmproj);

// Two rows a depth: "model.prompt" (tokens of a prompt to its logits) and "model.generate" (that many steps
// of one token). FLOP: 2 for each weight that a token meets (of experts those used), 4 * head_dim * heads for
// each key that it sees, in every layer; logits of the last token. Bytes: weights once a step, or once a
// chunk of the prompt, and the keys and values seen. Accuracy: the last logits of a short prompt against
// those of float32 products, keys, values and standard attention. Two more for each answer, "model.answer"
// with and without guesses (GenerateOptions::draft_tokens), from its first to its last token.
void RunModel(const ModelOptionsBench& options, const MeasureOptions& measure, PeakMeter* peaks,
              const RowSink& sink);

struct ImageOptionsBench {
  std::string model;
  ModelOptions load;
  SessionOptions session;
  std::vector<std::pair<size_t, size_t>> sizes = {{256, 256}, {512, 512}};  // width, height
  std::vector<size_t> counts = {1};                                         // pictures of a prompt
  std::string command = "qwen3vl bench image", command_tail;
};

// Rows for each size and count: "image.preprocess", "image.encode", "image.prefill" and "image.first_token"
// (from the call to the first token of the answer). FLOP as above; patches see those of their own picture.
// Bytes as above; encoding reads the tower once a picture. Accuracy as above, on a picture of 256 x 256;
// preprocessing has none.
void RunImage(const ImageOptionsBench& options, const MeasureOptions& measure, PeakMeter* peaks,
              const RowSink& sink);

}  // namespace qwen3vl::bench
