// SPDX-License-Identifier: Apache-2.0
// Reports how much of a model's weights is in memory, and gives the caller the chance to cancel.
#pragma once

#include <cstddef>
#include <functional>

namespace qwen3vl {

class LoadProgress {
 public:
  using Callback = std::function<bool(size_t done_bytes, size_t total_bytes)>;

  // Both may be empty or 0. With `read_ahead` mapped bytes are read when they are reported, so that progress
  // means something and the first prompt does not wait for the disk.
  LoadProgress(Callback callback, size_t total_bytes, bool read_ahead)
      : callback_(std::move(callback)), total_bytes_(total_bytes), read_ahead_(read_ahead) {}

  // Bytes of a mapping are in use from now on. Throws Error(kCancelled).
  void Mapped(const std::byte* data, size_t bytes);
  // Bytes were read and converted. Throws Error(kCancelled).
  void Done(size_t bytes);

 private:
  Callback callback_;
  size_t total_bytes_;
  size_t done_bytes_ = 0;
  bool read_ahead_;
};

}  // namespace qwen3vl
