// SPDX-License-Identifier: Apache-2.0
// What a forward pass needs besides weights and activations: threads, attention choices, scratch, and the
// optional observers (trace, verify, profile). One per session; the layers below it only read options from
// here.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "attention/attention.h"
#include "hw/parallel.h"
#include "qwen3vl/linear.h"
#include "qwen3vl/qwen3vl.h"
#include "qwen3vl/tuning.h"

namespace qwen3vl {

// Thrown inside a forward pass when the cancel flag is up, caught by the session, which turns it into
// FinishReason::kCancelled.
struct CancelledSignal {};

// Sums seconds per (stage, part, block) while profiling; costs nothing otherwise.
class Profiler {
 public:
  bool enabled = false;
  std::string stage;  // set by the session

  void Add(const std::string& part, const std::string& block, const std::string& shape, double seconds);
  std::vector<ProfileRow> Rows() const;

 private:
  struct Cell {
    size_t calls = 0;
    double seconds = 0;
  };
  std::map<std::array<std::string, 4>, Cell> cells_;
};

// One attention call, whichever tower it is in.
struct AttentionCall {
  std::string block;  // "text.layer.3"
  attention::PathRequest request = attention::PathRequest::kAuto;
  attention::Inputs inputs;
  // Of the weights that made q, k and v, where CpuProducts::kAuto goes by these instead of by k's format.
  hw::Format weights_format = hw::Format::kF32;
  bool each_alone = false;   // see attention::Options; then q is f32 and no weights are asked for
  float* out = nullptr;      // [q_len, n_heads * head_dim]
  float* weights = nullptr;  // optional [n_heads, q_len, kv_len]
};

// A path that ran.
struct PathNote {
  std::string path;              // "cpu_tiled"
  std::string from;              // what it comes from: "attention", "gpu"
  std::string why = {};          // where it was not the one asked for
  size_t tile = 0;               // key/value rows per step; 0: has none, or did not get so far
  std::string tile_reason = {};  // "i5-10210U: prescribed 64"
  bool int16 = false;            // multiplied whole numbers of 16 bits
};

struct Runtime {
  explicit Runtime(const SessionOptions& options);

  hw::Threads threads;
  Precision precision = Precision::kFast;
  attention::PathRequest request = attention::PathRequest::kAuto;
  attention::CpuProducts cpu_products = attention::CpuProducts::kAuto;
  attention::GpuScores gpu_scores = attention::GpuScores::kF32;
  std::map<size_t, attention::PathRequest> layer_requests;  // text layers that differ
  hw::Machine machine;
  hw::TileRequest tile_request;
  std::vector<hw::TunedPlan> tuned;  // stored measurements that count
  bool check_finite = false;
  TraceFn trace;
  LogFn log;
  Profiler profiler;
  std::atomic<bool> cancel{false};

  // The plan for a problem of this size, on the machine probed when the runtime was made.
  hw::TilePlan Plan(const hw::AttentionProblem& problem) const;
  // Whether attention of any layer is asked for on a GPU.
  bool AsksForGpu() const;
  // Runs one attention call: plan, fallbacks (logged once per cause), verification.
  void Attend(const AttentionCall& call);
  // Remembers which path ran; logs each cause of a fallback once.
  void NotePath(const PathNote& note);
  // Hands a tensor to the trace, when there is one.
  void Trace(std::string_view name, std::initializer_list<size_t> shape, const float* data) const;
  void Trace(std::string_view name, std::initializer_list<size_t> shape, const int32_t* data) const;
  // Throws CancelledSignal when the flag is up: called after every step that may have been cut short.
  void CheckCancelled() const {
    if (cancel.load(std::memory_order_relaxed)) throw CancelledSignal{};
  }
  // Runs `step`, charges its time to (part, block) when profiling, and looks at the cancel flag.
  template <class Step>
  void Timed(const char* part, const std::string& block, const Step& step) {
    if (!profiler.enabled) {
      step();
    } else {
      const auto start = std::chrono::steady_clock::now();
      step();
      profiler.Add(part, block, "",
                   std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    CheckCancelled();
  }

  std::vector<LayerDeviation> Deviations() const;
  std::string PathsUsed() const;  // "cpu_tiled" or "cpu_tiled, standard (unsupported: ...)"
  // The largest tile that ran on the first tiled path, and why; where there are several, the reason has all.
  // 0 before anything ran, and where only standard attention did.
  std::pair<size_t, std::string> TileUsed() const;

  bool verify = false;

 private:
  // Tokens as each alone, on both sides of the length below which standard attention is chosen.
  void AttendOneByOne(const AttentionCall& call);
  void Verify(const AttentionCall& call, const attention::Options& options, attention::Path used);

  attention::Workspace workspace_;
  std::map<std::string, LayerDeviation> deviations_;
  struct PathUse {
    // By what fell back and why, without the digits: a number of bytes changes from call to call.
    std::map<std::pair<std::string, std::string>, std::string> causes;
    size_t tile = 0;
    std::string tile_reason;
    bool int16 = false;
  };
  std::map<std::string, PathUse> paths_;  // by name
};

}  // namespace qwen3vl
