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

SessionOptions BoundPictures(SessionOptions session, size_t tokens) {
  session.max_image_tokens = tokens;
  session.min_image_tokens = std::min(session.min_image_tokens, tokens);
  return session;
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
  const auto with_pictures = [&]() -> std::optional<std::string> {
    if (!q.image_tokens) return std::nullopt;
    const auto n = Halve(std::max(q.image_tokens, q.session.min_image_tokens), kLeastImageTokens,
                         [&](size_t tokens) { return fits(BoundPictures(q.session, tokens)); });
    if (!n) return std::nullopt;
    const std::string bound = std::to_string(*n);
    return "use --max-image-tokens " + bound +
           (q.session.min_image_tokens > *n ? " --min-image-tokens " + bound : "");
  };
  // Where pictures are most of it, a smaller context is no help for long.
  if (const MemoryNeed all = need(q.session); all.image_stage > all.total() / 2)
    if (const auto advice = with_pictures()) return *advice;
  if (const auto n = with_context(q.session)) return "use --ctx " + std::to_string(*n);
  SessionOptions small = q.session;
  small.kv_type = KvType::kQ8_0;
  if (fits(small)) return "use --kv-type q8_0";
  if (const auto advice = with_pictures()) return *advice;
  if (q.image_tokens) small = BoundPictures(small, std::min(q.image_tokens, kLeastImageTokens));
  if (const auto n = with_context(small))
    return "use --kv-type q8_0 --ctx " + std::to_string(*n) +
           (q.image_tokens ? " --max-image-tokens " + std::to_string(small.max_image_tokens) : "");
  return "use a file of this model with a smaller quantisation, or a smaller model (--force starts anyway)";
}

}  // namespace qwen3vl::cli
