// SPDX-License-Identifier: Apache-2.0
// What the measurements of whole models share: a loaded model, random ids, samples that a call reports
// itself, taken in turn with the peaks of the machine.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "qwen3vl/bench/model.h"
#include "qwen3vl/model.h"

namespace qwen3vl::bench {

// Ids of text tokens only.
std::vector<int32_t> RandomIds(const ModelConfig& config, size_t count, uint64_t seed);

// The last logits of the prompt that `call` runs, against those of a session that computes in float32
// throughout: exact products, keys and values as f32, standard attention, no GPU.
Accuracy CheckLogits(const Model& model, const SessionOptions& options,
                     const std::function<void(Session&)>& call);
// How `model` was loaded, whatever was asked for: " --repack on", " --repack off", or nothing where no
// weights have copies.
std::string RepackOf(const Model& model);
// Hands rows on with the paths and the tile that ran on `session`.
RowSink WithPathOf(const Session& session, const RowSink& sink);

// `tokens` likeliest tokens, end tokens too, one a step.
GenerateOptions Greedy(size_t tokens);

// Throws Error(kCancelled) when the reply was cut short.
const Reply& Finished(const Reply& reply);

// Rows that are filled by the same calls. `call` runs once and hands a sample in seconds to each row; zero is
// none. A row without samples is left out, and a note says so.
using SampleCall = std::function<std::vector<double>(size_t round)>;
void MeasureCalls(std::vector<Row> rows, const SampleCall& call, const MeasureOptions& measure,
                  PeakMeter* peaks, const RowSink& sink);

double TextFlop(const TextConfig& text, size_t n_tokens, size_t depth, size_t n_logits);
// Of one picture that becomes so many tokens: patches, blocks and mergers.
double VisionFlop(const VisionConfig& vision, size_t n_tokens);
// Weights that one step of so many tokens reads: of the experts as many as chance makes them choose.
double StepWeightBytes(const ModelFiles& files, size_t n_tokens);
double VisionWeightBytes(const ModelFiles& files);
// Of a prompt in chunks: weights once a chunk, and the keys and values seen.
double PromptBytes(const ModelFiles& files, const SessionOptions& options, size_t n_tokens, size_t depth);
double KvBytes(const TextConfig& text, KvType type, size_t n_keys);

}  // namespace qwen3vl::bench
