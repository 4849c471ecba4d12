// SPDX-License-Identifier: Apache-2.0
// Damaged files, thousands of them from a seed: each must load or throw Error. The sanitizer build shows that
// no byte outside the file is read.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <string>

#include "qwen3vl/error.h"
#include "qwen3vl/gguf.h"
#include "qwen3vl/safetensors.h"
#include "qwen3vl/weights.h"
#include "support/golden.h"
#include "support/seeded.h"
#include "support/temp_dir.h"
#include "support/tiny_gguf.h"

namespace qwen3vl {
namespace {

// Changes `count` places of the first `header_bytes`: one bit, a byte of all ones or zeros, or eight bytes
// of a number that overflows things. Every eighth file is cut short instead.
std::string Mutate(std::string file, size_t header_bytes, uint64_t seed) {
  const auto random = [&](uint64_t index, size_t below) {
    return static_cast<size_t>(test::SeededBits(seed, index) % below);
  };
  if (seed % 8 == 0) return file.substr(0, random(0, header_bytes));
  const size_t count = 1 + random(0, 3);
  for (size_t i = 0; i < count; ++i) {
    const size_t at = random(4 * i + 1, header_bytes);
    constexpr std::array<uint64_t, 4> kNumbers = {~uint64_t{0}, uint64_t{1} << 63, uint64_t{1} << 32, 0};
    switch (random(4 * i + 2, 4)) {
      case 0:
        file[at] = static_cast<char>(file[at] ^ (1 << random(4 * i + 3, 8)));
        break;
      case 1:
        file[at] = '\xff';
        break;
      case 2:
        file[at] = '\0';
        break;
      default:
        std::memcpy(file.data() + at, &kNumbers[random(4 * i + 3, 4)], std::min<size_t>(8, file.size() - at));
    }
  }
  return file;
}

// How many of `n_files` damaged ones `open` refused; anything but Error fails the test.
template <class Open>
size_t CountRefused(const std::string& file, size_t header_bytes, size_t n_files, const Open& open) {
  const test::TempDir dir;
  size_t refused = 0;
  for (uint64_t seed = 0; seed < n_files; ++seed) {
    const std::string path = dir.Write("a.gguf", Mutate(file, header_bytes, seed));
    try {
      open(path);
    } catch (const Error& e) {
      ++refused;
      EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << e.what();
    } catch (const std::exception& e) {
      ADD_FAILURE() << "seed " << seed << ": " << e.what();
    }
  }
  return refused;
}

TEST(FileMutation, GgufModels) {
  const std::string file = test::TinyText().File();
  const test::TempDir dir;
  EXPECT_EQ(LoadModelFiles(dir.Write("a.gguf", file)).config.text.n_layers, 1u);
  const size_t refused =
      CountRefused(file, 1800, 2000, [](const std::string& path) { LoadModelFiles(path); });
  EXPECT_GT(refused, 1000u);
}

TEST(FileMutation, RecordedVisionFile) {
  const std::string file = test::ReadFile(test::DataPath("gguf/models/mmproj-tiny-moe-q8_0.gguf"));
  const size_t refused = CountRefused(file, 5000, 200, [](const std::string& path) { GgufFile::Open(path); });
  EXPECT_GT(refused, 50u);
}

TEST(FileMutation, Safetensors) {
  const test::TempDir dir;
  const std::string path = dir.File("a.safetensors");
  SafetensorsWriter writer(path);
  for (const char* name : {"alpha", "beta", "gamma"}) writer.Add(name, {2, 3}, std::vector<float>(6));
  writer.SetMetadata("key", "value");
  writer.Finish();
  const std::string file = test::ReadFile(path);
  const size_t refused =
      CountRefused(file, file.size() - 72, 2000, [](const std::string& p) { SafetensorsFile::Open(p); });
  EXPECT_GT(refused, 1500u);
}

}  // namespace
}  // namespace qwen3vl
