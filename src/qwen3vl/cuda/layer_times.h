// SPDX-License-Identifier: Apache-2.0
// How long one decoder layer, the output matrix, and one block of the vision tower take on the GPU and on the
// CPU, measured on the model's own weights. The device is first kept busy until its clocks have risen, and
// does its work several times between one upload and one wait, as in a run of many layers.
#pragma once

#include "qwen3vl/cuda/device_decoder.h"
#include "qwen3vl/cuda/device_output.h"
#include "qwen3vl/cuda/device_vision.h"
#include "qwen3vl/gpu_choice.h"

namespace qwen3vl {

inline constexpr size_t kMeasuredTokens = 64;  // of the prompt

// `decoder` holds the model's last layer and room for kMeasuredTokens + 1 tokens, or the session's context
// where that is less; the prompt has no more tokens than go through it at a time. Throws as
// DeviceDecoder::Run.
LayerTimes MeasureLayer(DeviceDecoder& decoder, const TextConfig& config, const TextWeights& weights,
                        const SessionOptions& options);

// The logits of one token. Throws as DeviceOutput::Run.
PartTimes MeasureOutput(const DeviceOutput& output, const Weight& weight, const SessionOptions& options);

// The first block on the patches of a small picture. Throws as DeviceVision.
PartTimes MeasureVisionBlock(DeviceVision& tower, const VisionConfig& config, const VisionWeights& weights,
                             const SessionOptions& options);

}  // namespace qwen3vl
