// SPDX-License-Identifier: Apache-2.0
// A file mapped read-only into memory: weights are used where the page cache holds them, without a copy. And
// files that are read into memory, because a mapping is no use for them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace qwen3vl::hw {

// Move-only owner of one mapping. The bytes stay valid, and their address the same, until it is destroyed,
// also when the file is renamed or deleted meanwhile. A file that another program *shortens* while it is
// mapped ends the process with SIGBUS: replace model files by renaming, not by rewriting.
class MappedFile {
 public:
  // Throws Error naming the path: kNotFound when it cannot be opened, kCorruptFile when it is empty or not a
  // regular file, kOutOfMemory when there is no address space left. Never blocks on pipes or devices.
  static MappedFile Open(const std::string& path);

  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }

  // Hints to the kernel; they change speed only. A range past the end is cut.
  void AdviseWillNeed(size_t offset, size_t size) const;  // read these bytes ahead
  void AdviseWillNeed() const { AdviseWillNeed(0, size_); }

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  std::string path_;
};

// The bytes of a file, copied: for files that other programs may rewrite at any time. What they cut off
// meanwhile is missing. Throws as MappedFile::Open, and kUnsupported over `max_bytes`.
std::vector<uint8_t> ReadWholeFile(const std::string& path, size_t max_bytes);

}  // namespace qwen3vl::hw
