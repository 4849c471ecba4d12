// SPDX-License-Identifier: Apache-2.0
// Logits to the next token. Order of work as in Hugging Face generate: repetition penalty, presence penalty,
// temperature, top-k, top-p, min-p, then one draw. Temperature 0 takes the largest logit (the lowest id among
// equals).
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <unordered_set>
#include <vector>

#include "qwen3vl/config.h"
#include "qwen3vl/qwen3vl.h"

namespace qwen3vl {

// The file's settings as options; greedy when the file says do_sample false.
SamplingOptions ToSamplingOptions(const SamplingDefaults& defaults);

// Throws Error(kInvalidArgument) naming the first option out of its range.
void CheckSampling(const SamplingOptions& options);

// No NaN among them, and the largest is finite. Single tokens may be ruled out by -inf.
bool AreNumbers(std::span<const float> logits);

class Sampler {
 public:
  // `prompt` counts for the repetition penalty, as in the reference; the presence penalty looks at generated
  // tokens only.
  Sampler(const SamplingOptions& options, std::span<const int32_t> prompt);

  // Chooses from logits [vocab_size] and remembers the choice. Throws Error(kCorruptFile) unless AreNumbers.
  int32_t Next(std::span<const float> logits);

 private:
  struct Candidate {
    float logit;
    int32_t id;
  };
  int32_t Draw(std::vector<Candidate>& candidates);

  SamplingOptions options_;
  std::unordered_set<int32_t> seen_;  // prompt and generated
  std::unordered_set<int32_t> generated_;
  std::mt19937_64 random_;
};

}  // namespace qwen3vl
