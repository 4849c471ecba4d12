// SPDX-License-Identifier: Apache-2.0
// The model's own numbers. Nothing has a default here that a published file would contradict: what is
// missing is an error, because the class defaults of transformers describe no published model.
#include "qwen3vl/hf_config.h"

#include <algorithm>
#include <filesystem>

#include "qwen3vl/error.h"
#include "qwen3vl/file_tensor.h"
#include "qwen3vl/hf_preprocess.h"
#include "qwen3vl/json_view.h"

namespace qwen3vl {
namespace {

[[noreturn]] void Unsupported(const JsonView& at, const std::string& found, const std::string& wanted) {
  throw Error(ErrorCode::kUnsupported, at.Where() + ": " + found + " is not supported, only " + wanted);
}

void RequireString(const JsonView& object, const std::string& key, const std::string& wanted) {
  const auto value = object.Find(key);
  if (value && value->String() != wanted) Unsupported(*value, "\"" + value->String() + "\"", wanted);
}

void RequireBool(const JsonView& object, const std::string& key, bool wanted) {
  const auto value = object.Find(key);
  if (value && value->Bool() != wanted)
    Unsupported(*value, wanted ? "false" : "true", wanted ? "true" : "false");
}

// rope_parameters (transformers 5) or rope_scaling (4.57), whichever is there.
void ReadRope(const JsonView& text, TextConfig& t) {
  std::optional<JsonView> rope = text.Find("rope_parameters");
  const bool has_parameters = rope.has_value();
  if (!rope) rope = text.Find("rope_scaling");
  const auto theta =
      has_parameters && rope->Has("rope_theta") ? rope->Find("rope_theta") : text.Find("rope_theta");
  t.rope_theta = theta ? theta->Number() : text.At("rope_theta").Number();
  if (!rope) return;
  for (const char* key : {"rope_type", "type"})
    if (const auto type = rope->Find(key); type && type->String() != "default" && type->String() != "mrope")
      Unsupported(*type, "\"" + type->String() + "\"", "\"default\"");
  RequireBool(*rope, "mrope_interleaved", true);
  if (const auto section = rope->Find("mrope_section")) {
    const std::vector<size_t> sizes = section->Sizes();
    if (sizes.size() != 3) section->Fail("three numbers");
    std::copy(sizes.begin(), sizes.end(), t.mrope_section.begin());
  }
}

void ReadExperts(const JsonView& text, TextConfig& t) {
  const auto n_experts = text.Find("num_experts");
  if (!n_experts) return;
  t.n_experts = n_experts->Size();
  if (t.n_experts == 0) return;
  t.n_experts_used = text.At("num_experts_per_tok").Size();
  t.expert_ffn_dim = text.At("moe_intermediate_size").Size();
  RequireBool(text, "norm_topk_prob", true);
  if (const auto step = text.Find("decoder_sparse_step"); step && step->Size() != 1)
    Unsupported(*step, std::to_string(step->Size()), "1");
  if (const auto layers = text.Find("mlp_only_layers"); layers && !layers->Items().empty())
    Unsupported(*layers, "a list of dense layers", "an empty list");
}

TextConfig ReadText(const JsonView& text) {
  TextConfig t;
  t.dim = text.At("hidden_size").Size();
  t.n_layers = text.At("num_hidden_layers").Size();
  t.n_heads = text.At("num_attention_heads").Size();
  t.n_kv_heads = text.At("num_key_value_heads").Size();
  t.head_dim = text.At("head_dim").Size();
  t.vocab_size = text.At("vocab_size").Size();
  t.max_seq_len = text.At("max_position_embeddings").Size();
  t.norm_eps = static_cast<float>(text.At("rms_norm_eps").Number());
  RequireString(text, "hidden_act", "silu");
  RequireBool(text, "attention_bias", false);
  RequireBool(text, "use_sliding_window", false);
  ReadRope(text, t);
  ReadExperts(text, t);
  if (t.n_experts == 0 || text.Has("intermediate_size")) t.ffn_dim = text.At("intermediate_size").Size();
  return t;
}

VisionConfig ReadVision(const JsonView& vision) {
  VisionConfig v;
  v.dim = vision.At("hidden_size").Size();
  v.n_layers = vision.At("depth").Size();
  v.n_heads = vision.At("num_heads").Size();
  v.ffn_dim = vision.At("intermediate_size").Size();
  v.out_dim = vision.At("out_hidden_size").Size();
  v.patch_size = vision.At("patch_size").Size();
  v.temporal_patch_size = vision.At("temporal_patch_size").Size();
  v.merge_size = vision.At("spatial_merge_size").Size();
  v.n_positions = vision.At("num_position_embeddings").Size();
  v.deepstack_layers = vision.At("deepstack_visual_indexes").Sizes();
  RequireString(vision, "hidden_act", "gelu_pytorch_tanh");
  if (const auto channels = vision.Find("in_channels"); channels && channels->Size() != 3)
    Unsupported(*channels, std::to_string(channels->Size()), "3");
  return v;
}

void RequireModelType(const JsonView& root) {
  const JsonView type = root.At("model_type");
  const std::string name = type.String();
  for (const char* known : {"qwen3_vl", "qwen3_vl_moe", "qwen3_vl_text", "qwen3_vl_moe_text"})
    if (name == known) return;
  Unsupported(type, Quoted(name), "qwen3_vl and qwen3_vl_moe");
}

bool SaysUntied(const JsonView& root, const JsonView& text) {
  bool some_false = false;
  for (const JsonView& object : {root, text})
    if (const auto tie = object.Find("tie_word_embeddings")) {
      if (tie->Bool()) return false;
      some_false = true;
    }
  return some_false;
}

std::vector<int32_t> StopIds(const JsonView& eos) {
  std::vector<int32_t> ids;
  if (!eos.is_array()) return {eos.Id()};
  for (const JsonView& id : eos.Items()) ids.push_back(id.Id());
  return ids;
}

// What a file leaves out has the value of transformers' GenerationConfig: greedy decoding without do_sample.
void ReadSampling(const JsonView& file, SamplingDefaults& s) {
  s.temperature = 1;
  s.top_p = 1;
  s.top_k = 50;
  const auto do_sample = file.Find("do_sample");
  s.do_sample = do_sample && do_sample->Bool();
  if (const auto v = file.Find("temperature")) s.temperature = static_cast<float>(v->Number());
  if (const auto v = file.Find("top_p")) s.top_p = static_cast<float>(v->Number());
  if (const auto v = file.Find("top_k")) s.top_k = v->Size();
  if (const auto v = file.Find("min_p")) s.min_p = static_cast<float>(v->Number());
  if (const auto v = file.Find("repetition_penalty")) s.repetition_penalty = static_cast<float>(v->Number());
  if (const auto v = file.Find("eos_token_id")) s.stop_ids = StopIds(*v);
}

std::string FolderName(const std::string& folder) {
  std::error_code ignored;
  const auto path = std::filesystem::weakly_canonical(folder, ignored);
  return path.has_filename() ? path.filename().string() : path.parent_path().filename().string();
}

}  // namespace

HfConfig ReadHfConfig(const std::string& folder) {
  const std::string path = folder + "/config.json";
  const nlohmann::json document = ReadJsonFile(path);
  const JsonView root(document, path);
  RequireModelType(root);
  const JsonView text = root.Has("text_config") ? root.At("text_config") : root;

  HfConfig out;
  ModelConfig& c = out.config;
  c.name = FolderName(folder);
  c.text = ReadText(text);
  out.says_untied = SaysUntied(root, text);
  if (const auto vision = root.Find("vision_config")) {
    c.vision = ReadVision(*vision);
    c.ids.image_pad = root.At("image_token_id").Id();
    c.ids.video_pad = root.At("video_token_id").Id();
    c.ids.vision_start = root.At("vision_start_token_id").Id();
    c.ids.vision_end = root.At("vision_end_token_id").Id();
    c.preprocess = ReadHfPreprocess(folder, *c.vision, out.warnings);
  }
  for (const JsonView& object : {root, text})
    if (const auto eos = object.Find("eos_token_id")) c.sampling.stop_ids = StopIds(*eos);
  const std::string generation = folder + "/generation_config.json";
  if (std::filesystem::exists(generation)) {
    const nlohmann::json json = ReadJsonFile(generation);
    ReadSampling(JsonView(json, generation), c.sampling);
  }
  return out;
}

}  // namespace qwen3vl
