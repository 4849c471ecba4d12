// SPDX-License-Identifier: Apache-2.0
#include "support/golden_model.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <numeric>
#include <stdexcept>

namespace qwen3vl::test {

TraceFn CollectInto(TracedRun& run) {
  return [&run](const TraceTensor& t) {
    const size_t n = std::accumulate(t.shape.begin(), t.shape.end(), size_t{1}, std::multiplies<>());
    TracedTensor& into = run.tensors[std::string(t.name)];
    if (into.shape.empty()) {
      into.shape.assign(t.shape.begin(), t.shape.end());
    } else {
      into.shape[0] += t.shape[0];
    }
    if (t.f32) into.floats.insert(into.floats.end(), t.f32, t.f32 + n);
    if (t.i32) into.ints.insert(into.ints.end(), t.i32, t.i32 + n);
  };
}

std::vector<std::string> GoldenModels() {
  std::vector<std::string> names;
  for (const auto& folder : std::filesystem::directory_iterator(DataPath("cases"))) {
    const std::string name = folder.path().filename();
    if (folder.is_directory() && DataExists("models/" + name + "/model.safetensors")) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<GoldenCase> GoldenCases(const std::string& model) {
  std::vector<GoldenCase> cases;
  const nlohmann::json recorded = ReadJson("cases/" + model + "/cases.json");
  for (const nlohmann::json& entry : recorded["cases"])
    if (DataExists(entry["file"].get<std::string>())) cases.push_back({model, entry});
  return cases;
}

GoldenCase CaseNamed(const std::string& model, const std::string& name) {
  for (const GoldenCase& c : GoldenCases(model))
    if (c.name() == name) return c;
  throw std::runtime_error("no case " + name + " of " + model);
}

GenerateOptions Greedy(size_t n) {
  return {.max_tokens = n, .sampling = SamplingOptions{}, .ignore_end = true};
}

std::vector<Picture> CasePictures(const GoldenCase& c) {
  std::vector<Picture> out;
  for (const auto& file : c.entry["images"]) out.push_back(LoadPicture(DataPath(file.get<std::string>())));
  return out;
}

std::vector<Clip> CaseClips(const GoldenCase& c) {
  std::vector<Clip> out;
  for (const auto& frames : c.entry["videos"]) {
    std::vector<std::string> files;
    for (const auto& file : frames) files.push_back(DataPath(file.get<std::string>()));
    out.push_back(LoadClip(files, {.sample = false}));
  }
  return out;
}

}  // namespace qwen3vl::test
