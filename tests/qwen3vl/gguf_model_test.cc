// SPDX-License-Identifier: Apache-2.0
// GGUF models as a whole: the recorded files list the types they are known to have, and bind to the same
// bytes as the Hugging Face folders that they were converted from.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "hw/float16.h"
#include "qwen3vl/qwen3vl.h"
#include "qwen3vl/weights.h"
#include "support/expect_error.h"
#include "support/golden.h"
#include "support/near.h"
#include "support/temp_dir.h"

namespace qwen3vl {
namespace {

using test::DataPath;

std::string_view BytesOf(const Weight& w) { return {reinterpret_cast<const char*>(w.data), w.bytes()}; }

void ExpectSame(const Weight& found, const Weight& wanted) {
  EXPECT_EQ(found.format, wanted.format);
  EXPECT_EQ(found.rows, wanted.rows);
  EXPECT_EQ(found.cols, wanted.cols);
  EXPECT_EQ(BytesOf(found), BytesOf(wanted));
}

void ExpectSame(const std::vector<Weight>& found, const std::vector<Weight>& wanted) {
  ASSERT_EQ(found.size(), wanted.size());
  for (size_t i = 0; i < found.size(); ++i) ExpectSame(found[i], wanted[i]);
}

void ExpectSame(const Vector& found, const Vector& wanted) {
  EXPECT_TRUE(test::AllNear(found.span(), wanted.span(), 0));
}

void ExpectSameText(const ModelFiles& found, const ModelFiles& wanted) {
  ExpectSame(found.text.embed, wanted.text.embed);
  ExpectSame(found.text.output, wanted.text.output);
  ExpectSame(found.text.final_norm, wanted.text.final_norm);
  ASSERT_EQ(found.text.layers.size(), wanted.text.layers.size());
  for (size_t i = 0; i < found.text.layers.size(); ++i) {
    const TextLayerWeights &f = found.text.layers[i], &w = wanted.text.layers[i];
    ExpectSame(f.attn_norm, w.attn_norm);
    ExpectSame(f.ffn_norm, w.ffn_norm);
    ExpectSame(f.q_norm, w.q_norm);
    ExpectSame(f.k_norm, w.k_norm);
    ExpectSame(f.q, w.q);
    ExpectSame(f.k, w.k);
    ExpectSame(f.v, w.v);
    ExpectSame(f.o, w.o);
    ExpectSame(f.gate, w.gate);
    ExpectSame(f.up, w.up);
    ExpectSame(f.down, w.down);
    ExpectSame(f.expert_gate, w.expert_gate);
    ExpectSame(f.expert_up, w.expert_up);
    ExpectSame(f.expert_down, w.expert_down);
  }
}

TEST(GgufModel, ListsTheRecordedTypes) {
  const nlohmann::json recorded = test::ReadJson("gguf/gguf.json");
  size_t n_files = 0;
  for (const auto& entry : recorded["files"]) {
    const std::string relative = "gguf/" + entry["file"].get<std::string>();
    if (!test::DataExists(relative) || entry["kind"] == "vision") continue;
    SCOPED_TRACE(relative);
    ++n_files;
    const bool is_split = relative.find("-split-") != std::string::npos;
    const ModelFiles m = LoadModelFiles(DataPath(relative), {.header_only = true});
    const std::string name = std::filesystem::path(relative).filename().string();
    size_t listed = 0;
    for (const TensorEntry& t : m.tensors) {
      if (std::filesystem::path(t.file).filename().string() != name) continue;
      ++listed;
      ASSERT_TRUE(entry["tensor_types"].contains(t.name)) << t.name;
      EXPECT_EQ(hw::FormatFromName(entry["tensor_types"][t.name].get<std::string>()), t.format) << t.name;
    }
    EXPECT_EQ(listed, entry["tensor_types"].size());
    if (is_split) {
      EXPECT_EQ(m.tensors.size(), 13u);
    }
  }
  EXPECT_GE(n_files, 12u);
}

TEST(GgufModel, EveryTextFileBinds) {
  size_t n_files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(DataPath("gguf/models"))) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("mmproj")) continue;
    SCOPED_TRACE(name);
    ++n_files;
    const ModelFiles m = LoadModelFiles(entry.path().string());
    EXPECT_NE(m.text.output.data, nullptr);
    const bool has_vision_file =
        !name.starts_with("tiny-q") &&
        test::DataExists("gguf/models/mmproj-" + name.substr(0, name.rfind('-')) + "-f16.gguf");
    EXPECT_EQ(m.config.vision.has_value(), has_vision_file);
    for (const TextLayerWeights& l : m.text.layers) EXPECT_NE(l.v.data, nullptr);
  }
  EXPECT_GE(n_files, 12u);
}

