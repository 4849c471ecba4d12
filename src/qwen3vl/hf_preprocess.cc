// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/hf_preprocess.h"

#include <filesystem>
#include <optional>

#include "qwen3vl/json_view.h"

namespace qwen3vl {
namespace {

// The bounds are numbers of pixels, although the newer keys call them edges.
void ReadBounds(const JsonView& section, size_t& min_pixels, size_t& max_pixels) {
  if (const auto size = section.Find("size")) {
    if (const auto v = size->Find("shortest_edge")) min_pixels = v->Size();
    if (const auto v = size->Find("longest_edge")) max_pixels = v->Size();
  }
  if (const auto v = section.Find("min_pixels")) min_pixels = v->Size();
  if (const auto v = section.Find("max_pixels")) max_pixels = v->Size();
}

void ReadTriple(const JsonView& section, const std::string& key, std::array<float, 3>& out) {
  const auto found = section.Find(key);
  if (!found) return;
  const std::vector<JsonView> items = found->Items();
  if (items.size() != out.size()) found->Fail("three numbers");
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(items[i].Number());
}

void RequireSame(const JsonView& section, const std::string& key, size_t wanted) {
  if (const auto v = section.Find(key); v && v->Size() != wanted)
    v->Fail(std::to_string(wanted) + " as in vision_config of config.json");
}

void CheckCommon(const JsonView& section, const VisionConfig& vision, std::vector<std::string>& warnings) {
  RequireSame(section, "patch_size", vision.patch_size);
  RequireSame(section, "temporal_patch_size", vision.temporal_patch_size);
  RequireSame(section, "merge_size", vision.merge_size);
  if (const auto v = section.Find("resample"); v && v->Size() != 3)
    warnings.push_back(v->Where() + ": " + std::to_string(v->Size()) +
                       " is ignored, pictures are resized bicubic");
}

void ReadImage(const JsonView& section, PreprocessConfig& p) {
  ReadBounds(section, p.image_min_pixels, p.image_max_pixels);
  ReadTriple(section, "image_mean", p.mean);
  ReadTriple(section, "image_std", p.std);
}

void ReadVideo(const JsonView& section, PreprocessConfig& p, std::vector<std::string>& warnings) {
  ReadBounds(section, p.video_min_pixels, p.video_max_pixels);
  if (const auto v = section.Find("fps")) p.video_fps = v->Number();
  if (const auto v = section.Find("min_frames")) p.video_min_frames = v->Size();
  if (const auto v = section.Find("max_frames")) p.video_max_frames = v->Size();
  std::array<float, 3> mean = p.mean, std = p.std;
  ReadTriple(section, "image_mean", mean);
  ReadTriple(section, "image_std", std);
  if (mean != p.mean || std != p.std)
    warnings.push_back(section.Where() +
                       ": image_mean and image_std differ from those of pictures, which are used");
}

// A file of its own, or else its part of processor_config.json.
std::optional<JsonView> FindSection(const std::string& folder, const std::string& file,
                                    const std::optional<JsonView>& combined, const std::string& key,
                                    nlohmann::json& storage) {
  const std::string path = folder + "/" + file;
  if (std::filesystem::exists(path)) {
    storage = ReadJsonFile(path);
    return JsonView(storage, path);
  }
  return combined ? combined->Find(key) : std::nullopt;
}

}  // namespace

PreprocessConfig ReadHfPreprocess(const std::string& folder, const VisionConfig& vision,
                                  std::vector<std::string>& warnings) {
  PreprocessConfig p;
  nlohmann::json combined_json, image_json, video_json;
  std::optional<JsonView> combined;
  const std::string path = folder + "/processor_config.json";
  if (std::filesystem::exists(path)) {
    combined_json = ReadJsonFile(path);
    combined = JsonView(combined_json, path);
  }
  const auto image = FindSection(folder, "preprocessor_config.json", combined, "image_processor", image_json);
  const auto video =
      FindSection(folder, "video_preprocessor_config.json", combined, "video_processor", video_json);
  if (image) {
    CheckCommon(*image, vision, warnings);
    ReadImage(*image, p);
  } else {
    warnings.push_back(folder + ": no preprocessor_config.json, the published image settings are used");
  }
  if (video) {
    CheckCommon(*video, vision, warnings);
    ReadVideo(*video, p, warnings);
  }
  CheckPreprocess(p, image ? image->Where() : folder, video ? video->Where() : folder);
  return p;
}

}  // namespace qwen3vl
