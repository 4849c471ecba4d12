// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/load_progress.h"

#include <algorithm>

#include "qwen3vl/error.h"

namespace qwen3vl {
namespace {

constexpr size_t kPageBytes = 4096;
// At 40 MB/s, a slow disk, a step takes 100 ms: cancelling is answered within 200.
constexpr size_t kStepBytes = size_t{4} << 20;

void TouchPages(const volatile std::byte* data, size_t bytes) {
  for (size_t i = 0; i < bytes; i += kPageBytes) static_cast<void>(data[i]);
}

}  // namespace

void LoadProgress::Mapped(const std::byte* data, size_t bytes) {
  for (size_t begin = 0; begin < bytes; begin += kStepBytes) {
    const size_t step = std::min(kStepBytes, bytes - begin);
    if (read_ahead_) TouchPages(data + begin, step);
    Done(step);
  }
}

void LoadProgress::Done(size_t bytes) {
  done_bytes_ += bytes;
  if (callback_ && !callback_(std::min(done_bytes_, total_bytes_), total_bytes_))
    throw Error(ErrorCode::kCancelled, "loading was cancelled");
}

}  // namespace qwen3vl
