// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/interleave.h"

#include <array>
#include <cassert>
#include <cstring>

#include "hw/cpu_info.h"

namespace qwen3vl {
namespace {

constexpr size_t kWordBytes = 4;

// Which word of a block comes i-th. Q6_K keeps the low bits of a code, its high bits and the scales apart
// (two words of low and one of high bits make 16 codes): here they meet, as one stream.
size_t WordAt(hw::Format format, size_t i) {
  if (format != hw::Format::kQ6_K) return i;
  constexpr size_t kLow = 0, kHigh = 32, kScales = 48, kScaleWords = 4;
  if (i < kScaleWords) return kScales + i;
  const size_t triple = (i - kScaleWords) / 3, of_triple = (i - kScaleWords) % 3;
  return of_triple == 2 ? kHigh + triple : kLow + triple / 8 * 16 + of_triple * 8 + triple % 8;
}

// The byte in a row's block of every word, in the order above.
std::array<size_t, 64> WordOffsets(hw::Format format, size_t n_words) {
  std::array<size_t, 64> offsets{};
  assert(n_words <= offsets.size());
  for (size_t i = 0; i < n_words; ++i) offsets[i] = WordAt(format, i) * kWordBytes;
  return offsets;
}

}  // namespace

bool HasInterleavedProducts() { return hw::SelectedIsa() >= hw::Isa::kAvx2; }

void InterleaveRows(const Weight& w, std::byte* out, hw::Threads threads) {
  assert(CanInterleave(w));
  const InterleavedGroup group(w.format, w.cols);
  const size_t block_bytes = hw::Info(w.format).block_bytes, row_bytes = w.row_bytes();
  const size_t n_words = block_bytes / kWordBytes, rest = block_bytes % kWordBytes;
  const std::array<size_t, 64> offsets = WordOffsets(w.format, n_words);
  hw::ParallelForRuns(threads, w.rows / kInterleavedRows, [&](size_t index, size_t) {
    const std::byte* rows = w.row(index * kInterleavedRows);
    std::byte* rest_out = out + index * kInterleavedRows * row_bytes;
    std::byte* words_out = rest_out + group.words_at;
    for (size_t at = 0; at < row_bytes; at += block_bytes) {
      for (size_t i = 0; i < n_words; ++i)
        for (size_t r = 0; r < kInterleavedRows; ++r, words_out += kWordBytes)
          std::memcpy(words_out, rows + r * row_bytes + at + offsets[i], kWordBytes);
      for (size_t r = 0; r < kInterleavedRows; ++r, rest_out += rest)
        std::memcpy(rest_out, rows + r * row_bytes + at + n_words * kWordBytes, rest);
    }
  });
}

}  // namespace qwen3vl
