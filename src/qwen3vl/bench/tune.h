// SPDX-License-Identifier: Apache-2.0
// `bench tune`: which tile, query rows a task, thread count and path are fastest for the attention of a model
// on this machine, with the instruction set in use.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "qwen3vl/bench/measure.h"
#include "qwen3vl/bench/presets.h"
#include "qwen3vl/tuning.h"

namespace qwen3vl::bench {

struct TuneShape {
  std::string name;  // "qwen3vl-4b.text"
  AttentionShape attention;
};
// Of the presets called `name`; of the towers of a model, of which only the headers are read.
std::vector<TuneShape> ShapesOfPreset(const std::string& name);
std::vector<TuneShape> ShapesOfModel(const std::string& model, const std::string& mmproj);

struct TuneOptions {
  std::vector<TuneShape> shapes;
  std::vector<size_t> tiles = {64, 128, 256, 512};
  std::vector<size_t> q_rows = {48, 96, 192, 384, 768};
  std::vector<size_t> threads;  // empty: the physical fast cores, and all logical ones
  size_t prompt = 512;          // query rows; causal shapes see those of `keys` before them, too
  size_t keys = 2048;
  std::vector<size_t> short_lengths = {4, 8, 16, 32, 64};  // on which standard attention is tried, ascending
};

struct TuneResult {
  std::vector<TuningEntry> entries;   // a shape and thread count each
  std::vector<std::string> findings;  // what to tell people, a line an entry
  double seconds = 0;                 // of all shapes' prompts, at the fastest thread count
};

// Every candidate is a row for `sink`, those of one shape and thread count measured in turn. The prescribed
// plan wins unless another one is 2 % faster; a candidate with a wrong result loses. Standard attention must
// be 5 % faster, on a prompt and, where there is one, on a step of generation, at this length and all shorter
// ones.
TuneResult RunTune(const TuneOptions& options, const MeasureOptions& measure,
                   const std::function<void(const Row&)>& sink);

}  // namespace qwen3vl::bench
