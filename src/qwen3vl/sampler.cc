// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/sampler.h"

#include <algorithm>
#include <cmath>

namespace qwen3vl {

SamplingOptions ToSamplingOptions(const SamplingDefaults& d) {
  SamplingOptions o;
  // A top_p of 0 leaves the likeliest token alone: in the reference too, where options want more than 0.
  const bool draws = d.do_sample && d.top_p > 0;
  o.temperature = draws ? d.temperature : 0;
  o.top_p = draws ? d.top_p : 1;
  o.top_k = d.top_k;
  o.min_p = d.min_p;
  o.repetition_penalty = d.repetition_penalty;
  return o;
}

void CheckSampling(const SamplingOptions& o) {
  const auto check = [](bool good, const char* name, float value, const char* want) {
    if (!good)
      throw Error(ErrorCode::kInvalidArgument,
                  std::string(name) + ": " + std::to_string(value) + ", want " + want);
  };
  check(o.temperature >= 0 && std::isfinite(o.temperature), "temperature", o.temperature,
        "0 (greedy) or more");
  check(o.top_p > 0 && o.top_p <= 1, "top_p", o.top_p, "more than 0, at most 1");
  check(o.min_p >= 0 && o.min_p <= 1, "min_p", o.min_p, "0 to 1");
  check(o.repetition_penalty > 0 && std::isfinite(o.repetition_penalty), "repetition penalty",
        o.repetition_penalty, "more than 0 (1: none)");
  check(std::isfinite(o.presence_penalty), "presence penalty", o.presence_penalty,
        "a finite number (0: none)");
}

bool AreNumbers(std::span<const float> logits) {
  float largest = -INFINITY;
  for (const float logit : logits) {
    if (std::isnan(logit)) return false;
    largest = std::max(largest, logit);
  }
  return std::isfinite(largest);
}

Sampler::Sampler(const SamplingOptions& options, std::span<const int32_t> prompt)
    : options_(options), seen_(prompt.begin(), prompt.end()), random_(options.seed) {}

int32_t Sampler::Next(std::span<const float> logits) {
  if (!AreNumbers(logits))
    throw Error(ErrorCode::kCorruptFile, "logits: not finite numbers; the model's files may be damaged");
  std::vector<Candidate> candidates(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) candidates[i] = {logits[i], static_cast<int32_t>(i)};
  if (options_.repetition_penalty != 1.0f) {
    for (int32_t id : seen_) {
      if (id < 0 || static_cast<size_t>(id) >= candidates.size()) continue;
      float& logit = candidates[static_cast<size_t>(id)].logit;
      logit = logit > 0 ? logit / options_.repetition_penalty : logit * options_.repetition_penalty;
    }
  }
  if (options_.presence_penalty != 0.0f)
    for (int32_t id : generated_) candidates[static_cast<size_t>(id)].logit -= options_.presence_penalty;

  const auto better = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  };
  const int32_t id =
      options_.temperature == 0 ? std::ranges::min_element(candidates, better)->id : Draw(candidates);
  seen_.insert(id);
  generated_.insert(id);
  return id;
}

int32_t Sampler::Draw(std::vector<Candidate>& candidates) {
  const auto better = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  };
  if (options_.top_k > 0 && options_.top_k < candidates.size()) {
    std::partial_sort(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(options_.top_k),
                      candidates.end(), better);
    candidates.resize(options_.top_k);
  } else {
    std::ranges::sort(candidates, better);
  }
  std::vector<double> probs(candidates.size());
  double sum = 0;
  for (size_t i = 0; i < probs.size(); ++i)
    sum += probs[i] =
        std::exp((static_cast<double>(candidates[i].logit) - candidates[0].logit) / options_.temperature);

  // Keep the shortest run of best candidates that reaches top_p, and of those the ones not too unlikely
  // beside the best.
  size_t kept = 0;
  double mass = 0;
  while (kept < probs.size() &&
         (kept == 0 || (mass < options_.top_p * sum && probs[kept] >= options_.min_p * probs[0])))
    mass += probs[kept++];

  // 53 random bits, so that a seed gives the same answer with every standard library.
  double at = static_cast<double>(random_() >> 11) * 0x1p-53 * mass;
  for (size_t i = 0; i < kept; ++i) {
    at -= probs[i];
    if (at < 0) return candidates[i].id;
  }
  return candidates[kept - 1].id;
}

}  // namespace qwen3vl
