// SPDX-License-Identifier: Apache-2.0
// Test values from a seed, the same on every machine. Seeded() is the generator of the golden attention cases
// (tests/data/modules/attention.json: SplitMix64 of seed and index): multiples of 1/128 times the amplitude,
// so they are exact in bf16, f16 and f32 when the amplitude is a power of two.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <vector>

namespace qwen3vl::test {

// 64 well mixed bits for element `index` of the stream `seed`.
inline uint64_t SeededBits(uint64_t seed, uint64_t index) {
  uint64_t z = seed + (index + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

// One of the 256 values -1, -127/128 .. 127/128, times `amplitude`.
inline float SeededValue(uint64_t seed, uint64_t index, float amplitude = 1.0f) {
  return (static_cast<float>(SeededBits(seed, index) >> 56) - 128.0f) / 128.0f * amplitude;
}

// Elements 0 .. count - 1 of the stream.
inline std::vector<float> Seeded(uint64_t seed, size_t count, float amplitude = 1.0f) {
  std::vector<float> out(count);
  for (size_t i = 0; i < count; ++i) out[i] = SeededValue(seed, i, amplitude);
  return out;
}

// Normally distributed values (Box-Muller), mean 0, standard deviation `sigma`: what activations and weights
// look like.
inline std::vector<float> SeededNormal(uint64_t seed, size_t count, float sigma = 1.0f) {
  std::vector<float> out(count);
  for (size_t i = 0; i < count; ++i) {
    const double u = (static_cast<double>(SeededBits(seed, 2 * i) >> 11) + 0.5) * 0x1p-53;
    const double v = static_cast<double>(SeededBits(seed, 2 * i + 1) >> 11) * 0x1p-53;
    out[i] = static_cast<float>(sigma * std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v));
  }
  return out;
}

}  // namespace qwen3vl::test
