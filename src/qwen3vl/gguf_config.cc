// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/gguf_config.h"

#include <algorithm>
#include <filesystem>
#include <limits>

#include "qwen3vl/chat_prompt.h"
#include "qwen3vl/error.h"

namespace qwen3vl {
namespace {

std::string TextArchitecture(const GgufFile& file) {
  const std::string arch = file.String("general.architecture");
  if (arch == "qwen3vl" || arch == "qwen3vlmoe") return arch;
  if (arch == "clip")
    throw Error(ErrorCode::kInvalidArgument,
                file.path() + ": is a vision file, want the text model here: name this one with --mmproj");
  throw Error(ErrorCode::kUnsupported,
              file.path() + ": general.architecture is " + Quoted(arch) + ", want qwen3vl or qwen3vlmoe");
}

std::array<size_t, 3> MropeSection(const GgufFile& file, const std::string& key) {
  TextConfig defaults;
  if (!file.Has(key)) return defaults.mrope_section;
  const std::vector<int64_t> found = file.Ints(key);
  const bool usable = found.size() >= 3 && found.size() <= 4 && (found.size() == 3 || found[3] == 0) &&
                      std::all_of(found.begin(), found.end(), [](int64_t v) { return v >= 0; });
  if (!usable)
    throw Error(ErrorCode::kCorruptFile, file.path() + ": key " + Quoted(key) + " has " +
                                             std::to_string(found.size()) +
                                             " numbers, want three, none negative, and a fourth of 0");
  return {static_cast<size_t>(found[0]), static_cast<size_t>(found[1]), static_cast<size_t>(found[2])};
}

void ReadSampling(const GgufFile& file, SamplingDefaults& s) {
  const std::string prefix = "general.sampling.", chat = "tokenizer.chat_template";
  if (file.Has(chat) && DetectChatTemplate(file.String(chat)) == ChatTemplate::kQwen3VlThinking) {
    s.temperature = 1.0f;  // what the model cards give; older files do not carry it
    s.top_p = 0.95f;
  }
  if (file.Has(prefix + "temp")) s.temperature = static_cast<float>(file.Number(prefix + "temp"));
  if (file.Has(prefix + "top_p")) s.top_p = static_cast<float>(file.Number(prefix + "top_p"));
  if (file.Has(prefix + "top_k")) s.top_k = file.Size(prefix + "top_k");
  if (file.Has(prefix + "min_p")) s.min_p = static_cast<float>(file.Number(prefix + "min_p"));
  if (file.Has(prefix + "penalty_repeat"))
    s.repetition_penalty = static_cast<float>(file.Number(prefix + "penalty_repeat"));
  s.do_sample = s.temperature > 0;
}

size_t CountTrue(const std::vector<bool>& flags) {
  return static_cast<size_t>(std::count(flags.begin(), flags.end(), true));
}

std::string ProjectorType(const GgufFile& file) {
  for (const char* key : {"clip.projector_type", "clip.vision.projector_type"})
    if (file.Has(key)) return file.String(key);
  return "";
}

void ReadTriple(const GgufFile& file, const std::string& key, std::array<float, 3>& out,
                std::vector<std::string>& warnings) {
  if (!file.Has(key)) return;
  const std::vector<double> found = file.Numbers(key);
  if (found.size() != out.size())
    throw Error(ErrorCode::kCorruptFile, file.path() + ": key " + Quoted(key) + " has " +
                                             std::to_string(found.size()) + " numbers, want three");
  for (size_t c = 0; c < out.size(); ++c) out[c] = static_cast<float>(found[c]);
  if (std::any_of(found.begin(), found.end(), [](double v) { return v != 0.5; }))
    warnings.push_back(file.path() + ": " + key + " is " + std::to_string(found[0]) +
                       " and not 0.5, so the file was probably converted without preprocessor_config.json "
                       "and answers may be poor");
}

}  // namespace

ModelConfig ReadGgufTextConfig(const GgufFile& file) {
  const std::string prefix = TextArchitecture(file) + ".";
  const auto size = [&](const char* key) { return file.Size(prefix + key); };
  ModelConfig c;
  c.name = file.Has("general.name") ? file.String("general.name")
                                    : std::filesystem::path(file.path()).stem().string();
  TextConfig& t = c.text;
  t.dim = size("embedding_length");
  t.n_layers = size("block_count");
  t.n_heads = size("attention.head_count");
  t.n_kv_heads = size("attention.head_count_kv");
  t.head_dim = size("attention.key_length");
  t.max_seq_len = size("context_length");
  t.norm_eps = static_cast<float>(file.Number(prefix + "attention.layer_norm_rms_epsilon"));
  t.rope_theta = file.Number(prefix + "rope.freq_base");
  t.mrope_section = MropeSection(file, prefix + "rope.dimension_sections");
  if (prefix == "qwen3vlmoe.") {
    t.n_experts = size("expert_count");
    t.n_experts_used = size("expert_used_count");
    t.expert_ffn_dim = size("expert_feed_forward_length");
    if (t.n_experts == 0)
      throw Error(ErrorCode::kCorruptFile, file.path() + ": key \"qwen3vlmoe.expert_count\" is 0, want more");
  }
  if (t.n_experts == 0 || file.Has(prefix + "feed_forward_length")) t.ffn_dim = size("feed_forward_length");
  const std::string value_length = prefix + "attention.value_length";
  if (file.Has(value_length) && file.Size(value_length) != t.head_dim)
    throw Error(ErrorCode::kCorruptFile, file.path() + ": key " + Quoted(value_length) + " is " +
                                             std::to_string(file.Size(value_length)) + ", want " +
                                             std::to_string(t.head_dim) + " like key_length");
  ReadSampling(file, c.sampling);
  return c;
}

std::optional<size_t> DeclaredDeepstack(const GgufFile& text) {
  const std::string key = TextArchitecture(text) + ".n_deepstack_layers";
  if (!text.Has(key)) return std::nullopt;
  return text.Size(key);
}

bool VisionFits(const GgufFile& mmproj, const GgufFile& text) {
  const char* kDeepstack = "clip.vision.is_deepstack_layers";
  if (ProjectorType(mmproj) != "qwen3vl_merger" || !mmproj.Has("clip.vision.projection_dim")) return false;
  if (mmproj.Size("clip.vision.projection_dim") != text.Size(TextArchitecture(text) + ".embedding_length"))
    return false;
  const auto declared = DeclaredDeepstack(text);
  return !declared || !mmproj.Has(kDeepstack) || CountTrue(mmproj.Bools(kDeepstack)) == *declared;
}

void ReadGgufVisionConfig(const GgufFile& file, ModelConfig& config, std::vector<std::string>& warnings) {
  if (const std::string type = ProjectorType(file); type != "qwen3vl_merger")
    throw Error(ErrorCode::kUnsupported, file.path() + ": clip.projector_type is " + Quoted(type) +
                                             ", want qwen3vl_merger: is this the mmproj file of a Qwen3-VL?");
  const std::string prefix = "clip.vision.";
  const auto size_or = [&](const char* key, size_t otherwise) {
    return file.Has(prefix + key) ? file.Size(prefix + key) : otherwise;
  };
  VisionConfig v;
  v.dim = file.Size(prefix + "embedding_length");
  v.n_layers = file.Size(prefix + "block_count");
  v.n_heads = file.Size(prefix + "attention.head_count");
  v.ffn_dim = file.Size(prefix + "feed_forward_length");
  v.out_dim = file.Size(prefix + "projection_dim");
  v.patch_size = file.Size(prefix + "patch_size");
  v.temporal_patch_size = size_or("temporal_patch_size", v.temporal_patch_size);
  v.merge_size = size_or("spatial_merge_size", v.merge_size);
  if (const FileTensor* positions = file.Find("v.position_embd.weight")) v.n_positions = positions->shape[0];
  const std::vector<bool> deepstack = file.Bools(prefix + "is_deepstack_layers");
  for (size_t i = 0; i < deepstack.size(); ++i)
    if (deepstack[i]) v.deepstack_layers.push_back(i);
  PreprocessConfig& p = config.preprocess;
  p.image_min_pixels = size_or("image_min_pixels", p.image_min_pixels);
  p.image_max_pixels = size_or("image_max_pixels", p.image_max_pixels);
  ReadTriple(file, prefix + "image_mean", p.mean, warnings);
  ReadTriple(file, prefix + "image_std", p.std, warnings);
  config.vision = std::move(v);
}

TokenizerSource ReadGgufTokenizer(const GgufFile& file, std::vector<std::string>& warnings) {
  const std::string prefix = "tokenizer.ggml.";
  TokenizerSource source;
  if (file.Has("tokenizer.chat_template")) source.chat_template = file.String("tokenizer.chat_template");
  if (!file.Has(prefix + "tokens")) return source;
  if (const std::string model = file.String(prefix + "model"); model != "gpt2")
    throw Error(ErrorCode::kUnsupported,
                file.path() + ": tokenizer.ggml.model is " + Quoted(model) + ", want gpt2");
  if (const std::string pre = file.Has(prefix + "pre") ? file.String(prefix + "pre") : ""; pre != "qwen2")
    warnings.push_back(file.path() + ": tokenizer.ggml.pre is " + Quoted(pre) +
                       ", texts are split as by qwen2");
  source.file = file.path();
  source.tokens = file.Strings(prefix + "tokens");
  source.merges = file.Strings(prefix + "merges");
  for (const int64_t type : file.Ints(prefix + "token_type")) {
    if (type < 0 || type > std::numeric_limits<int32_t>::max())
      throw Error(ErrorCode::kCorruptFile, file.path() + ": tokenizer.ggml.token_type holds " +
                                               std::to_string(type) + ", want 1 to 6");
    source.token_types.push_back(static_cast<int32_t>(type));
  }
  if (source.token_types.size() != source.tokens.size())
    throw Error(ErrorCode::kCorruptFile, file.path() + ": tokenizer.ggml.token_type has " +
                                             std::to_string(source.token_types.size()) + " entries, want " +
                                             std::to_string(source.tokens.size()) + " like tokens");
  return source;
}

void FindSpecialIds(const GgufFile& file, const TokenizerSource& tokenizer, ModelConfig& config) {
  if (tokenizer.tokens.size() > config.text.vocab_size)
    throw Error(ErrorCode::kCorruptFile,
                file.path() + ": tokenizer.ggml.tokens has " + std::to_string(tokenizer.tokens.size()) +
                    " entries, want at most " + std::to_string(config.text.vocab_size) +
                    " like token_embd.weight");
  int32_t im_start = -1, im_end = -1, end_of_text = -1;
  const std::pair<std::string_view, int32_t*> wanted[] = {{"<|image_pad|>", &config.ids.image_pad},
                                                          {"<|video_pad|>", &config.ids.video_pad},
                                                          {"<|vision_start|>", &config.ids.vision_start},
                                                          {"<|vision_end|>", &config.ids.vision_end},
                                                          {"<|im_start|>", &im_start},
                                                          {"<|im_end|>", &im_end},
                                                          {"<|endoftext|>", &end_of_text}};
  for (size_t i = 0; i < tokenizer.tokens.size(); ++i)
    for (const auto& [text, id] : wanted)
      if (*id < 0 && tokenizer.tokens[i] == text) *id = static_cast<int32_t>(i);
  for (const auto& [text, id] : wanted)
    if (!tokenizer.tokens.empty() && *id < 0 && id != &end_of_text)
      throw Error(ErrorCode::kCorruptFile, file.path() + ": tokenizer.ggml.tokens has no " +
                                               std::string(text) +
                                               ", which prompts are made with: convert the model again");
  const char* kEos = "tokenizer.ggml.eos_token_id";
  std::vector<int32_t>& stops = config.sampling.stop_ids;
  if (file.Has(kEos)) {
    const size_t eos = file.Size(kEos);
    if (eos >= config.text.vocab_size)
      throw Error(ErrorCode::kCorruptFile, file.path() + ": " + kEos + " is " + std::to_string(eos) +
                                               ", want an id below " +
                                               std::to_string(config.text.vocab_size));
    stops.push_back(static_cast<int32_t>(eos));
  }
  for (const int32_t id : {im_end, end_of_text})
    if (id >= 0 && std::find(stops.begin(), stops.end(), id) == stops.end()) stops.push_back(id);
}

}  // namespace qwen3vl
