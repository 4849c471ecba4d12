// SPDX-License-Identifier: Apache-2.0
#include "attention/attention.h"

#include <string>

#include "attention/check.h"
#include "attention/cuda/attention_cuda.h"
#include "attention/fault.h"
#include "attention/standard.h"
#include "attention/tiled.h"

namespace qwen3vl::attention {
namespace {

PathOutcome TryCuda(const Inputs& in, const Outputs& out, const Options& options, size_t* tile) {
  if (options.each_alone)
    return {FallbackCause::kUnsupported, "cuda: rows are to be as each alone, which the CPU's paths do"};
  if (FaultAsked(Fault::kDevice))
    return {FallbackCause::kDevice, "cuda: no device (asked for by QWEN3VL_FAULT)"};
  if (FaultAsked(Fault::kLaunch))
    return {FallbackCause::kDevice, "cuda: kernel launch failed (asked for by QWEN3VL_FAULT)"};
  if (FaultAsked(Fault::kAlloc))
    return {FallbackCause::kMemory, "cuda: no device memory (asked for by QWEN3VL_FAULT)"};
  return AttendCuda(in, out, options, tile);
}

PathOutcome TryTiled(const Inputs& in, const Outputs& out, const Options& options, Workspace& workspace,
                     size_t* tile) {
  if (out.weights)
    return {FallbackCause::kUnsupported, "tiled: attention weights are asked for, which only standard keeps"};
  if (in.shape.head_dim > kMaxTiledHeadDim)
    return {FallbackCause::kUnsupported, "tiled: head_dim " + std::to_string(in.shape.head_dim) +
                                             " is over " + std::to_string(kMaxTiledHeadDim)};
  return AttendTiled(in, out, options, workspace, tile);
}

// After a path has run: notices a non-finite result of finite inputs.
PathOutcome CheckNumbers(const Inputs& in, const Outputs& out, const Options& options, const char* path) {
  const bool cancelled = options.cancel && options.cancel->load(std::memory_order_relaxed);
  if (cancelled || !options.check_finite || ResultIsFinite(in.shape, out) || !InputsAreFinite(in)) return {};
  return {FallbackCause::kNumbers, std::string(path) + ": a result is not finite though all inputs are"};
}

// Why `tile` ran where the plan has its own wish.
std::string TileReason(const hw::TilePlan& plan, Path path, size_t tile, size_t kv_len) {
  const bool on_gpu = path == Path::kCudaTiled;
  if (on_gpu && !plan.forced) return "prescribed " + std::to_string(tile) + " for this GPU";
  if (on_gpu ? tile == plan.tile : tile >= plan.tile) return plan.reason;
  return plan.reason + "; " + std::to_string(tile) +
         (on_gpu           ? " is nearest on a GPU"
          : tile >= kv_len ? " hold all keys"
                           : " is what the scratch of a thread holds");
}

void Note(const PathOutcome& outcome, AttentionReport& report) {
  report.cause = outcome.cause;
  if (!report.sentence.empty()) report.sentence += "; ";
  report.sentence += outcome.sentence;
}

}  // namespace

std::string_view Name(Path path) {
  switch (path) {
    case Path::kStandard:
      return "standard";
    case Path::kCpuTiled:
      return "cpu_tiled";
    case Path::kCudaTiled:
      return "cuda_tiled";
  }
  return "unknown";
}

std::string_view Name(FallbackCause cause) {
  switch (cause) {
    case FallbackCause::kNone:
      return "none";
    case FallbackCause::kUnsupported:
      return "unsupported";
    case FallbackCause::kDevice:
      return "device";
    case FallbackCause::kMemory:
      return "memory";
    case FallbackCause::kNumbers:
      return "numbers";
  }
  return "unknown";
}

std::string_view Name(GpuScores scores) { return scores == GpuScores::kInt8 ? "int8" : "f32"; }
std::string_view Name(CpuProducts products) {
  if (products == CpuProducts::kAuto) return "auto";
  return products == CpuProducts::kInt16 ? "int16" : "f32";
}

AttentionReport Attend(const Inputs& in, const Outputs& out, const Options& options, Workspace& workspace) {
  CheckProblem(in, out);
  if (options.each_alone) CheckEachAlone(in, out);
  AttentionReport report;
  report.asked = options.request;
  const auto done = [&] {
    report.tile_reason = TileReason(options.plan, report.used, report.tile, in.shape.kv_len);
    return report;
  };
  if (options.request == PathRequest::kCuda) {
    report.used = Path::kCudaTiled;
    PathOutcome outcome = TryCuda(in, out, options, &report.tile);
    if (outcome.cause == FallbackCause::kNone) outcome = CheckNumbers(in, out, options, "cuda");
    report.scores = outcome.cause == FallbackCause::kNone ? options.gpu_scores : GpuScores::kF32;
    if (outcome.cause == FallbackCause::kNone) return done();
    Note(outcome, report);
  }
  if (options.request != PathRequest::kStandard && report.cause != FallbackCause::kNumbers) {
    report.used = Path::kCpuTiled;
    PathOutcome outcome = TryTiled(in, out, options, workspace, &report.tile);
    if (outcome.cause == FallbackCause::kNone) outcome = CheckNumbers(in, out, options, "tiled");
    if (outcome.cause == FallbackCause::kNone) {
      if (!options.each_alone && UsesInt16(in, options)) report.products = CpuProducts::kInt16;
      return done();
    }
    Note(outcome, report);
  }
  report.used = Path::kStandard;
  report.tile = 0;
  const hw::Threads threads{options.plan.threads, options.cancel};
  // Where floats overflowed, sums in double may not.
  if (report.cause == FallbackCause::kNumbers)
    AttendStandard<double>(in, out, threads);
  else
    AttendStandard<float>(in, out, threads);
  return report;
}

}  // namespace qwen3vl::attention
