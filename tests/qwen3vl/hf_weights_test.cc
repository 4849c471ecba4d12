// SPDX-License-Identifier: Apache-2.0
// The ways that weights lie in a Hugging Face folder: in one file or several, under old names, with experts
// in three layouts. Each case rewrites a recorded model, as float32, and must give the same weights.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <map>

#include "qwen3vl/quant.h"
#include "qwen3vl/safetensors.h"
#include "qwen3vl/weights.h"
#include "support/expect_error.h"
#include "support/golden.h"
#include "support/near.h"
#include "support/temp_dir.h"

namespace qwen3vl {
namespace {

namespace fs = std::filesystem;

struct Tensor {
  std::vector<size_t> shape;
  std::vector<float> values;
};
using Tensors = std::map<std::string, Tensor>;

constexpr const char* kExperts = "model.language_model.layers.0.mlp.experts.";

std::vector<float> Floats(const Weight& w) {
  std::vector<float> out(w.rows * w.cols);
  for (size_t r = 0; r < w.rows; ++r) DequantizeRow(w.format, w.row(r), w.cols, out.data() + r * w.cols);
  return out;
}

// [n, a, b] to [n, b, a].
Tensor Transposed(const Tensor& t) {
  const size_t n = t.shape[0], a = t.shape[1], b = t.shape[2];
  Tensor out{{n, b, a}, std::vector<float>(t.values.size())};
  for (size_t e = 0; e < n; ++e)
    for (size_t i = 0; i < a; ++i)
      for (size_t j = 0; j < b; ++j) out.values[(e * b + j) * a + i] = t.values[(e * a + i) * b + j];
  return out;
}

class HfWeightsTest : public testing::Test {
 protected:
  static constexpr const char* kModel = "models/tiny-moe";

  HfWeightsTest() {
    for (const char* name : {"config.json", "preprocessor_config.json", "video_preprocessor_config.json"})
      dir_.Write(name, test::ReadFile(test::DataPath(std::string(kModel) + "/" + name)));
    const test::GoldenFile file(std::string(kModel) + "/model.safetensors");
    for (const auto& [name, t] : file.tensors()) tensors_[name] = {t.shape, t.Floats()};
  }

  void Save(const std::string& file, const Tensors& tensors) const {
    SafetensorsWriter writer(dir_.File(file));
    for (const auto& [name, t] : tensors) writer.Add(name, t.shape, t.values);
    writer.Finish();
  }
  void SaveAll() const { Save("model.safetensors", tensors_); }
  // Half of the tensors in each of two files, and the index.
  void SaveShards() const {
    Tensors halves[2];
    nlohmann::json map;
    size_t i = 0;
    for (const auto& [name, t] : tensors_) {
      map[name] = "part-" + std::to_string(i % 2) + ".safetensors";
      halves[i++ % 2][name] = t;
    }
    Save("part-0.safetensors", halves[0]);
    Save("part-1.safetensors", halves[1]);
    dir_.Write("model.safetensors.index.json", nlohmann::json{{"weight_map", map}}.dump());
  }
  ModelFiles Load() const { return LoadModelFiles(dir_.path().string()); }

  void ExpectSameModel() const {
    const ModelFiles found = Load(), wanted = LoadModelFiles(test::DataPath(kModel));
    EXPECT_TRUE(found.warnings.empty()) << found.warnings[0];
    EXPECT_EQ(Floats(found.text.embed), Floats(wanted.text.embed));
    EXPECT_EQ(Floats(found.text.output), Floats(wanted.text.output));
    EXPECT_EQ(Floats(found.vision.patch_embed), Floats(wanted.vision.patch_embed));
    for (size_t i = 0; i < 2; ++i) {
      const TextLayerWeights &f = found.text.layers[i], &w = wanted.text.layers[i];
      EXPECT_EQ(Floats(f.q), Floats(w.q));
      EXPECT_EQ(Floats(f.router), Floats(w.router));
      for (size_t e = 0; e < 8; ++e) {
        EXPECT_EQ(Floats(f.expert_gate[e]), Floats(w.expert_gate[e]));
        EXPECT_EQ(Floats(f.expert_up[e]), Floats(w.expert_up[e]));
        EXPECT_EQ(Floats(f.expert_down[e]), Floats(w.expert_down[e]));
      }
    }
  }

  void Rename(const std::string& from, const std::string& to) {
    Tensors renamed;
    for (auto& [name, t] : tensors_)
      renamed[name.starts_with(from) ? to + name.substr(from.size()) : name] = std::move(t);
    tensors_ = std::move(renamed);
  }

