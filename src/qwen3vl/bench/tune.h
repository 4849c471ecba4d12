// SPDX-License-Identifier: Apache-2.0
// `bench tune`: which tile, query rows a task, thread count and path are fastest for the attention of a model
// on this machine, with the instruction set in use.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "qwen3vl/bench/measure.h"
#include "qwen3vl/bench/presets.h"
#include "qwen3vl/tuning.h"

namespace qwen3vl::bench {

struct TuneShape {
  std::string name;  // "qwen3vl-4b.text"
  AttentionShape attention;
  std::string source;  // as the command line names it: " --preset qwen3vl-4b.text", " -m model.gguf"
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
  std::string command = "qwen3vl bench tune", command_tail;  // what repeating a row begins and ends with
};

struct TuneResult {
  std::vector<TuningEntry> entries;   // a shape and thread count each
  std::vector<std::string> findings;  // what to tell people, a line an entry
  double seconds = 0;                 // of all shapes' prompts, at the fastest thread count, if known
};

// Which of the rows of one problem wins, the prescribed plan's being the first: that one unless another is 2
// % faster; a wrong result loses.
size_t BestPlan(std::span<const Row> rows);
// Whether standard attention is worth leaving the tiled path: 5 % faster, and right.
bool StandardIsFaster(const Row& tiled, const Row& standard);
// The thread count that runs should take, from the seconds of several: `usual` unless another is 5 % faster.
// Absent where `usual` was not compared with any other.
std::optional<size_t> FastestThreads(const std::map<size_t, double>& seconds, size_t usual);

// Every candidate is a row for `sink`, those of one shape and thread count measured in turn. For each tile
// the rows a task that follow from it are tried, and options.q_rows as far as the prompt has as many: what
// one task does there says nothing about longer prompts. Standard attention must be faster on a prompt and,
// where there is one, on a step of generation, at this length and all shorter ones.
TuneResult RunTune(const TuneOptions& options, const MeasureOptions& measure,
                   const std::function<void(const Row&)>& sink);

}  // namespace qwen3vl::bench
