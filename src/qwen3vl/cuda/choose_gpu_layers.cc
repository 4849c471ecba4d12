// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <new>

#include "qwen3vl/cuda/asked_fault.h"
#include "qwen3vl/cuda/choose_gpu.h"
#include "qwen3vl/cuda/layer_times.h"
#include "qwen3vl/gpu_choice.h"

namespace qwen3vl {
namespace {

class CudaLayers : public GpuLayers {
 public:
  // `output` may be null.
  CudaLayers(std::unique_ptr<DeviceDecoder> decoder, std::unique_ptr<DeviceOutput> output, PathNote ran)
      : decoder_(std::move(decoder)),
        output_(std::move(output)),
        range_(decoder_->range()),
        ran_(std::move(ran)) {}

  size_t first() const override { return range_.first; }
  size_t end() const override { return range_.end; }

  bool Run(const LayersStep& step, size_t begin, size_t end, Runtime& runtime) override {
    if (!decoder_) return false;
    const size_t before = step.cache->layer(begin).length;
    const auto run = [&] {
      ThrowIfAsked(attention::Fault::kLaunch, ErrorCode::kDevice, "kernel launch failed");
      decoder_->Run(step, {begin, end}, runtime);
    };
    if (Done(run, runtime)) {
      runtime.NotePath(ran_);
      return true;
    }
    for (size_t i = begin; i < end; ++i) step.cache->TruncateLayer(i, before);
    return false;
  }

  bool Logits(hw::MatrixView<const float> x, hw::MatrixView<float> logits, Runtime& runtime) override {
    return output_ && Done([&] { output_->Run(x, logits); }, runtime);
  }

 private:
  // Whether `work` succeeded. If not, the cause is told, and the device is given back.
  template <class Work>
  bool Done(const Work& work, Runtime& runtime) {
    std::string why;
    try {
      work();
      return true;
    } catch (const std::bad_alloc&) {
      why = "no memory to collect the tensors in";
    } catch (const Error& e) {
      why = e.what();
    }
    runtime.NotePath({.path = std::string(attention::Name(attention::Path::kCpuTiled)),
                      .from = ran_.from,
                      .why = why + "; layers " + std::to_string(range_.first) + " to " +
                             std::to_string(range_.end - 1) + (output_ ? " and the output matrix" : "") +
                             " go on on the CPU"});
    decoder_.reset();
    output_.reset();
    return false;
  }

  std::unique_ptr<DeviceDecoder> decoder_;  // null once the device has failed
  std::unique_ptr<DeviceOutput> output_;
  const LayerRange range_;
  const PathNote ran_;
};

// The choice step by step; throws Error where the device fails.
class Chooser {
 public:
  explicit Chooser(const GpuTarget& target) : target_(target), request_(target.request) {}

  LayersChoice Choose() {
    GpuOffer offer = Offer();
    GpuDecision decision = DecideGpuLayers(offer);
    if (decision.n_layers == 0) return {nullptr, decision.report};
    if (offer.asked == kAutoGpuLayers) {
      const std::unique_ptr<DeviceDecoder> one = Make(1, kMeasuredTokens + 1);
      offer.times = MeasureLayer(*one, *request_.config, *request_.weights, *request_.options);
      decision = DecideGpuLayers(offer);
      if (decision.n_layers == 0) return {nullptr, decision.report};
    }
    ThrowIfAsked(attention::Fault::kAlloc, ErrorCode::kOutOfMemory, "no device memory");
    std::unique_ptr<DeviceDecoder> decoder = MakeAsFits(offer, decision);
    std::string report = decision.report + MemoryOf(*decoder);
    if (!decision.short_of.empty()) report += "; " + decision.short_of;
    OutputChoice last;
    if (decision.n_layers == offer.n_layers) {
      last = ChooseGpuOutput(target_);
      report += "; " + last.report;
    }
    return {std::make_unique<CudaLayers>(std::move(decoder), std::move(last.output), target_.Ran("gpu")),
            report};
  }

 private:
  LayerRange Last(size_t n) const { return {request_.config->n_layers - n, request_.config->n_layers}; }
  size_t max_rows() const {
    return std::min({request_.options->prefill_chunk, request_.kv.capacity, kMaxRows});
  }

  attention::KvCacheShape KvOf(size_t capacity) const {
    attention::KvCacheShape kv = request_.kv;
    kv.capacity = std::min(kv.capacity, capacity);
    return kv;
  }

  std::unique_ptr<DeviceDecoder> Make(size_t n, size_t capacity) const {
    return std::make_unique<DeviceDecoder>(
        target_.device, target_.code, *request_.config, *request_.weights,
        DecoderPart{
            .range = Last(n), .kv = KvOf(capacity), .max_rows = max_rows(), .scores = target_.scores()});
  }

  // As many layers as decided, or fewer where another program has taken memory since it was asked for;
  // `offer` and `decision` follow.
  std::unique_ptr<DeviceDecoder> MakeAsFits(GpuOffer& offer, GpuDecision& decision) const {
    for (;;) {
      try {
        return Make(decision.n_layers, request_.kv.capacity);
      } catch (const Error& e) {
        if (e.code() != ErrorCode::kOutOfMemory || decision.n_layers == 1) throw;
      }
      offer.fitting = decision.n_layers - 1;
      offer.free_bytes = target_.device->FreeBytes();
      decision = DecideGpuLayers(offer);
    }
  }

  GpuOffer Offer() const {
    const TextConfig& c = *request_.config;
    GpuOffer offer{
        .device = target_.device->info().name, .n_layers = c.n_layers, .asked = request_.options->gpu_layers};
    for (; offer.able < c.n_layers; ++offer.able) {
      offer.unable = WhyNotOnGpu(c, request_.weights->layers[c.n_layers - 1 - offer.able], request_.kv);
      if (!offer.unable.empty()) break;
    }
    offer.free_bytes = target_.device->FreeBytes();
    const size_t usable = target_.UsableBytes();
    while (offer.fitting < offer.able &&
           PlaceDecoder(c, *request_.weights, Last(offer.fitting + 1), request_.kv, max_rows(),
                        target_.device->info().multiprocessors)
                   .total() <= usable)
      ++offer.fitting;
    if (offer.fitting == offer.able) offer.fitting = c.n_layers;
    return offer;
  }

  static constexpr size_t kMaxRows = 512;  // more go through in several turns

  const GpuTarget& target_;
  const GpuRequest& request_;
};

}  // namespace

LayersChoice ChooseGpuLayers(const GpuTarget& target) { return Chooser(target).Choose(); }

}  // namespace qwen3vl
