// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/interleave.h"

#include <array>
#include <cassert>
#include <cstring>

#include "hw/cpu_info.h"

namespace qwen3vl {
namespace {

constexpr size_t kWordBytes = 4;

// Which word of a Q6_K block comes i-th. The file keeps the low bits of a code, its high bits and the scales
// apart (two words of low and one of high bits make 16 codes): here they meet, as one stream.
size_t Q6KWordAt(size_t i) {
  constexpr size_t kLow = 0, kHigh = 32, kScales = 48, kScaleWords = 4;
  if (i < kScaleWords) return kScales + i;
  const size_t triple = (i - kScaleWords) / 3, of_triple = (i - kScaleWords) % 3;
  return of_triple == 2 ? kHigh + triple : kLow + triple / 8 * 16 + of_triple * 8 + triple % 8;
}

// Where a row's block of the file has what the copy wants.
struct BlockOffsets {
  size_t scale = 0;                // where it comes first
  std::array<size_t, 64> words{};  // in the order of the copy

  BlockOffsets(hw::Format format, size_t n_words, size_t scale_bytes) {
    assert(n_words <= words.size());
    const bool is_q6 = format == hw::Format::kQ6_K;
    if (is_q6) scale = n_words * kWordBytes;  // behind the words; before them in blocks of 32
    for (size_t i = 0; i < n_words; ++i)
      words[i] = is_q6 ? Q6KWordAt(i) * kWordBytes : scale_bytes + i * kWordBytes;
  }
};

}  // namespace

bool HasInterleavedProducts() { return hw::SelectedIsa() >= hw::Isa::kAvx2; }

void InterleaveRows(const Weight& w, std::byte* out, hw::Threads threads) {
  assert(CanInterleave(w));
  const InterleavedStep step(w.format);
  const size_t block_bytes = hw::Info(w.format).block_bytes, row_bytes = w.row_bytes();
  const size_t n_words = block_bytes / kWordBytes, scale_bytes = block_bytes % kWordBytes;
  const size_t step_bytes = step.bytes() / kInterleavedRows;  // of a row of the file
  const BlockOffsets offsets(w.format, n_words, scale_bytes);
  hw::ParallelForRuns(threads, w.rows / kInterleavedRows, [&](size_t index, size_t) {
    const std::byte* rows = w.row(index * kInterleavedRows);
    std::byte* scales_out = out + index * kInterleavedRows * row_bytes;
    for (size_t begin = 0; begin < row_bytes; begin += step_bytes, scales_out += step.words_bytes) {
      std::byte* words_out = scales_out + step.scale_bytes;
      for (size_t at = begin; at < begin + step_bytes; at += block_bytes) {
        for (size_t i = 0; i < n_words; ++i)
          for (size_t r = 0; r < kInterleavedRows; ++r, words_out += kWordBytes)
            std::memcpy(words_out, rows + r * row_bytes + at + offsets.words[i], kWordBytes);
        for (size_t r = 0; r < kInterleavedRows; ++r, scales_out += scale_bytes)
          std::memcpy(scales_out, rows + r * row_bytes + at + offsets.scale, scale_bytes);
      }
    }
  });
}

}  // namespace qwen3vl
