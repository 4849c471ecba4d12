// SPDX-License-Identifier: Apache-2.0
// The number formats that weights and the KV cache may be stored in: name, block size, bytes.
// Layouts of the quantised blocks follow GGML (as listed in its reference dequantiser).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace qwen3vl::hw {

enum class Format : uint8_t {
  kF32,
  kF16,
  kBF16,
  kQ8_0,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kIQ4_NL,
  kMXFP4,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kIQ4_XS,
};
inline constexpr size_t kFormatCount = 16;

struct FormatInfo {
  std::string_view name;  // as users write it: "f16", "q8_0", "q4_K"
  uint16_t block_elements;
  uint16_t block_bytes;
};

inline constexpr FormatInfo kFormatInfo[kFormatCount] = {
    {"f32", 1, 4},      {"f16", 1, 2},      {"bf16", 1, 2},     {"q8_0", 32, 34},
    {"q4_0", 32, 18},   {"q4_1", 32, 20},   {"q5_0", 32, 22},   {"q5_1", 32, 24},
    {"iq4_nl", 32, 18}, {"mxfp4", 32, 17},  {"q2_K", 256, 84},  {"q3_K", 256, 110},
    {"q4_K", 256, 144}, {"q5_K", 256, 176}, {"q6_K", 256, 210}, {"iq4_xs", 256, 136},
};

constexpr const FormatInfo& Info(Format f) { return kFormatInfo[static_cast<size_t>(f)]; }
constexpr std::string_view Name(Format f) { return Info(f).name; }
constexpr bool IsQuantized(Format f) { return Info(f).block_elements > 1; }

// Bytes of a row of `cols` elements. Precondition: cols is a multiple of the block (checked by whoever reads
// the file).
constexpr size_t RowBytes(Format f, size_t cols) {
  return cols / Info(f).block_elements * Info(f).block_bytes;
}

// 32 values: f16 scale and signed bytes. Shared by weights and the KV cache.
struct BlockQ8_0 {
  uint16_t d;  // F16 bits
  int8_t q[32];
};
static_assert(sizeof(BlockQ8_0) == 34);

// Rounds 32 values to the nearest levels, ties to even. An infinity or NaN among them makes all 32 NaN.
BlockQ8_0 QuantizeQ8_0(const float* values);

// The format of that name (case of the K suffix does not matter), or nothing.
std::optional<Format> FormatFromName(std::string_view name);

}  // namespace qwen3vl::hw
