// SPDX-License-Identifier: Apache-2.0
// A folder of its own for one test, removed with everything in it when the test ends.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace qwen3vl::test {

class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::filesystem::path& path() const { return path_; }
  // The path of `name` inside the folder, whether it exists or not.
  std::string File(std::string_view name) const { return (path_ / name).string(); }
  // Writes `bytes` to `name` (folders on the way are made) and returns its path.
  std::string Write(std::string_view name, std::string_view bytes) const;

 private:
  std::filesystem::path path_;
};

// The whole file; throws std::runtime_error when it cannot be read.
std::string ReadFile(const std::filesystem::path& path);

}  // namespace qwen3vl::test
