// SPDX-License-Identifier: Apache-2.0
// Prefill and decode of one sequence: what is in the cache, which pictures are encoded, and how an answer
// grows token by token.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "attention/kv_cache.h"
#include "qwen3vl/draft.h"
#include "qwen3vl/memory_need.h"
#include "qwen3vl/model.h"
#include "qwen3vl/prompt.h"
#include "qwen3vl/runtime.h"
#include "qwen3vl/text.h"
#include "qwen3vl/vision.h"

namespace qwen3vl {

class Generator {
 public:
  Generator(std::shared_ptr<const Model::Impl> model, const SessionOptions& options);

  // One public call that changes the session: from its first statement on it can be cancelled. Throws
  // Error(kInvalidArgument) while another one runs, which may be the one whose callback makes this call.
  class Call {
   public:
    explicit Call(Generator& generator);
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    ~Call() { generator_.in_call_ = false; }

   private:
    Generator& generator_;
  };

  // Both inside a Call. Run brings the cache to hold `prompt` (re-using what it shares with the last one),
  // then generates.
  Reply Run(Prompt prompt, const GenerateOptions& options);
  void Reset();

  const PromptContext& prompt_context() const { return prompt_context_; }
  Runtime& runtime() { return runtime_; }
  const Runtime& runtime() const { return runtime_; }
  const attention::KvCache& cache() const { return cache_; }
  const std::string& gpu_report() const { return gpu_report_; }
  FittedTokens fitted_tokens() const { return fitted_; }

 private:
  struct Features {
    std::shared_ptr<const VisualFeatures> rows;
    size_t first_row = 0;  // of this visual in `rows`
  };

  void EncodeVisuals(const Prompt& prompt, size_t from_token, Reply& reply);
  void EncodeTogether(const Prompt& prompt, std::span<const size_t> which, const std::string& prefix,
                      Reply& reply);
  std::span<const float> Prefill(const Prompt& prompt, size_t from_token);
  void Decode(std::span<const float> logits, const GenerateOptions& options, Reply& reply);
  // Tokens that may follow the newest one of the sequence and `id`, to be computed along with `id`.
  std::span<const int32_t> Guess(int32_t id, const GenerateOptions& options, const Reply& reply);
  // Tokens on top of the cache: logits [ids, vocab_size]. The cache is as before when it throws.
  std::span<const float> Step(std::span<const int32_t> ids);
  // Drops the last n tokens of the cache and the sequence.
  void Drop(size_t n);
  std::span<const float> Forward(const TextChunk& chunk, LogitsOf logits);
  void TraceInputs(const Prompt& prompt) const;
  bool Report(Phase phase, size_t done, size_t total);

  std::shared_ptr<const Model::Impl> model_;
  SessionOptions options_;
  FittedTokens fitted_;
  PromptContext prompt_context_;
  Runtime runtime_;
  attention::KvCache cache_;
  TextModel text_;
  std::string gpu_report_;
  std::unique_ptr<VisionModel> vision_;
  size_t in_whole_chunks_ = 0;      // tokens of the cache computed in the chunks that a fresh session makes
  Prompt sequence_;                 // what the cache holds: ids, pictures and positions of its tokens
  std::vector<Features> features_;  // one a visual of sequence_; empty rows: not encoded yet
  Draft draft_;
  std::atomic<bool> in_call_{false};
};

}  // namespace qwen3vl
