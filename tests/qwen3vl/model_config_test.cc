// SPDX-License-Identifier: Apache-2.0
// Config files of a Hugging Face folder: the forms that different versions write, and what is refused. Every
// case changes one thing of a recorded model.
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <limits>

#include "qwen3vl/model.h"
#include "qwen3vl/qwen3vl.h"
#include "qwen3vl/weights.h"
#include "support/expect_error.h"
#include "support/golden.h"
#include "support/temp_dir.h"

namespace qwen3vl {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Edit = std::function<void(json&)>;

class HfConfigTest : public testing::Test {
 protected:
  HfConfigTest() {
    for (const auto& entry : fs::directory_iterator(test::DataPath("models/tiny-b"))) {
      const std::string name = entry.path().filename().string();
      if (name.ends_with(".json")) dir_.Write(name, test::ReadFile(entry.path()));
    }
    fs::create_symlink(fs::canonical(test::DataPath("models/tiny-b/model.safetensors")),
                       dir_.File("model.safetensors"));
  }

  void Change(const std::string& file, const Edit& edit) {
    json document = json::parse(test::ReadFile(dir_.File(file)));
    edit(document);
    Replace(file, document.dump());
  }
  void Replace(const std::string& file, const std::string& text) {
    fs::remove(dir_.File(file));
    dir_.Write(file, text);
  }
  ModelFiles Header() const { return LoadModelFiles(dir_.path().string(), {.header_only = true}); }
  // config.json with `edit` gives an error of that code with that text.
  void ExpectBadConfig(ErrorCode code, const std::string& text, const Edit& edit) {
    const std::string before = test::ReadFile(dir_.File("config.json"));
    Change("config.json", edit);
    EXPECT_ERROR(code, text, Header());
    Replace("config.json", before);
  }

  const test::TempDir dir_;
};

TEST_F(HfConfigTest, ReadsWhatTransformers5Writes) {
  Change("config.json", [](json& c) {
    json& t = c["text_config"];
    t["rope_parameters"] = t["rope_scaling"];
    t["rope_parameters"]["rope_theta"] = 1e6;
    t["rope_parameters"]["mrope_section"] = {32, 16, 16};
    t.erase("rope_scaling");
    t.erase("rope_theta");
    t.erase("tie_word_embeddings");
    c.erase("tie_word_embeddings");
  });
  for (const char* old : {"preprocessor_config.json", "video_preprocessor_config.json"})
    fs::remove(dir_.File(old));
  dir_.Write("processor_config.json",
             R"({"video_processor": {"size": {"longest_edge": 999999, "shortest_edge": 5000}, "fps": 4},
                 "image_processor": {"size": {"longest_edge": 777777, "shortest_edge": 6000}}})");
  const ModelConfig c = Header().config;
  EXPECT_EQ(c.text.rope_theta, 1e6);
  EXPECT_EQ(c.text.mrope_section, (std::array<size_t, 3>{32, 16, 16}));
  EXPECT_FALSE(c.text.tied_embeddings);
  EXPECT_EQ(c.preprocess.image_min_pixels, 6000u);
  EXPECT_EQ(c.preprocess.image_max_pixels, 777777u);
  EXPECT_EQ(c.preprocess.video_min_pixels, 5000u);
  EXPECT_EQ(c.preprocess.video_max_pixels, 999999u);
  EXPECT_EQ(c.preprocess.video_fps, 4);
}

TEST_F(HfConfigTest, MinAndMaxPixelsOverrideSize) {
  Change("preprocessor_config.json", [](json& c) {
    c["min_pixels"] = 1024;
    c["max_pixels"] = 8192;
  });
  const PreprocessConfig p = Header().config.preprocess;
  EXPECT_EQ(p.image_min_pixels, 1024u);
  EXPECT_EQ(p.image_max_pixels, 8192u);
}

