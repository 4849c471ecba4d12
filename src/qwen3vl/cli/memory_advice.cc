// SPDX-License-Identifier: Apache-2.0
// Which option makes a run fit the memory that is free.
#include <algorithm>
#include <optional>

#include "qwen3vl/cli/engine.h"
#include "qwen3vl/cli/text_format.h"

namespace qwen3vl::cli {
namespace {

constexpr size_t kLeastContext = 512;
constexpr size_t kLeastImageTokens = 64;

// Halves `start` until `fits` or it would be under `least`.
template <class Fits>
std::optional<size_t> Halve(size_t start, size_t least, const Fits& fits) {
  for (size_t value = start / 2; value >= least; value /= 2)
    if (fits(value)) return value;
  return std::nullopt;
}

}  // namespace

std::string MemoryAdvice(const MemoryQuestion& q,
                         const std::function<MemoryNeed(const SessionOptions&)>& need) {
  const auto fits = [&](const SessionOptions& s) {
    try {
      return need(s).total() <= q.available_bytes;
    } catch (const Error&) {
      return false;  // not an option for this model
    }
  };
  const auto with_context = [&](const SessionOptions& base) {
    return Halve(q.context, kLeastContext, [&](size_t n) {
      SessionOptions s = base;
      s.context = n;
      return fits(s);
    });
  };
  if (const auto n = with_context(q.session)) return "use --ctx " + std::to_string(*n);
  SessionOptions small = q.session;
  small.kv_type = KvType::kQ8_0;
  if (fits(small)) return "use --kv-type q8_0";
  if (q.image_tokens) {
    const auto n = Halve(q.image_tokens, kLeastImageTokens, [&](size_t tokens) {
      SessionOptions s = q.session;
      s.max_image_tokens = tokens;
      return fits(s);
    });
    if (n) return "use --max-image-tokens " + std::to_string(*n);
    small.max_image_tokens = std::min(q.image_tokens, kLeastImageTokens);
  }
  if (const auto n = with_context(small))
    return "use --kv-type q8_0 --ctx " + std::to_string(*n) +
           (q.image_tokens ? " --max-image-tokens " + std::to_string(small.max_image_tokens) : "");
  return "use a file of this model with a smaller quantisation, or a smaller model (--force starts anyway)";
}

}  // namespace qwen3vl::cli