  const test::TempDir dir_;
  Tensors tensors_;
};

TEST_F(HfWeightsTest, OneFile) {
  SaveAll();
  ExpectSameModel();
}

TEST_F(HfWeightsTest, ShardsWithIndex) {
  SaveShards();
  ExpectSameModel();
}

TEST_F(HfWeightsTest, ShardsWithoutIndex) {
  SaveShards();
  fs::remove(dir_.File("model.safetensors.index.json"));
  ExpectSameModel();
}

TEST_F(HfWeightsTest, OldNames) {
  Rename("model.language_model.", "model.");
  Rename("model.visual.", "visual.");
  SaveAll();
  ExpectSameModel();
}

// As transformers 5 saves them: [expert, out, in], applied without a transpose.
TEST_F(HfWeightsTest, ExpertsStoredOutIn) {
  for (const char* layer : {"0", "1"})
    for (const char* name : {"gate_up_proj", "down_proj"}) {
      Tensor& t = tensors_["model.language_model.layers." + std::string(layer) + ".mlp.experts." + name];
      t = Transposed(t);
    }
  SaveAll();
  ExpectSameModel();
}

TEST_F(HfWeightsTest, OneTensorForEveryExpert) {
  for (const std::string layer : {"0", "1"}) {
    const std::string prefix = "model.language_model.layers." + layer + ".mlp.experts.";
    const Tensor gate_up = Transposed(tensors_[prefix + "gate_up_proj"]);  // [8, 128, 128]
    const Tensor down = Transposed(tensors_[prefix + "down_proj"]);        // [8, 128, 64]
    const size_t half = 64 * 128;
    for (size_t e = 0; e < 8; ++e) {
      const auto both = gate_up.values.begin() + static_cast<ptrdiff_t>(2 * e * half);
      const auto one = down.values.begin() + static_cast<ptrdiff_t>(e * half);
      const std::string expert = prefix + std::to_string(e);
      tensors_[expert + ".gate_proj.weight"] = {{64, 128}, {both, both + half}};
      tensors_[expert + ".up_proj.weight"] = {{64, 128}, {both + half, both + 2 * half}};
      tensors_[expert + ".down_proj.weight"] = {{128, 64}, {one, one + half}};
    }
    tensors_.erase(prefix + "gate_up_proj");
    tensors_.erase(prefix + "down_proj");
  }
  SaveAll();
  ExpectSameModel();
}

TEST_F(HfWeightsTest, TiedWithoutAnOutputMatrix) {
  tensors_.erase("lm_head.weight");
  SaveAll();
  EXPECT_ERROR(ErrorCode::kNotFound, "lm_head.weight", Load());
  const std::string config = test::ReadFile(dir_.File("config.json"));
  nlohmann::json tied = nlohmann::json::parse(config);
  tied["tie_word_embeddings"] = true;
  dir_.Write("config.json", tied.dump());
  const ModelFiles m = Load();
  EXPECT_TRUE(m.config.text.tied_embeddings);
  EXPECT_EQ(m.text.output.data, m.text.embed.data);
}

TEST_F(HfWeightsTest, MissingTensorIsNamed) {
  tensors_.erase("model.visual.merger.norm.bias");
  SaveAll();
  EXPECT_ERROR(ErrorCode::kNotFound, "tensor \"model.visual.merger.norm.bias\" is missing", Load());
}

TEST_F(HfWeightsTest, WrongExpertShapeIsNamed) {
  tensors_[std::string(kExperts) + "down_proj"].shape = {8, 32, 256};
  SaveAll();
  EXPECT_ERROR(ErrorCode::kCorruptFile, "down_proj\" has shape [8, 32, 256], want [8, 64, 128]", Load());
}

TEST_F(HfWeightsTest, TensorInTwoFilesIsNamed) {
  SaveShards();
  fs::remove(dir_.File("model.safetensors.index.json"));
  Save("part-2.safetensors", {{"lm_head.weight", tensors_["lm_head.weight"]}});
  EXPECT_ERROR(ErrorCode::kCorruptFile, "\"lm_head.weight\" is there twice", Load());
}

TEST_F(HfWeightsTest, IntegerWeightsAreRefused) {
  SaveAll();
  tensors_.erase("lm_head.weight");
  SafetensorsWriter writer(dir_.File("model.safetensors"));
  for (const auto& [name, t] : tensors_) writer.Add(name, t.shape, t.values);
  writer.Add("lm_head.weight", {1024, 128}, std::vector<uint8_t>(1024 * 128));
  writer.Finish();
  EXPECT_ERROR(ErrorCode::kUnsupported, "\"lm_head.weight\" has type \"U8\"", Load());
}

TEST_F(HfWeightsTest, BrokenIndexIsNamed) {
  SaveShards();
  fs::remove(dir_.File("part-1.safetensors"));
  EXPECT_ERROR(ErrorCode::kNotFound, "part-1.safetensors: cannot be opened", Load());
  dir_.Write("model.safetensors.index.json", R"({"weight_map": {"x": "part-0.safetensors"}})");
  EXPECT_ERROR(ErrorCode::kCorruptFile,
               "tensor \"x\" is missing, which model.safetensors.index.json puts there", Load());
  dir_.Write("model.safetensors.index.json", R"({"weight_map": {"x": "../other.safetensors"}})");
  EXPECT_ERROR(ErrorCode::kCorruptFile, "want a file name without folders", Load());
  dir_.Write("model.safetensors.index.json", R"({"weight_map": []})");
  EXPECT_ERROR(ErrorCode::kCorruptFile, "weight_map: found an array", Load());
}

TEST_F(HfWeightsTest, FoldersWithoutWeightsSayWhatIsThere) {
  EXPECT_ERROR(ErrorCode::kNotFound, "fetch the weights", Load());
  dir_.Write("pytorch_model.bin", "x");
  EXPECT_ERROR(ErrorCode::kNotFound, "holds pytorch_model.bin but no .safetensors file", Load());
  fs::remove(dir_.File("pytorch_model.bin"));
  dir_.Write("model.gguf", "x");
  EXPECT_ERROR(ErrorCode::kNotFound, "for GGUF name the file", Load());
}

TEST_F(HfWeightsTest, OtherPathsSayWhatToName) {
  SaveAll();
  EXPECT_ERROR(ErrorCode::kNotFound, "no such file or folder", LoadModelFiles(dir_.File("nothing")));
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "name its folder instead",
               LoadModelFiles(dir_.File("model.safetensors")));
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "goes with a .gguf model only",
               LoadModelFiles(dir_.path().string(), {.mmproj = "mmproj.gguf"}));
}

}  // namespace
}  // namespace qwen3vl