TEST_F(HfConfigTest, MostFilesMayBeMissing) {
  for (const char* name :
       {"preprocessor_config.json", "video_preprocessor_config.json", "generation_config.json"})
    fs::remove(dir_.File(name));
  Change("config.json", [](json& c) { c["text_config"]["rope_scaling"].erase("mrope_section"); });
  const ModelFiles m = Header();
  EXPECT_EQ(m.config.preprocess.image_max_pixels, 16777216u);
  EXPECT_EQ(m.config.text.mrope_section, (std::array<size_t, 3>{24, 20, 20}));
  EXPECT_EQ(m.config.sampling.stop_ids, (std::vector<int32_t>{1002}));
  EXPECT_TRUE(m.tokenizer.folder.empty());
  ASSERT_EQ(m.warnings.size(), 1u);
}

TEST_F(HfConfigTest, OneEndTokenMayStandAlone) {
  Change("generation_config.json", [](json& c) { c["eos_token_id"] = 5; });
  EXPECT_EQ(Header().config.sampling.stop_ids, (std::vector<int32_t>{5}));
}

TEST_F(HfConfigTest, WithoutAnEndTokenTheUsualOnesEndAnAnswer) {
  Change("config.json", [](json& c) {
    c.erase("eos_token_id");
    c["text_config"].erase("eos_token_id");
  });
  Change("generation_config.json", [](json& c) { c.erase("eos_token_id"); });
  dir_.Write("tokenizer.json", R"({"model": {"vocab": {"a": 0}}, "added_tokens": [
      {"id": 7, "content": "<|endoftext|>"}, {"id": 5, "content": "<|im_end|>"}]})");
  std::vector<std::string> warnings;
  const Model model = Model::Load(
      dir_.path().string(), {.log = [&](LogLevel, std::string_view line) { warnings.emplace_back(line); }});
  EXPECT_EQ(model.impl()->files.config.sampling.stop_ids, (std::vector<int32_t>{5, 7}));
  EXPECT_THAT(warnings, testing::Contains(testing::HasSubstr("no eos_token_id")).Times(1));
}

TEST_F(HfConfigTest, ReportsNumbersInTheirFewestDigits) {
  const FileReport report = InspectModel(dir_.path().string());
  EXPECT_THAT(report.config, testing::Contains(testing::Pair("rope theta", "5000000")));
}

TEST_F(HfConfigTest, SamplesOnlyWhereTheFileSaysSo) {
  EXPECT_TRUE(Header().config.sampling.do_sample);
  Change("generation_config.json", [](json& c) {
    c.erase("do_sample");
    c["min_p"] = 0.25;
  });
  EXPECT_FALSE(Header().config.sampling.do_sample);
  EXPECT_EQ(Header().config.sampling.min_p, 0.25f);
}

// GenerationConfig of transformers 4.57: temperature 1, top_p 1, top_k 50.
TEST_F(HfConfigTest, SamplesAsTheReferenceWhereTheFileIsSilent) {
  Change("generation_config.json", [](json& c) {
    for (const char* key : {"temperature", "top_p", "top_k"}) c.erase(key);
  });
  const SamplingDefaults silent = Header().config.sampling;
  EXPECT_TRUE(silent.do_sample);
  EXPECT_EQ(silent.temperature, 1.0f);
  EXPECT_EQ(silent.top_p, 1.0f);
  EXPECT_EQ(silent.top_k, 50u);
  fs::remove(dir_.File("generation_config.json"));
  const SamplingDefaults published = Header().config.sampling;
  EXPECT_EQ(published.temperature, 0.7f);
  EXPECT_EQ(published.top_p, 0.8f);
  EXPECT_EQ(published.top_k, 20u);
}

TEST_F(HfConfigTest, FindsTheChatTemplateInEveryPlace) {
  dir_.Write(
      "tokenizer_config.json",
      R"({"chat_template": [{"name": "tool", "template": "no"}, {"name": "default", "template": "third"}]})");
  EXPECT_EQ(Header().tokenizer.chat_template, "third");
  dir_.Write("chat_template.json", R"({"chat_template": "second"})");
  EXPECT_EQ(Header().tokenizer.chat_template, "second");
  dir_.Write("chat_template.jinja", "first");
  EXPECT_EQ(Header().tokenizer.chat_template, "first");
}

TEST_F(HfConfigTest, FindsTheTokenizer) {
  dir_.Write("vocab.json", "{}");
  EXPECT_TRUE(Header().tokenizer.folder.empty());
  dir_.Write("merges.txt", "");
  EXPECT_EQ(Header().tokenizer.folder, dir_.path().string());
}

