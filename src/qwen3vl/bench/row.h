// SPDX-License-Identifier: Apache-2.0
// One measurement: what was run, how long it took, how that compares with what the machine can do, and how
// far the result is from the reference. What could not be measured is absent, never zero.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "qwen3vl/bench/environment.h"
#include "qwen3vl/bench/stats.h"

namespace qwen3vl::bench {

inline constexpr int kRowSchema = 1;

// Distance from the reference, over `checked` values.
struct Accuracy {
  double max_abs = 0;   // largest absolute difference
  double rel_norm = 0;  // Euclidean norm of the difference over that of the reference
  size_t checked = 0;
  std::string reference;  // "float64, standard attention, 16 of 512 rows"

  bool operator==(const Accuracy&) const = default;
};

// What the machine did just before the samples of a round.
struct RoundPeaks {
  double fma_gflops = 0, read_gbs = 0;
  std::optional<double> handover_ns;  // of a cache line between two threads (handover.h)

  bool operator==(const RoundPeaks&) const = default;
};

// Rates of the machine in the rounds in which the samples were taken: median and best.
struct Peaks {
  double fma_gflops = 0, fma_gflops_best = 0;
  double read_gbs = 0, read_gbs_best = 0;

  bool operator==(const Peaks&) const = default;
};

struct Row {
  // What.
  std::string layer;                                  // "attention.prefill", "linear.ffn_up", "model.prompt"
  std::string preset;                                 // "qwen3vl-4b.text", or the model's name
  std::vector<std::pair<std::string, size_t>> shape;  // {"q_len", 512}, {"kv_len", 512}, ...
  size_t length = 0;  // the kv length, prompt length or depth that plots run over
  std::string dtype;  // of weights, or of keys and values: "f16 cache"
  std::string path;   // "cpu_tiled", "standard", "linear"
  size_t tile = 0;    // kv rows a step and q rows a task; absent from the output where 0
  size_t q_rows = 0;
  std::string plan;  // why this tile
  size_t threads = 1;
  std::string isa;
  // How long: seconds of one call, in the order taken.
  std::vector<double> samples;
  // Where only quiet samples count: those that do not.
  std::optional<std::vector<double>> busy_samples;
  Stats stats;
  size_t calls_per_sample = 1;  // a sample is the mean of so many calls
  // How much work, by formula.
  std::optional<double> flop, bytes;
  std::string formula;                  // that they follow from
  std::optional<size_t> tokens;         // that a call processes: makes tokens per second
  std::optional<size_t> scratch_bytes;  // beside inputs and outputs
  std::optional<Peaks> peaks;
  std::vector<RoundPeaks> round_peaks;  // for each sample; empty where there are none
  std::optional<Accuracy> accuracy;
  // Where.
  Environment environment;
  MachineState before, after;
  std::string command;  // that repeats the row

  // Rates at the median time.
  std::optional<double> Gflops() const;
  std::optional<double> Gbs() const;
  std::optional<double> TokensPerSecond() const;
  // The median over the samples of a sample's rate and its round's peak: a machine that is faster in some
  // rounds than in others is so for both. Without peaks of each round, median rate and median peak.
  std::optional<double> FmaShare() const;
  std::optional<double> ReadShare() const;
  // The best time against the best peak.
  std::optional<double> BestFmaShare() const;
  std::optional<double> BestReadShare() const;

  bool operator==(const Row&) const = default;
};

// Of all rounds of the rows that tell it, in their order.
std::vector<double> HandoversNs(const std::vector<Row>& rows);
// Handovers between cores that share a cache and between others differ by this and more; a clock that changes
// makes less of a difference.
inline constexpr double kCoresMoved = 3;

std::string ShapeText(const Row& row);  // "q_len 512, kv_len 512"

// JSON. Derived values are written too, and ignored when read.
std::string ToJsonLine(const Row& row);                    // one line, no line end
std::string ToJsonDocument(const std::vector<Row>& rows);  // {"schema": 1, "rows": [...]}
// Reads a document or JSON lines. Throws Error(kCorruptFile) naming `where`, what was found and wanted.
std::vector<Row> ParseRows(const std::string& text, const std::string& where);

}  // namespace qwen3vl::bench
