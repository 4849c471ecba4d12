// SPDX-License-Identifier: Apache-2.0
// Runs a recorded whole-model case through a session and collects what the trace saw, chunks joined.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "qwen3vl/qwen3vl.h"
#include "support/golden.h"

namespace qwen3vl::test {

struct TracedTensor {
  std::vector<size_t> shape;
  std::vector<float> floats;
  std::vector<int32_t> ints;
};

struct TracedRun {
  std::map<std::string, TracedTensor> tensors;  // per name; rows of successive chunks joined
  std::vector<int32_t> greedy;
};

// A sink for SessionOptions::trace that joins chunks into `run`.
TraceFn CollectInto(TracedRun& run);

struct GoldenCase {
  std::string model;     // "tiny-a"
  nlohmann::json entry;  // of cases.json
  std::string name() const { return entry["name"]; }
};

// The models that are at hand with cases and weights: those of tests/data, or of the complete recordings.
std::vector<std::string> GoldenModels();

// All cases of one model whose tensor file is at hand.
std::vector<GoldenCase> GoldenCases(const std::string& model);

// One of them; throws when it is not at hand.
GoldenCase CaseNamed(const std::string& model, const std::string& name);

// As the recordings went on: `n` tokens, always the likeliest, whether one of them ends or not.
GenerateOptions Greedy(size_t n);

// Pictures and clips of a case, in prompt order.
std::vector<Picture> CasePictures(const GoldenCase& c);
std::vector<Clip> CaseClips(const GoldenCase& c);

}  // namespace qwen3vl::test