TEST_F(HfConfigTest, ATextModelNeedsNoVision) {
  Change("config.json", [](json& c) { c.erase("vision_config"); });
  const ModelFiles m = LoadModelFiles(dir_.path().string());
  EXPECT_FALSE(m.config.vision.has_value());
  ASSERT_EQ(m.warnings.size(), 1u);
  EXPECT_NE(m.warnings[0].find("tensors are not used"), std::string::npos);
}

TEST_F(HfConfigTest, WrongTypesAreNamed) {
  const auto corrupt = ErrorCode::kCorruptFile;
  ExpectBadConfig(corrupt, "text_config.hidden_size: found \"wide\", want a whole number",
                  [](json& c) { c["text_config"]["hidden_size"] = "wide"; });
  ExpectBadConfig(corrupt, "text_config.num_hidden_layers: found -2",
                  [](json& c) { c["text_config"]["num_hidden_layers"] = -2; });
  ExpectBadConfig(corrupt, "text_config.head_dim: found 12.5",
                  [](json& c) { c["text_config"]["head_dim"] = 12.5; });
  ExpectBadConfig(corrupt, "text_config: found an array, want an object",
                  [](json& c) { c["text_config"] = json::array(); });
  ExpectBadConfig(corrupt, "key \"num_key_value_heads\" is missing",
                  [](json& c) { c["text_config"].erase("num_key_value_heads"); });
  ExpectBadConfig(corrupt, "key \"rope_theta\" is missing",
                  [](json& c) { c["text_config"].erase("rope_theta"); });
  ExpectBadConfig(corrupt, "deepstack_visual_indexes[1]: found true", [](json& c) {
    c["vision_config"]["deepstack_visual_indexes"] = {0, true};
  });
  ExpectBadConfig(corrupt, "image_token_id: found 4294967296, want a token id",
                  [](json& c) { c["image_token_id"] = 4294967296; });
  ExpectBadConfig(corrupt, "mrope_section: found an array, want three numbers",
                  [](json& c) { c["text_config"]["rope_scaling"]["mrope_section"] = {64}; });
}

TEST_F(HfConfigTest, ContradictionsAreNamed) {
  const auto corrupt = ErrorCode::kCorruptFile;
  ExpectBadConfig(corrupt, "num_attention_heads is 30, want a multiple of num_key_value_heads 8",
                  [](json& c) { c["text_config"]["num_attention_heads"] = 30; });
  ExpectBadConfig(corrupt, "the sum of mrope_section is 62, want half of head_dim, 64", [](json& c) {
    c["text_config"]["rope_scaling"]["mrope_section"] = {22, 20, 20};
  });
  ExpectBadConfig(corrupt,
                  "out_hidden_size of the vision tower is 100, want hidden_size of the text model, 96",
                  [](json& c) { c["vision_config"]["out_hidden_size"] = 100; });
  ExpectBadConfig(corrupt, "num_position_embeddings is 2305, want a square number",
                  [](json& c) { c["vision_config"]["num_position_embeddings"] = 2305; });
  ExpectBadConfig(corrupt, "a deepstack index is 3, want one below depth 3", [](json& c) {
    c["vision_config"]["deepstack_visual_indexes"] = {0, 3};
  });
  ExpectBadConfig(corrupt, "a deepstack index is 0, want one above", [](json& c) {
    c["vision_config"]["deepstack_visual_indexes"] = {1, 0};
  });
  ExpectBadConfig(corrupt, "the number of deepstack indexes is 3", [](json& c) {
    c["vision_config"]["deepstack_visual_indexes"] = {0, 1, 2};
  });
  ExpectBadConfig(corrupt, "hidden_size is 144, want a multiple of num_heads 7",
                  [](json& c) { c["vision_config"]["num_heads"] = 7; });
  ExpectBadConfig(corrupt, "hidden_size is 0", [](json& c) { c["text_config"]["hidden_size"] = 0; });
  ExpectBadConfig(corrupt, "vocab_size is 18446744073709551615",
                  [](json& c) { c["text_config"]["vocab_size"] = std::numeric_limits<uint64_t>::max(); });
  ExpectBadConfig(corrupt, "image_token_id is 1024, want an id below vocab_size 1024",
                  [](json& c) { c["image_token_id"] = 1024; });
}

