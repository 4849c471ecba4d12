// SPDX-License-Identifier: Apache-2.0
// GGUF files written by llama.cpp against its own logits and against the float64 reference on the dequantised
// weights. Limits: Tolerances in tests/data/README.md.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "hw/cpu_info.h"
#include "qwen3vl/qwen3vl.h"
#include "support/golden_model.h"
#include "support/near.h"

namespace qwen3vl {
namespace {

struct QuantizedFile {
  const char* name;       // of the case
  const char* file;       // of the model
  double llamacpp_error;  // relative norm of llama.cpp's logits, worst of the three sequences
};

void PrintTo(const QuantizedFile& f, std::ostream* os) { *os << f.name; }

constexpr QuantizedFile kFiles[] = {
    {"tiny-q-q8_0", "tiny-q-q8_0.gguf", 0.018},
    {"tiny-q-q6_k", "tiny-q-q6_k.gguf", 0.026},
    {"tiny-q-q5_k_m", "tiny-q-q5_k_m.gguf", 0.026},
    {"tiny-q-q5_1", "tiny-q-q5_1.gguf", 0.018},
    {"tiny-q-q4_k_m", "tiny-q-q4_k_m.gguf", 0.026},
    {"tiny-q-q4_0", "tiny-q-q4_0.gguf", 0.018},
    {"tiny-q-iq4_nl", "tiny-q-iq4_nl.gguf", 0.019},
    {"tiny-q-iq4_xs", "tiny-q-iq4_xs.gguf", 0.026},
    {"tiny-q-q3_k_m", "tiny-q-q3_k_m.gguf", 0.026},
    {"tiny-q-q2_k", "tiny-q-q2_k.gguf", 0.026},
    {"tiny-moe-q4_k_m", "tiny-moe-q4_k_m.gguf", 0.024},
    {"tiny-q-q4_1", "tiny-q-q4_1-split-00001-of-00002.gguf", 0.019},
    {"tiny-q-q5_0", "tiny-q-q5_0-fused-qkv.gguf", 0.018},
};

std::string ModelPath(const std::string& file) { return test::DataPath("gguf/models/" + file); }

SessionOptions Options() { return {.threads = 2, .context = 512, .kv_type = KvType::kF32}; }

// Logits of the last `rows` positions.
std::vector<float> Logits(const Model& model, std::span<const int32_t> ids, bool exact, size_t rows) {
  test::TracedRun run;
  SessionOptions options = Options();
  options.exact = exact;
  options.trace = test::CollectInto(run);
  Session(model, options).Complete(ids, {}, {}, {.max_tokens = 0});
  const test::TracedTensor& logits = run.tensors.at("logits");
  return {logits.floats.end() - static_cast<std::ptrdiff_t>(rows * logits.shape[1]), logits.floats.end()};
}

class QuantizedModelTest : public testing::TestWithParam<QuantizedFile> {};

TEST_P(QuantizedModelTest, LogitsAsNearToTheReferenceAsTheFormatAllows) {
  const QuantizedFile& f = GetParam();
  if (!test::DataExists(std::string("gguf/models/") + f.file))
    GTEST_SKIP() << f.file << " is only in the complete recordings";
  const test::GoldenFile golden("gguf/cases/" + std::string(f.name) + ".safetensors");
  const Model model = Model::Load(ModelPath(f.file), {.repack = RepackChoice::kOff});
  const Model repacked = Model::Load(ModelPath(f.file), {.repack = RepackChoice::kOn});
  for (const std::string sequence : {"one", "short", "long"}) {
    SCOPED_TRACE(sequence);
    const std::vector<int32_t> ids = golden[sequence + ".input_ids"].Ints();
    const test::GoldenTensor& reference = golden[sequence + ".logits_reference"];
    const std::vector<float> wanted = reference.Floats();
    EXPECT_TRUE(test::AllNear(Logits(model, ids, /*exact=*/true, reference.shape[0]), wanted,
                              reference.shape[1], test::kHiddenTolerance));
    for (const Model* m : {&model, &repacked}) {
      const std::vector<float> fast = Logits(*m, ids, /*exact=*/false, reference.shape[0]);
      EXPECT_LE(test::RelativeError(fast, wanted), 1.5 * f.llamacpp_error);
    }
  }
}

// Half of a file in Q4_K_M, at least, is in formats that have copies; one in BF16 is not.
TEST(GgufGolden, RepackedBytesAreThoseOfTheFormatsThatHaveCopies) {
  const auto repacked = [](const char* file, RepackChoice choice) {
    return Model::Load(ModelPath(file), {.repack = choice}).info().repacked_bytes;
  };
  const ModelInfo q4_k_m = Model::Load(ModelPath("tiny-q-q4_k_m.gguf")).info();
  const bool has_products = hw::SelectedIsa() >= hw::Isa::kAvx2;
  EXPECT_EQ(repacked("tiny-q-q4_k_m.gguf", RepackChoice::kOff), 0u);
  EXPECT_EQ(repacked("tiny-q-q4_k_m.gguf", RepackChoice::kOn) > q4_k_m.weight_bytes / 2, has_products);
  EXPECT_EQ(repacked("tiny-b-bf16.gguf", RepackChoice::kOn), 0u);
}

TEST(GgufGolden, RepackingCanBeCancelled) {
  size_t calls = 0, last_calls = 0;
  const auto load = [&](size_t stop_at) {
    calls = 0;
    return Model::Load(
        ModelPath("tiny-q-q4_k_m.gguf"),
        {.repack = RepackChoice::kOn, .progress = [&](const Progress&) { return ++calls != stop_at; }});
  };
  load(0);
  last_calls = calls;
  try {
    load(last_calls);  // the last step is one of repacking, where there is any
    FAIL() << "loaded";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kCancelled);
  }
}

INSTANTIATE_TEST_SUITE_P(Files, QuantizedModelTest, testing::ValuesIn(kFiles), [](const auto& param_info) {
  std::string name = param_info.param.name;
  std::ranges::replace(name, '-', '_');
  return name;
});

TEST(GgufGolden, AnyPartNamesTheWhole) {
  const test::GoldenFile golden("gguf/cases/tiny-q-q4_1.safetensors");
  const std::vector<int32_t> ids = golden["short.input_ids"].Ints();
  const Model first = Model::Load(ModelPath("tiny-q-q4_1-split-00001-of-00002.gguf"));
  const Model second = Model::Load(ModelPath("tiny-q-q4_1-split-00002-of-00002.gguf"));
  EXPECT_EQ(Logits(first, ids, true, 7), Logits(second, ids, true, 7));
}

// The BF16 text file and the folder hold the same weights, so they must give the same logits to the last bit.
TEST(GgufGolden, SameAnswerAsTheFolderOfTheSameWeights) {
  for (const std::string name : {"tiny-b", "tiny-moe"}) {
    SCOPED_TRACE(name);
    size_t n_cases = 0;
    const Model folder = Model::Load(test::DataPath("models/" + name)),
                file = Model::Load(ModelPath(name + "-bf16.gguf"));
    for (const test::GoldenCase& c : test::GoldenCases(name)) {
      if (!c.entry["images"].empty() || !c.entry["videos"].empty()) continue;
      const std::vector<int32_t> ids = c.entry["input_ids"];
      EXPECT_EQ(Logits(file, ids, false, 1), Logits(folder, ids, false, 1)) << c.name();
      ++n_cases;
    }
    EXPECT_GE(n_cases, 1u);
  }
}

struct VisionFile {
  const char* name;  // of the test
  const char* file;
  const char* text;
  const char* model;
  const char* picture_case;
  size_t min_tokens, max_tokens;  // the limits that the case was made with; not in the file
  // Of features, absolute; relative in the norm where both weights and activations are in 8 bits.
  double limit = test::kMergedTolerance;
  // Weights in 8 bits: the recorded tokens are those of the weights before that.
  bool rounded = false;
  bool fast = true;  // activations in 8 bits where weights are
};

void PrintTo(const VisionFile& v, std::ostream* os) { *os << v.name; }

constexpr VisionFile kVisionFiles[] = {
    {"TinyMoeF16", "mmproj-tiny-moe-f16.gguf", "tiny-moe-bf16.gguf", "tiny-moe", "image_wide", 4, 64},
    {"TinyMoeQ8Exact", "mmproj-tiny-moe-q8_0.gguf", "tiny-moe-bf16.gguf", "tiny-moe", "image_wide", 4, 64,
     test::kMergedTolerance, /*rounded=*/true, /*fast=*/false},
    // llama.cpp's own error in this file, 1.5e-2, and half as much again.
    {"TinyMoeQ8", "mmproj-tiny-moe-q8_0.gguf", "tiny-moe-bf16.gguf", "tiny-moe", "image_wide", 4, 64,
     1.5 * 1.5e-2, /*rounded=*/true},
    {"TinyBWide", "mmproj-tiny-b-f16.gguf", "tiny-b-bf16.gguf", "tiny-b", "image_wide", 0, 0},
    {"TinyBTall", "mmproj-tiny-b-f16.gguf", "tiny-b-bf16.gguf", "tiny-b", "image_tall", 0, 0},
};

class VisionFileTest : public testing::TestWithParam<VisionFile> {};

TEST_P(VisionFileTest, FeaturesAndAnswerAsTheReference) {
  const VisionFile& v = GetParam();
  if (!test::DataExists(std::string("gguf/models/") + v.file))
    GTEST_SKIP() << v.file << " is only in the complete recordings";
  const test::GoldenCase c = test::CaseNamed(v.model, v.picture_case);
  const Model model = Model::Load(ModelPath(v.text), {.mmproj = ModelPath(v.file)});
  test::TracedRun run;
  SessionOptions options = Options();
  options.min_image_tokens = v.min_tokens;
  options.max_image_tokens = v.max_tokens;
  options.exact = !v.fast;
  options.trace = test::CollectInto(run);
  Session session(model, options);
  const std::vector<int32_t> ids = c.entry["input_ids"];
  const Reply reply = session.Complete(ids, test::CasePictures(c), {}, test::Greedy(16));
  if (!v.rounded) {
    EXPECT_EQ(reply.ids, c.entry["greedy_tokens"].get<std::vector<int32_t>>());
  }
  const std::string stem(v.file, std::strlen(v.file) - std::strlen(".gguf"));
  const test::GoldenFile golden("gguf/cases/" + stem + "." + v.picture_case + ".safetensors");
  const test::GoldenTensor& wanted = golden["embeddings_reference"];
  // One row a token: main features, then those of every deepstack layer.
  const size_t dim = run.tensors.at("vision.merger").shape[1], parts = wanted.shape[1] / dim;
  ASSERT_GE(parts, 2u);
  const std::vector<float> want = wanted.Floats();
  for (size_t part = 0; part < parts; ++part) {
    SCOPED_TRACE("part " + std::to_string(part));
    const test::TracedTensor& found =
        run.tensors.at(part == 0 ? "vision.merger" : "vision.deepstack." + std::to_string(part - 1));
    std::vector<float> column;
    for (size_t row = 0; row < wanted.shape[0]; ++row)
      column.insert(column.end(), &want[row * wanted.shape[1] + part * dim],
                    &want[row * wanted.shape[1] + (part + 1) * dim]);
    if (v.rounded && v.fast) {
      EXPECT_LE(test::RelativeError(found.floats, column), v.limit);
    } else {
      EXPECT_TRUE(test::AllNear(found.floats, column, dim, v.limit));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Files, VisionFileTest, testing::ValuesIn(kVisionFiles),
                         [](const auto& param_info) { return std::string(param_info.param.name); });

}  // namespace
}  // namespace qwen3vl
