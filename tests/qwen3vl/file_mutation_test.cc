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
#include "support/gguf_writer.h"
#include "support/golden.h"
#include "support/seeded.h"
#include "support/temp_dir.h"

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

// A model of one layer whose metadata is short, so that damage hits what matters.
std::string TinyGguf() {
  const auto f32 = [](size_t n) { return std::string(n * 4, '\0'); };
  test::GgufWriter w;
  w.Str("general.architecture", "qwen3vl").U32("qwen3vl.block_count", 1).U32("qwen3vl.embedding_length", 8);
  w.U32("qwen3vl.context_length", 64)
      .U32("qwen3vl.feed_forward_length", 4)
      .U32("qwen3vl.attention.head_count", 2);
  w.U32("qwen3vl.attention.head_count_kv", 1).U32("qwen3vl.attention.key_length", 4);
  w.F32("qwen3vl.attention.layer_norm_rms_epsilon", 1e-6f).F32("qwen3vl.rope.freq_base", 5e6f);
  w.Ints("qwen3vl.rope.dimension_sections", {1, 1, 0, 0}).Str("tokenizer.ggml.model", "gpt2");
  w.Str("tokenizer.ggml.pre", "qwen2").Strings("tokenizer.ggml.tokens", {"a", "b", "<|im_end|>"});
  w.Ints("tokenizer.ggml.token_type", {1, 1, 3}).Strings("tokenizer.ggml.merges", {"a b"});
  w.Tensor("token_embd.weight", {8, 3}, 0, f32(24)).Tensor("output_norm.weight", {8}, 0, f32(8));
  for (const char* norm : {"attn_norm", "ffn_norm"})
    w.Tensor(std::string("blk.0.") + norm + ".weight", {8}, 0, f32(8));
  for (const char* norm : {"attn_q_norm", "attn_k_norm"})
    w.Tensor(std::string("blk.0.") + norm + ".weight", {4}, 0, f32(4));
  w.Tensor("blk.0.attn_q.weight", {8, 8}, 0, f32(64)).Tensor("blk.0.attn_output.weight", {8, 8}, 0, f32(64));
  for (const char* name : {"attn_k", "attn_v", "ffn_gate", "ffn_up"})
    w.Tensor(std::string("blk.0.") + name + ".weight", {8, 4}, 0, f32(32));
  w.Tensor("blk.0.ffn_down.weight", {4, 8}, 0, f32(32));
  return w.File();
}

TEST(FileMutation, GgufModels) {
  const std::string file = TinyGguf();
  const test::TempDir dir;
  EXPECT_EQ(LoadModelFiles(dir.Write("a.gguf", file)).config.text.n_layers, 1u);
  const size_t refused =
      CountRefused(file, 1800, 4000, [](const std::string& path) { LoadModelFiles(path); });
  EXPECT_GT(refused, 2000u);
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
      CountRefused(file, file.size() - 72, 4000, [](const std::string& p) { SafetensorsFile::Open(p); });
  EXPECT_GT(refused, 3000u);
}

}  // namespace
}  // namespace qwen3vl