TEST_F(HfConfigTest, ShapesThatContradictTheConfigAreNamed) {
  Change("config.json", [](json& c) { c["text_config"]["intermediate_size"] = 300; });
  EXPECT_ERROR(ErrorCode::kCorruptFile, "mlp.gate_proj.weight\" has shape [256, 96], want [300, 96]",
               LoadModelFiles(dir_.path().string()));
}

TEST_F(HfConfigTest, OtherArchitecturesAreRefused) {
  const auto unsupported = ErrorCode::kUnsupported;
  ExpectBadConfig(unsupported, "model_type: \"qwen2_vl\" is not supported",
                  [](json& c) { c["model_type"] = "qwen2_vl"; });
  ExpectBadConfig(unsupported, "hidden_act: \"gelu\" is not supported, only silu",
                  [](json& c) { c["text_config"]["hidden_act"] = "gelu"; });
  ExpectBadConfig(unsupported, "attention_bias: true is not supported",
                  [](json& c) { c["text_config"]["attention_bias"] = true; });
  ExpectBadConfig(unsupported, "rope_type: \"yarn\" is not supported",
                  [](json& c) { c["text_config"]["rope_scaling"]["rope_type"] = "yarn"; });
  ExpectBadConfig(unsupported, "mrope_interleaved: false is not supported",
                  [](json& c) { c["text_config"]["rope_scaling"]["mrope_interleaved"] = false; });
  ExpectBadConfig(unsupported, "in_channels: 1 is not supported",
                  [](json& c) { c["vision_config"]["in_channels"] = 1; });
}

TEST_F(HfConfigTest, TokensThatMarkPicturesMustDiffer) {
  const auto corrupt = ErrorCode::kCorruptFile;
  ExpectBadConfig(corrupt, "video_token_id is ", [](json& c) { c["video_token_id"] = c["image_token_id"]; });
  ExpectBadConfig(corrupt, "want another id than image_token_id",
                  [](json& c) { c["vision_end_token_id"] = c["image_token_id"]; });
}

TEST_F(HfConfigTest, NumbersTooLargeForAnyMachineAreRefused) {
  const auto corrupt = ErrorCode::kCorruptFile;
  ExpectBadConfig(corrupt, "num_hidden_layers is 4000, want 1 to 1024",
                  [](json& c) { c["text_config"]["num_hidden_layers"] = 4000; });
  ExpectBadConfig(corrupt, "num_attention_heads * head_dim is 16777216, want 1 to 1048576", [](json& c) {
    json& t = c["text_config"];
    t["num_attention_heads"] = t["num_key_value_heads"] = t["head_dim"] = 4096;
  });
}

TEST_F(HfConfigTest, ImpossibleBoundsAreBlamedOnTheirOwnFile) {
  Change("preprocessor_config.json", [](json& c) { c["image_std"] = {0, 1, 1}; });
  EXPECT_ERROR(ErrorCode::kCorruptFile, "/preprocessor_config.json: image_std is 0", Header());
  Change("preprocessor_config.json", [](json& c) { c["image_std"] = {1, 1, 1}; });
  Change("video_preprocessor_config.json", [](json& c) { c["fps"] = 0; });
  EXPECT_ERROR(ErrorCode::kCorruptFile, "video_preprocessor_config.json: video fps is 0", Header());
}

TEST_F(HfConfigTest, PreprocessorMustFitTheTower) {
  Change("preprocessor_config.json", [](json& c) { c["patch_size"] = 14; });
  EXPECT_ERROR(ErrorCode::kCorruptFile, "patch_size: found 14, want 16", Header());
}

TEST_F(HfConfigTest, BrokenJsonIsNamed) {
  Replace("config.json", "{\"a\": 1");
  EXPECT_ERROR(ErrorCode::kCorruptFile, "config.json: not valid JSON at byte", Header());
  Replace("config.json", "{\"a\": 1, \"a\": 2}");
  EXPECT_ERROR(ErrorCode::kCorruptFile, "key \"a\" occurs twice", Header());
  fs::remove(dir_.File("config.json"));
  EXPECT_ERROR(ErrorCode::kNotFound, "no config.json", Header());
}

}  // namespace
}  // namespace qwen3vl