TEST(GgufModel, DenseTextEqualsTheHuggingFaceFolder) {
  ExpectSameText(LoadModelFiles(DataPath("gguf/models/tiny-b-bf16.gguf")),
                 LoadModelFiles(DataPath("models/tiny-b")));
}

TEST(GgufModel, ExpertsEqualTheHuggingFaceFolder) {
  ExpectSameText(LoadModelFiles(DataPath("gguf/models/tiny-moe-bf16.gguf")),
                 LoadModelFiles(DataPath("models/tiny-moe")));
}

TEST(GgufModel, ConfigEqualsTheHuggingFaceFolder) {
  const ModelConfig found =
      LoadModelFiles(DataPath("gguf/models/tiny-moe-bf16.gguf"), {.header_only = true}).config;
  const ModelConfig wanted = LoadModelFiles(DataPath("models/tiny-moe"), {.header_only = true}).config;
  EXPECT_EQ(found.text.n_heads, wanted.text.n_heads);
  EXPECT_EQ(found.text.n_kv_heads, wanted.text.n_kv_heads);
  EXPECT_EQ(found.text.head_dim, wanted.text.head_dim);
  EXPECT_EQ(found.text.vocab_size, wanted.text.vocab_size);
  EXPECT_EQ(found.text.max_seq_len, wanted.text.max_seq_len);
  EXPECT_EQ(found.text.mrope_section, wanted.text.mrope_section);
  EXPECT_EQ(found.text.rope_theta, wanted.text.rope_theta);
  EXPECT_EQ(found.text.norm_eps, wanted.text.norm_eps);
  EXPECT_EQ(found.text.n_experts_used, wanted.text.n_experts_used);
  EXPECT_EQ(found.ids.image_pad, wanted.ids.image_pad);
  EXPECT_EQ(found.ids.video_pad, wanted.ids.video_pad);
  EXPECT_EQ(found.ids.vision_start, wanted.ids.vision_start);
  EXPECT_EQ(found.ids.vision_end, wanted.ids.vision_end);
  EXPECT_EQ(found.sampling.stop_ids, wanted.sampling.stop_ids);
  EXPECT_EQ(found.sampling.top_k, wanted.sampling.top_k);
  EXPECT_EQ(found.sampling.top_p, wanted.sampling.top_p);
  ASSERT_TRUE(found.vision.has_value());
  EXPECT_EQ(found.vision->n_positions, wanted.vision->n_positions);
  EXPECT_EQ(found.vision->deepstack_layers, wanted.vision->deepstack_layers);
  EXPECT_EQ(found.vision->head_dim(), wanted.vision->head_dim());
  EXPECT_EQ(found.preprocess.image_min_pixels, 65536u);  // the file has none: the published one
}

// The F16 file holds the BF16 weights rounded: at most half a step of F16 near 1, 2^-12, for values below 2.
TEST(GgufModel, VisionEqualsTheHuggingFaceFolderUpToF16) {
  const ModelFiles found = LoadModelFiles(DataPath("gguf/models/tiny-moe-bf16.gguf"));
  const ModelFiles wanted = LoadModelFiles(DataPath("models/tiny-moe"));
  const auto same = [](const Weight& f, const Weight& w) {
    ASSERT_EQ(f.rows, w.rows);
    ASSERT_EQ(f.cols, w.cols);
    ASSERT_EQ(f.format, hw::Format::kF16);
    ASSERT_EQ(w.format, hw::Format::kBF16);
    std::vector<float> ff(f.rows * f.cols), ww(ff.size());
    for (size_t i = 0; i < ff.size(); ++i) {
      uint16_t bits[2];
      std::memcpy(&bits[0], f.data + 2 * i, 2);
      std::memcpy(&bits[1], w.data + 2 * i, 2);
      ff[i] = hw::ToFloat(hw::F16{bits[0]});
      ww[i] = hw::ToFloat(hw::BF16{bits[1]});
    }
    EXPECT_TRUE(test::AllNear(ff, ww, w.cols, 0x1p-12));
  };
  same(found.vision.patch_embed, wanted.vision.patch_embed);
  ExpectSame(found.vision.patch_embed_b, wanted.vision.patch_embed_b);
  ExpectSame(found.vision.position_embed, wanted.vision.position_embed);
  same(found.vision.layers[2].qkv, wanted.vision.layers[2].qkv);
  same(found.vision.layers[2].fc2, wanted.vision.layers[2].fc2);
  ExpectSame(found.vision.merger.norm_w, wanted.vision.merger.norm_w);
  same(found.vision.merger.fc1, wanted.vision.merger.fc1);
  ASSERT_EQ(found.vision.deepstack.size(), 2u);
  same(found.vision.deepstack[1].fc2, wanted.vision.deepstack[1].fc2);
  ExpectSame(found.vision.deepstack[1].norm_b, wanted.vision.deepstack[1].norm_b);
}

