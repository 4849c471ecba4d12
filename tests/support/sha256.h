// SPDX-License-Identifier: Apache-2.0
// SHA-256 (FIPS 180-4), to compare pictures with recorded hashes.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

namespace qwen3vl::test {

namespace sha256_detail {

// The first 32 fraction bits of the square or cube root of the n-th prime.
inline uint32_t RootBits(size_t n, bool cube) {
  int prime = 2;
  for (size_t found = 0;; ++prime) {
    bool divides = false;
    for (int d = 2; d * d <= prime; ++d) divides |= prime % d == 0;
    if (!divides && found++ == n) break;
  }
  const long double root =
      cube ? std::cbrt(static_cast<long double>(prime)) : std::sqrt(static_cast<long double>(prime));
  return static_cast<uint32_t>((root - std::floor(root)) * 0x1p32L);
}

inline void AddBlock(const uint8_t* block, const std::array<uint32_t, 64>& k,
                     std::array<uint32_t, 8>& state) {
  std::array<uint32_t, 64> w;
  for (size_t i = 0; i < 16; ++i)
    w[i] = uint32_t{block[4 * i]} << 24 | uint32_t{block[4 * i + 1]} << 16 | uint32_t{block[4 * i + 2]} << 8 |
           block[4 * i + 3];
  for (size_t i = 16; i < 64; ++i)
    w[i] = w[i - 16] + w[i - 7] + (std::rotr(w[i - 15], 7) ^ std::rotr(w[i - 15], 18) ^ w[i - 15] >> 3) +
           (std::rotr(w[i - 2], 17) ^ std::rotr(w[i - 2], 19) ^ w[i - 2] >> 10);
  auto [a, b, c, d, e, f, g, h] = state;
  for (size_t i = 0; i < 64; ++i) {
    const uint32_t t1 =
        h + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) + ((e & f) ^ (~e & g)) + k[i] + w[i];
    const uint32_t t2 =
        (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
  }
  const uint32_t add[] = {a, b, c, d, e, f, g, h};
  for (size_t i = 0; i < 8; ++i) state[i] += add[i];
}

}  // namespace sha256_detail

// Lower-case hexadecimal.
inline std::string Sha256(std::span<const uint8_t> bytes) {
  std::array<uint32_t, 64> k;
  std::array<uint32_t, 8> state;
  for (size_t i = 0; i < 64; ++i) k[i] = sha256_detail::RootBits(i, /*cube=*/true);
  for (size_t i = 0; i < 8; ++i) state[i] = sha256_detail::RootBits(i, /*cube=*/false);
  std::vector<uint8_t> padded(bytes.begin(), bytes.end());
  padded.push_back(0x80);
  while (padded.size() % 64 != 56) padded.push_back(0);
  for (int shift = 56; shift >= 0; shift -= 8)
    padded.push_back(static_cast<uint8_t>(uint64_t{bytes.size()} * 8 >> shift));
  for (size_t i = 0; i < padded.size(); i += 64) sha256_detail::AddBlock(padded.data() + i, k, state);
  std::string text;
  for (uint32_t word : state) {
    char hex[9];
    std::snprintf(hex, sizeof hex, "%08x", word);
    text += hex;
  }
  return text;
}

}  // namespace qwen3vl::test
