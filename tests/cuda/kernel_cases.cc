// SPDX-License-Identifier: Apache-2.0
#include "cuda/kernel_cases.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "support/near.h"

namespace qwen3vl::test {
namespace {

bool IsSupported(const AttentionCase& c) {
  return c.shape.head_dim <= 128 && c.softcap == 0 && c.bias_heads == 0 && !c.allowed;
}

std::vector<AttentionCase> KernelCases() {
  std::vector<AttentionCase> cases = AttentionCases();
  // Keys one below, at and one above the tiles of 128 and 256; more than one block of 64 rows.
  cases.push_back({"Keys127", {1, 70, 127, 2, 1, 64}});
  cases.push_back({"Keys128", {1, 70, 128, 2, 1, 64}});
  cases.push_back({"Keys129Causal", {1, 70, 129, 2, 2, 128}, true});
  cases.push_back({"Keys255Causal", {1, 65, 255, 2, 2, 80}, true});
  cases.push_back({"Keys256", {1, 64, 256, 1, 1, 72}});
  cases.push_back({"Keys257", {1, 33, 257, 4, 2, 64}});
  cases.push_back({"Keys600Causal", {1, 40, 600, 8, 2, 128}, true});
  cases.push_back(
      {.name = "WindowOverTiles", .shape = {1, 70, 500, 2, 1, 64}, .causal = true, .window = 200});
  cases.push_back({.name = "SegmentsOverTiles",
                   .shape = {1, 420, 420, 1, 1, 64},
                   .segments = {0, 100, 128, 200, 385, 420}});
  cases.push_back({.name = "LengthsOverTiles", .shape = {3, 20, 300, 4, 1, 64}, .kv_lengths = {300, 129, 0}});
  cases.push_back({"DecodeGroup8", {1, 1, 400, 16, 2, 128}, true});
  cases.push_back({"DecodeBatch", {2, 1, 260, 4, 2, 72}, true});
  cases.push_back({"DecodeTwoTokens", {1, 2, 300, 8, 2, 80}, true});
  // Heads that share nothing: the rows of a block are tokens, which see different keys.
  cases.push_back(
      {.name = "DecodeTokensWindow", .shape = {1, 2, 300, 4, 4, 64}, .causal = true, .window = 130});
  cases.push_back({.name = "DecodeWindow", .shape = {1, 1, 700, 4, 1, 64}, .causal = true, .window = 130});
#if defined(__SANITIZE_THREAD__)
  // There a fiber costs as much as a thread; the smaller cases reach every barrier and shuffle as well.
  std::erase_if(cases, [](const AttentionCase& c) {
    return c.shape.q_len * c.shape.kv_len * c.shape.n_heads * c.shape.head_dim > 1'200'000;
  });
#endif
  return cases;
}

}  // namespace

std::vector<AttentionCase> SupportedCases() {
  std::vector<AttentionCase> cases = KernelCases();
  std::erase_if(cases, [](const AttentionCase& c) { return !IsSupported(c); });
  return cases;
}

std::vector<AttentionCase> UnsupportedCases() {
  std::vector<AttentionCase> cases = KernelCases();
  std::erase_if(cases, IsSupported);
  return cases;
}

double Int8Tolerance(const AttentionCase& c) {
  const double scale =
      c.scale == 0 ? 1 : std::abs(c.scale) * std::sqrt(static_cast<double>(c.shape.head_dim));
  return 1e-2 * std::max(1.0, scale * c.amplitude * c.amplitude / 4);
}

std::vector<float> Rounded(std::vector<float> rows, size_t head_dim) {
  constexpr float kWhole = 0x1.8p23f;  // a float this large has steps of 1
  for (size_t row = 0; row < rows.size(); row += head_dim)
    for (size_t first = 0; first < head_dim; first += 32) {
      const std::span<float> block(&rows[row + first], std::min<size_t>(32, head_dim - first));
      float largest = 0;
      for (float x : block) largest = std::max(largest, std::abs(x));
      const float inverse = largest > 0 ? 127.0f / largest : 0.0f;
      for (float& x : block) x = (std::fma(x, inverse, kWhole) - kWhole) * (largest / 127.0f);
    }
  return rows;
}

void ExpectReference(const CudaResult& r, const AttentionReference& ref, double tolerance) {
  for (float x : r.out) ASSERT_TRUE(std::isfinite(x));
  EXPECT_LE(RelativeError(r.out, ref.out), tolerance);
  for (size_t i = 0; i < r.lse.size(); ++i) {
    if (std::isinf(ref.lse[i])) {
      EXPECT_EQ(r.lse[i], -INFINITY) << "row " << i;
    } else {
      EXPECT_NEAR(r.lse[i], ref.lse[i], kLseTolerance) << "row " << i;
    }
  }
}

}  // namespace qwen3vl::test
