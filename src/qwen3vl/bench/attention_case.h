// SPDX-License-Identifier: Apache-2.0
// Attention as something to measure: inputs of a preset's shape, and variants that run it.
//
// FLOP: 4 * head_dim for each pair of a query row and a key row that it sees (a product for the score, one
// for the weighted sum). Bytes: q and the output once, and every key and value row that exists once, as
// stored. Exponentials, and what masks throw away, are not counted.
#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "attention/attention.h"
#include "hw/tile_plan.h"
#include "qwen3vl/bench/measure.h"
#include "qwen3vl/bench/presets.h"

namespace qwen3vl::bench {

// How attention is computed. kInt16: tiled, products of many rows in 16 bits. kWeights: standard attention
// that also hands out its weights and so keeps [batch, n_heads, q_len, kv_len] of them, as the textbook does.
enum class AttentionForm { kTiled, kInt16, kStandard, kWeights };
std::string_view Name(AttentionForm form);  // "tiled", "int16", "standard", "weights"
inline bool IsTiled(AttentionForm form) {
  return form == AttentionForm::kTiled || form == AttentionForm::kInt16;
}
std::optional<AttentionForm> AttentionFormFromName(std::string_view name);

struct AttentionProblem {
  AttentionShape shape;  // `length` is not used
  size_t q_len = 1;
  size_t kv_len = 1;  // causal: the last q_len rows of them are the queries' own
  hw::Format kv_format = hw::Format::kF32;
  bool cache = false;  // keys and values in a KV cache (batch 1, not padded), else in plain tensors
  size_t layers = 1;   // so many caches, used in turn
  size_t threads = 1;  // for making and checking
};

// Inputs, output and scratch; shared by the variants of one problem.
class AttentionData {
 public:
  // Throws Error(kOutOfMemory) naming the bytes when they exceed half of the free memory, and
  // Error(kUnsupported) when the format cannot hold such heads.
  explicit AttentionData(const AttentionProblem& problem);

  const AttentionProblem& problem() const { return problem_; }
  // Of the cache of layer `layer`, where there is one.
  attention::Inputs Inputs(size_t layer) const;
  // Runs layer `layer` into the output, on the path of `form`.
  attention::AttentionReport Run(size_t layer, AttentionForm form, const hw::TilePlan& plan);
  // Compares the output with float64 standard attention on float32 keys and values, for at most `max_rows`
  // query rows, the first, the last and those between at even distances.
  Accuracy Check(size_t max_rows) const;
  // What a run takes beside inputs and output, weights that are handed out included.
  size_t ScratchBytes(AttentionForm form) const;
  std::span<const float> output() const { return out_.span(); }
  // Makes every value of the output NaN: what a run does not write must not pass for its result.
  void ForgetOutput();

 private:
  AttentionProblem problem_;
  hw::AlignedBuffer<float> q_, k_, v_, out_;  // [batch, rows, heads, head_dim]
  hw::AlignedBuffer<std::byte> k_stored_, v_stored_;
  std::unique_ptr<attention::KvCache> cache_;
  std::vector<size_t> kv_lengths_;
  hw::AlignedBuffer<float> weights_;  // AttentionForm::kWeights
  attention::Workspace workspace_;
};

struct AttentionVariant {
  AttentionForm form = AttentionForm::kTiled;
  hw::TilePlan plan;
  size_t check_rows = 16;
};

// How many copies of `bytes` must be used in turn so that each comes from memory, not from a cache: together
// more than kCachesBeyond times the last cache, but at most a quarter of the free memory, where that is
// known.
inline constexpr size_t kCachesBeyond = 4;
size_t CopiesBeyondCache(size_t bytes, const hw::CpuInfo& cpu = hw::ProbeCpu());

// Of the weights that AttentionForm::kWeights hands out.
size_t AttentionWeightBytes(const AttentionProblem& problem);

double AttentionFlop(const AttentionProblem& problem);
double AttentionBytes(const AttentionProblem& problem);

// `row` names layer and preset; the rest is filled in.
Variant MakeAttentionVariant(std::shared_ptr<AttentionData> data, const AttentionVariant& variant, Row row);

}  // namespace qwen3vl::bench