TEST(GgufModel, AnyPartOfASplitModelMayBeNamed) {
  const std::string stem = DataPath("gguf/models/tiny-q-q4_1-split-0000");
  const ModelFiles first = LoadModelFiles(stem + "1-of-00002.gguf");
  const ModelFiles second = LoadModelFiles(stem + "2-of-00002.gguf");
  EXPECT_EQ(first.config.name, "Tiny Q");
  EXPECT_TRUE(first.config.text.tied_embeddings);
  EXPECT_EQ(first.config.sampling.stop_ids, (std::vector<int32_t>{360, 358}));
  ExpectSameText(first, second);
}

TEST(GgufModel, FusedQkvIsSplitIntoViews) {
  const ModelFiles m = LoadModelFiles(DataPath("gguf/models/tiny-q-q5_0-fused-qkv.gguf"));
  const TextLayerWeights& l = m.text.layers[0];
  EXPECT_EQ(l.q.rows, 512u);
  EXPECT_EQ(l.k.rows, 64u);
  EXPECT_EQ(l.v.rows, 64u);
  EXPECT_EQ(l.k.data, l.q.data + l.q.bytes());
  EXPECT_EQ(l.v.data, l.k.data + l.k.bytes());
}

TEST(GgufModel, KeepsTheTokenizer) {
  const TokenizerSource t =
      LoadModelFiles(DataPath("gguf/models/tiny-moe-bf16.gguf"), {.header_only = true}).tokenizer;
  EXPECT_EQ(t.tokens.size(), 1024u);
  EXPECT_EQ(t.token_types.size(), 1024u);
  EXPECT_EQ(t.merges.size(), 744u);
  EXPECT_EQ(t.tokens[1012], "<|image_pad|>");
  EXPECT_NE(t.chat_template.find("<|im_start|>"), std::string::npos);
}

TEST(GgufModel, VisionFileMayBeNamed) {
  const ModelFiles m = LoadModelFiles(DataPath("gguf/models/tiny-moe-bf16.gguf"),
                                      {.mmproj = DataPath("gguf/models/mmproj-tiny-moe-q8_0.gguf")});
  EXPECT_EQ(m.vision.layers[0].qkv.format, hw::Format::kQ8_0);
  EXPECT_EQ(m.vision.patch_embed.format, hw::Format::kF32);
  EXPECT_TRUE(m.warnings.empty()) << m.warnings[0];
}

TEST(GgufModel, AMissingVisionTensorIsBlamedOnTheVisionFile) {
  std::string bytes = test::ReadFile(DataPath("gguf/models/mmproj-tiny-moe-f16.gguf"));
  const std::string name = "v.post_ln.weight";
  const size_t at = bytes.find(name);
  ASSERT_NE(at, std::string::npos);
  bytes[at + name.size() - 1] = 'x';
  const test::TempDir folder;
  const std::string mmproj = folder.Write("cut-mmproj.gguf", bytes);
  EXPECT_ERROR(ErrorCode::kNotFound, mmproj + ": tensor \"v.post_ln.weight\" is missing",
               LoadModelFiles(DataPath("gguf/models/tiny-moe-bf16.gguf"), {.mmproj = mmproj}));
}

TEST(GgufModel, VisionFileOfAnotherModelIsRefused) {
  EXPECT_ERROR(ErrorCode::kCorruptFile, "do both belong to the same model?",
               LoadModelFiles(DataPath("gguf/models/tiny-b-bf16.gguf"),
                              {.mmproj = DataPath("gguf/models/mmproj-tiny-moe-f16.gguf")}));
}

TEST(GgufModel, VisionFileAloneIsRefused) {
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "name this one with --mmproj",
               LoadModelFiles(DataPath("gguf/models/mmproj-tiny-moe-f16.gguf")));
}

class MmprojSearch : public testing::Test {
 protected:
  std::string Copy(const std::string& from, const std::string& to) {
    return dir_.Write(to, test::ReadFile(DataPath("gguf/models/" + from)));
  }
  const test::TempDir dir_;
};

