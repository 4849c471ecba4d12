// SPDX-License-Identifier: Apache-2.0
// `bench layer` and `bench sweep`: the parts of a preset's layer, one group of variants after the other.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "qwen3vl/bench/attention_case.h"
#include "qwen3vl/bench/measure.h"
#include "qwen3vl/bench/presets.h"
#include "qwen3vl/qwen3vl.h"

namespace qwen3vl::bench {

struct LayerOptions {
  std::vector<std::string> presets = {"qwen3vl-4b"};
  // What to run, by the start of a layer's name: "attention", "attention.decode", "linear", "linear.ffn_up",
  // "rope", "norm". Empty: all.
  std::vector<std::string> kinds;
  std::vector<size_t> lengths;       // of prompts; empty: the preset's own
  std::vector<size_t> contexts;      // keys of a decode step; empty: 4096
  std::vector<size_t> tokens;        // rows of a product; empty: 1 (text only) and the preset's length
  std::vector<hw::Format> formats;   // of keys and values, and of weights; empty: what is usual for each
  std::optional<KvType> cache_type;  // of keys and values where they are in a cache; absent: as `formats`
  std::vector<AttentionForm> paths;  // empty: tiled, standard, and int16 where nothing is in f32
  size_t threads = 0;                // 0: the physical fast cores
  size_t tile = 0, q_rows = 0;       // 0: by the plan
  bool use_tuning = true;            // follow the stored measurement where no tile is given
  bool exact = false;                // products in float32 throughout
  RepackChoice repack = RepackChoice::kAuto;  // products of rows as in a file or interleaved; kAuto: both
  bool cold = true;        // decode steps and single-row products use copies in turn that no cache holds
  size_t check_rows = 16;  // query rows whose error is measured
  double max_standard_flop = 2e11;              // standard attention is left out of longer problems: a note
  std::string command = "qwen3vl bench layer";  // what repeating a row begins with
  std::string command_tail;                     // and ends with: " --samples 15 --isa avx2"
};

// Throws Error(kInvalidArgument) for unknown presets and when nothing matches.
// `sink` gets every row when it is finished.
void RunLayers(const LayerOptions& options, const MeasureOptions& measure, PeakMeter* peaks,
               const std::function<void(const Row&)>& sink);

// The threads that run: `asked`, or where that is 0 the physical fast cores.
size_t ThreadsOrDefault(size_t asked);
// What the stored measurement, the machine's plan, or the forced tile and rows of `options` make of a
// problem.
hw::TilePlan PlanFor(const AttentionProblem& problem, const LayerOptions& options);

}  // namespace qwen3vl::bench
