// SPDX-License-Identifier: Apache-2.0
// Every block format as its formula says; i is the element index within the block.
#include "qwen3vl/quant.h"

#include <cassert>
#include <cstdint>
#include <cstring>
#include <string>

#include "attention/row_codec.h"
#include "hw/float16.h"
#include "qwen3vl/error.h"
#include "qwen3vl/quant_blocks.h"

namespace qwen3vl {
namespace {

using hw::Format;

float HalfAt(const uint8_t* p) {
  uint16_t bits;
  std::memcpy(&bits, p, sizeof bits);
  return hw::ToFloat(hw::F16{bits});
}

uint32_t U32At(const uint8_t* p) {
  uint32_t bits;
  std::memcpy(&bits, p, sizeof bits);
  return bits;
}

// 4-bit element i of 32: low nibbles are elements 0..15, high nibbles 16..31.
int Nibble(const uint8_t* q, size_t i) { return i < 16 ? q[i] & 15 : q[i - 16] >> 4; }

int FifthBit(const uint8_t* qh, size_t i) { return static_cast<int>((U32At(qh) >> i) & 1) << 4; }

void Q4_0(const uint8_t* b, float* out) {
  const float d = HalfAt(b);
  for (size_t i = 0; i < 32; ++i) out[i] = d * static_cast<float>(Nibble(b + 2, i) - 8);
}

void Q4_1(const uint8_t* b, float* out) {
  const float d = HalfAt(b), m = HalfAt(b + 2);
  for (size_t i = 0; i < 32; ++i) out[i] = d * static_cast<float>(Nibble(b + 4, i)) + m;
}

void Q5_0(const uint8_t* b, float* out) {
  const float d = HalfAt(b);
  for (size_t i = 0; i < 32; ++i)
    out[i] = d * static_cast<float>((Nibble(b + 6, i) | FifthBit(b + 2, i)) - 16);
}

void Q5_1(const uint8_t* b, float* out) {
  const float d = HalfAt(b), m = HalfAt(b + 2);
  for (size_t i = 0; i < 32; ++i) out[i] = d * static_cast<float>(Nibble(b + 8, i) | FifthBit(b + 4, i)) + m;
}

void Iq4Nl(const uint8_t* b, float* out) {
  const float d = HalfAt(b);
  for (size_t i = 0; i < 32; ++i) out[i] = d * static_cast<float>(kIq4Values[Nibble(b + 2, i)]);
}

void Mxfp4(const uint8_t* b, float* out) {
  const float d = Mxfp4Scale(b[0]);
  for (size_t i = 0; i < 32; ++i) out[i] = d * static_cast<float>(kMxfp4Values[Nibble(b + 1, i)]);
}

// Two bits of element i of 256: 128 elements share 32 bytes, 32 elements a bit position.
int TwoBits(const uint8_t* q, size_t i) { return (q[32 * (i / 128) + i % 32] >> (2 * (i % 128 / 32))) & 3; }

void Q2K(const uint8_t* b, float* out) {
  const float d = HalfAt(b + 80), dmin = HalfAt(b + 82);
  for (size_t i = 0; i < 256; ++i) {
    const uint8_t s = b[i / 16];
    out[i] = d * static_cast<float>(s & 15) * static_cast<float>(TwoBits(b + 16, i)) -
             dmin * static_cast<float>(s >> 4);
  }
}

void Q3K(const uint8_t* b, float* out) {
  const float d = HalfAt(b + 108);
  int8_t scales[16];
  UnpackQ3KScales(b + 96, scales);
  for (size_t i = 0; i < 256; ++i) {
    const int high_clear = (b[i % 32] >> (i / 32)) & 1 ? 0 : 4;
    out[i] = d * static_cast<float>(scales[i / 16]) * static_cast<float>(TwoBits(b + 32, i) - high_clear);
  }
}

// Nibble of element i of 256: 64 elements share 32 bytes, the first 32 in the low halves.
int PairNibble(const uint8_t* q, size_t i) {
  const uint8_t byte = q[32 * (i / 64) + i % 32];
  return i / 32 % 2 ? byte >> 4 : byte & 15;
}

void Q4K(const uint8_t* b, float* out) {
  const float d = HalfAt(b), dmin = HalfAt(b + 2);
  uint8_t scales[8], mins[8];
  UnpackQ4KScales(b + 4, scales, mins);
  for (size_t i = 0; i < 256; ++i)
    out[i] = d * scales[i / 32] * static_cast<float>(PairNibble(b + 16, i)) - dmin * mins[i / 32];
}

void Q5K(const uint8_t* b, float* out) {
  const float d = HalfAt(b), dmin = HalfAt(b + 2);
  uint8_t scales[8], mins[8];
  UnpackQ4KScales(b + 4, scales, mins);
  for (size_t i = 0; i < 256; ++i) {
    const int q = PairNibble(b + 48, i) | ((b[16 + i % 32] >> (i / 32)) & 1) << 4;
    out[i] = d * scales[i / 32] * static_cast<float>(q) - dmin * mins[i / 32];
  }
}

void Q6K(const uint8_t* b, float* out) {
  const float d = HalfAt(b + 208);
  for (size_t i = 0; i < 256; ++i) {
    const uint8_t low = b[64 * (i / 128) + i % 64];
    const int q = (i % 128 >= 64 ? low >> 4 : low & 15) | TwoBits(b + 128, i) << 4;
    out[i] = d * static_cast<float>(static_cast<int8_t>(b[192 + i / 16])) * static_cast<float>(q - 32);
  }
}

void Iq4Xs(const uint8_t* b, float* out) {
  const float d = HalfAt(b);
  int8_t scales[8];
  UnpackIq4XsScales(b + 2, scales);
  for (size_t i = 0; i < 256; ++i)
    out[i] = d * scales[i / 32] * static_cast<float>(kIq4Values[Nibble(b + 8 + 16 * (i / 32), i % 32)]);
}

using BlockFn = void (*)(const uint8_t*, float*);

BlockFn FunctionOf(Format format) {
  switch (format) {
    case Format::kQ4_0:
      return Q4_0;
    case Format::kQ4_1:
      return Q4_1;
    case Format::kQ5_0:
      return Q5_0;
    case Format::kQ5_1:
      return Q5_1;
    case Format::kIQ4_NL:
      return Iq4Nl;
    case Format::kMXFP4:
      return Mxfp4;
    case Format::kQ2_K:
      return Q2K;
    case Format::kQ3_K:
      return Q3K;
    case Format::kQ4_K:
      return Q4K;
    case Format::kQ5_K:
      return Q5K;
    case Format::kQ6_K:
      return Q6K;
    case Format::kIQ4_XS:
      return Iq4Xs;
    case Format::kQ8_0:
    case Format::kF32:
    case Format::kF16:
    case Format::kBF16:
      break;
  }
  return nullptr;
}

}  // namespace

void DequantizeRow(Format format, const std::byte* row, size_t n, float* out) {
  const hw::FormatInfo& info = hw::Info(format);
  assert(n % info.block_elements == 0);
  if (attention::IsRowFormat(format)) return attention::DecodeRow(format, row, n, out);
  const BlockFn block = FunctionOf(format);
  const auto* bytes = reinterpret_cast<const uint8_t*>(row);
  for (size_t i = 0; i < n; i += info.block_elements, bytes += info.block_bytes) block(bytes, out + i);
}

void QuantizeRow(Format format, const float* x, size_t n, std::byte* row) {
  assert(n % hw::Info(format).block_elements == 0);
  if (!attention::IsRowFormat(format))
    throw Error(ErrorCode::kUnsupported,
                "cannot quantise to " + std::string(hw::Name(format)) + ": want f32, f16, bf16 or q8_0");
  attention::EncodeRow(format, x, n, row);
}

}  // namespace qwen3vl
