// SPDX-License-Identifier: Apache-2.0
// Reproducible inputs: about normally distributed, as activations and weights are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace qwen3vl::bench {

// SplitMix64 (Steele et al. 2014): 64 well mixed bits a call.
class RandomBits {
 public:
  explicit RandomBits(uint64_t seed) : state_(seed) {}
  uint64_t operator()() {
    uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }

 private:
  uint64_t state_;
};

// Mean 0 and standard deviation `sigma`: the sum of four uniform values of 16 bits.
inline void FillRandom(std::span<float> out, uint64_t seed, float sigma = 1.0f) {
  RandomBits bits(seed);
  const float scale = sigma * 1.7320508f / 65536.0f;
  for (float& x : out) {
    const uint64_t b = bits();
    const float sum = static_cast<float>(b & 0xffff) + static_cast<float>(b >> 16 & 0xffff) +
                      static_cast<float>(b >> 32 & 0xffff) + static_cast<float>(b >> 48);
    x = (sum - 2 * 65535.0f) * scale;
  }
}

}  // namespace qwen3vl::bench