TEST_F(MmprojSearch, NoneBesideIsATextModel) {
  const ModelFiles m = LoadModelFiles(Copy("tiny-moe-bf16.gguf", "a.gguf"));
  EXPECT_FALSE(m.config.vision.has_value());
  EXPECT_TRUE(m.vision.layers.empty());
}

TEST_F(MmprojSearch, TheOnlyFittingOneIsTaken) {
  Copy("mmproj-tiny-moe-q8_0.gguf", "mmproj-F16.gguf");
  EXPECT_TRUE(LoadModelFiles(Copy("tiny-moe-bf16.gguf", "a.gguf")).config.vision.has_value());
}

TEST_F(MmprojSearch, AFolderWithOneTextModelStandsForIt) {
  Copy("mmproj-tiny-moe-q8_0.gguf", "a-mmproj.gguf");
  Copy("tiny-moe-bf16.gguf", "b.gguf");
  EXPECT_TRUE(LoadModelFiles(dir_.path().string()).config.vision.has_value());
  Copy("tiny-moe-bf16.gguf", "c.gguf");
  EXPECT_ERROR(ErrorCode::kNotFound, "like " + dir_.File("b.gguf"), LoadModelFiles(dir_.path().string()));
}

TEST_F(MmprojSearch, AFolderWithOneSplitModelStandsForIt) {
  Copy("tiny-q-q4_1-split-00001-of-00002.gguf", "m-00001-of-00002.gguf");
  Copy("tiny-q-q4_1-split-00002-of-00002.gguf", "m-00002-of-00002.gguf");
  EXPECT_EQ(LoadModelFiles(dir_.path().string()).config.name, "Tiny Q");
  Copy("tiny-moe-bf16.gguf", "m.gguf");
  EXPECT_ERROR(ErrorCode::kNotFound, "for GGUF name the file", LoadModelFiles(dir_.path().string()));
}

TEST_F(MmprojSearch, TheNearestNameWins) {
  Copy("mmproj-tiny-moe-f16.gguf", "mmproj-model-instruct-f16.gguf");
  Copy("mmproj-tiny-moe-q8_0.gguf", "mmproj-model-thinking-q8_0.gguf");
  const ModelFiles m = LoadModelFiles(Copy("tiny-moe-bf16.gguf", "model-thinking-bf16.gguf"));
  EXPECT_EQ(m.vision.layers[0].qkv.format, hw::Format::kQ8_0);
}

TEST_F(MmprojSearch, EquallyNearNamesAreAnError) {
  Copy("mmproj-tiny-moe-f16.gguf", "mmproj-x.gguf");
  Copy("mmproj-tiny-moe-q8_0.gguf", "mmproj-yy.gguf");
  Copy("mmproj-tiny-moe-q8_0.gguf", "mmproj-zz.gguf");
  const std::string model = Copy("tiny-moe-bf16.gguf", "model.gguf");
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "name one with --mmproj", LoadModelFiles(model));
  EXPECT_FALSE(TextCodec::Load(model).Encode("a").empty());  // which needs none
}

TEST_F(MmprojSearch, DamagedOneIsLeftOutWithAWarning) {
  dir_.Write("mmproj-a.gguf", "GGUF");
  const ModelFiles m = LoadModelFiles(Copy("tiny-moe-bf16.gguf", "a.gguf"));
  EXPECT_FALSE(m.config.vision.has_value());
  ASSERT_EQ(m.warnings.size(), 1u);
  EXPECT_NE(m.warnings[0].find("mmproj-a.gguf"), std::string::npos);
}

TEST_F(MmprojSearch, MissingPartIsNamed) {
  const std::string path = Copy("tiny-q-q4_1-split-00002-of-00002.gguf", "m-00002-of-00002.gguf");
  EXPECT_ERROR(ErrorCode::kNotFound, "m-00001-of-00002.gguf", LoadModelFiles(path));
}

TEST_F(MmprojSearch, PartWithoutNumberIsRefused) {
  const std::string path = Copy("tiny-q-q4_1-split-00001-of-00002.gguf", "m.gguf");
  EXPECT_ERROR(ErrorCode::kCorruptFile, "is one of 2 parts", LoadModelFiles(path));
}

TEST_F(MmprojSearch, SwappedPartsAreRefused) {
  const std::string path = Copy("tiny-q-q4_1-split-00002-of-00002.gguf", "m-00001-of-00002.gguf");
  Copy("tiny-q-q4_1-split-00001-of-00002.gguf", "m-00002-of-00002.gguf");
  EXPECT_ERROR(ErrorCode::kCorruptFile, "split.no is 1, want 0", LoadModelFiles(path));
}

}  // namespace
}  // namespace qwen3vl
