// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/gpu_choice.h"

#include <algorithm>
#include <cstdio>

#include "qwen3vl/qwen3vl.h"

namespace qwen3vl {
namespace {

// What people do: a prompt and an answer of the lengths that `bench model` measures.
constexpr double kPromptTokens = 512, kAnswerTokens = 64;

double Cost(double prompt_s, double token_s, size_t prompt_tokens) {
  return kPromptTokens / static_cast<double>(prompt_tokens) * prompt_s + kAnswerTokens * token_s;
}

std::string Milliseconds(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g ms", seconds * 1e3);
  return text;
}

std::string Mebibytes(size_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

std::string Compare(const LayerTimes& t, bool gpu_wins) {
  const std::string gpu = Milliseconds(Cost(t.gpu_prompt_s, t.gpu_token_s, t.prompt_tokens));
  const std::string cpu = Milliseconds(Cost(t.cpu_prompt_s, t.cpu_token_s, t.prompt_tokens));
  return "a layer takes " +
         (gpu_wins ? gpu + " there and " + cpu + " on the CPU" : cpu + " there and " + gpu + " on the GPU") +
         " for 512 tokens of a prompt and 64 of an answer";
}

}  // namespace

GpuDecision DecideGpuLayers(const GpuOffer& o) {
  const bool automatic = o.asked == kAutoGpuLayers;
  const size_t wanted = std::min(automatic ? o.n_layers : o.asked, o.n_layers);
  const size_t n = std::min({wanted, o.able, o.fitting});
  std::string short_of;  // why fewer than wanted
  if (o.able < wanted && o.able <= o.fitting)
    short_of = "the next has " + o.unable;
  else if (o.fitting < wanted)
    short_of = "no more fit in the " + Mebibytes(o.free_bytes) + " that are free";
  const std::string all_on_cpu = "all layers on the CPU: ";
  if (n == 0)
    return {0, all_on_cpu + o.device + " can take none, " + (o.able == 0 ? o.unable : short_of), {}};
  if (automatic && o.times) {
    const LayerTimes& t = *o.times;
    const bool faster = Cost(t.gpu_prompt_s, t.gpu_token_s, t.prompt_tokens) <
                        Cost(t.cpu_prompt_s, t.cpu_token_s, t.prompt_tokens);
    if (!faster) return {0, all_on_cpu + Compare(t, false) + " (" + o.device + ")", {}};
  }
  std::string report = std::to_string(n) + " of " + std::to_string(o.n_layers) + " layers on " + o.device;
  if (automatic && o.times) report += ": " + Compare(*o.times, true);
  return {n, report, short_of};
}

PartDecision DecideGpuPart(const PartOffer& o) {
  const std::string on_cpu = o.part + " on the CPU: ";
  if (!o.unable.empty()) return {false, on_cpu + o.device + " cannot run it, " + o.unable};
  if (o.bytes > o.usable_bytes)
    return {false, on_cpu + "its " + Mebibytes(o.bytes) + " do not fit in the " + Mebibytes(o.usable_bytes) +
                       " that " + o.device + " has left"};
  std::string report = o.part + " on " + o.device;
  if (o.times) {
    const PartTimes& t = *o.times;
    const std::string gpu = Milliseconds(t.gpu_s), cpu = Milliseconds(t.cpu_s), takes = t.piece + " takes ";
    if (t.gpu_s >= t.cpu_s)
      return {false, on_cpu + takes + cpu + " there and " + gpu + " on " + o.device + " for " + t.work};
    report += ": " + takes + gpu + " there and " + cpu + " on the CPU for " + t.work;
  }
  return {true, report};
}

}  // namespace qwen3vl
