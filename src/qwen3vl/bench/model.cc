// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/bench/model.h"

#include <algorithm>

#include "hw/cpu_info.h"
#include "qwen3vl/bench/command_line.h"
#include "qwen3vl/bench/model_rows.h"
#include "qwen3vl/bench/rounds.h"
#include "qwen3vl/error.h"
#include "qwen3vl/kv_type.h"
#include "qwen3vl/tuning.h"

namespace qwen3vl::bench {
namespace {

constexpr size_t kFirstTokens = 8;  // of the call before the first measurement, where the cache is empty

class ModelRun {
 public:
  ModelRun(const ModelOptionsBench& options, const MeasureOptions& measure)
      : options_(options),
        measure_(measure),
        model_(Model::Load(options.model, options.load)),
        config_(model_.impl()->files.config),
        session_(model_, WithContext(options)) {}

  void Run(PeakMeter* peaks, const RowSink& sink) {
    Note(measure_, "comparing the logits with those of float32");
    SessionOptions small = options_.session;
    small.context = options_.check_tokens + 8;
    accuracy_ = CheckLogits(model_, small, [&](Session& s) {
      Finished(s.Complete(RandomIds(config_, options_.check_tokens, 1), {}, {}, Greedy(0)));
    });
    for (const size_t depth : options_.depths) {
      if (options_.prompt_tokens || options_.generate_tokens) RunDepth(depth, peaks, sink);
      for (const ModelOptionsBench::AnswerText& text : options_.answers) RunAnswer(text, depth, peaks, sink);
    }
  }

 private:
  static SessionOptions WithContext(const ModelOptionsBench& o) {
    SessionOptions s = o.session;
    s.context = std::max(*std::ranges::max_element(o.depths), kFirstTokens) +
                std::max(o.prompt_tokens, o.generate_tokens + 1) + 1;
    return s;
  }

  void RunDepth(size_t depth, PeakMeter* peaks, const RowSink& sink) {
    const std::vector<int32_t> prefix = RandomIds(config_, depth, 2);
    // Fills the cache, and shows which attention path runs.
    Finished(session_.Complete(depth > 0 ? prefix : RandomIds(config_, kFirstTokens, 3), {}, {}, Greedy(0)));
    std::vector<Row> rows;
    if (options_.prompt_tokens) rows.push_back(PromptRow(depth));
    if (options_.generate_tokens) rows.push_back(GenerateRow(depth));
    MeasureCalls(
        rows,
        [&](size_t round) {
          std::vector<double> samples;
          if (options_.prompt_tokens)
            samples.push_back(Answer(prefix, options_.prompt_tokens, 0, 100 + 2 * round).prefill_s);
          if (options_.generate_tokens)
            samples.push_back(Answer(prefix, 1, options_.generate_tokens + 1, 101 + 2 * round).decode_s);
          return samples;
        },
        measure_, peaks, WithPathOf(session_, sink));
  }

  // The model is made to say the text: which tokens it would say itself does not matter for the time.
  void RunAnswer(const ModelOptionsBench::AnswerText& text, size_t depth, PeakMeter* peaks,
                 const RowSink& sink) {
    const std::vector<int32_t> answer = model_.Encode(text.answer);
    std::vector<int32_t> prompt = RandomIds(config_, depth, 2);
    for (const int32_t id : model_.Encode(text.prompt)) prompt.push_back(id);
    if (answer.size() < 2 || prompt.empty())
      throw Error(ErrorCode::kInvalidArgument,
                  text.path + ": " + std::to_string(answer.size()) + " tokens after a prompt of " +
                      std::to_string(prompt.size()) + ", want 2 or more after 1");
    SessionOptions options = options_.session;
    options.context = prompt.size() + answer.size();
    Session session(model_, options);
    const size_t guesses[] = {0, GenerateOptions{}.draft_tokens};
    std::vector<Row> rows;
    for (const size_t draft : guesses) {
      Row row = NewRow("model.answer", answer.size() - 1, depth);
      row.layer += " " + text.name;
      row.shape.insert(row.shape.end(), {{"prompt", prompt.size() - depth}, {"draft", draft}});
      row.accuracy.reset();
      row.formula.clear();
      row.command += " --answer " + ShellWord(text.path);
      rows.push_back(std::move(row));
    }
    MeasureCalls(
        rows,
        [&](size_t) {
          std::vector<double> samples;
          for (const size_t draft : guesses) {
            GenerateOptions o = Greedy(answer.size());
            o.draft_tokens = draft;
            o.choose = [&, next = size_t{0}](std::span<const float>) mutable { return answer[next++]; };
            samples.push_back(Finished(session.Complete(prompt, {}, {}, o)).decode_s);
          }
          return samples;
        },
        measure_, peaks, WithPathOf(session, sink));
  }

  // `n` new tokens after `prefix`, which is in the cache, and an answer.
  Reply Answer(const std::vector<int32_t>& prefix, size_t n, size_t answer, uint64_t seed) {
    std::vector<int32_t> ids = prefix;
    for (const int32_t id : RandomIds(config_, n, seed)) ids.push_back(id);
    const Reply reply = Finished(session_.Complete(ids, {}, {}, Greedy(answer)));
    // Two prompts may begin alike by chance.
    if (reply.reused_tokens < prefix.size() || reply.ids.size() != answer)
      throw Error(ErrorCode::kUnsupported, options_.model + ": the cache kept " +
                                               std::to_string(reply.reused_tokens) + " of " +
                                               std::to_string(prefix.size()) + " tokens and the answer has " +
                                               std::to_string(reply.ids.size()) + " of " +
                                               std::to_string(answer) + ": nothing comparable was measured");
    return reply;
  }

  Row NewRow(const char* layer, size_t tokens, size_t depth) const {
    Row row;
    row.layer = layer;
    row.preset = config_.name;
    row.shape = {{"tokens", tokens}, {"depth", depth}};
    row.length = depth;
    row.dtype = std::string(hw::Name(ToFormat(options_.session.kv_type))) + " cache";
    row.threads = session_.threads();
    row.isa = hw::Name(hw::SelectedIsa());
    row.tokens = tokens;
    row.accuracy = accuracy_;
    row.formula =
        "flop: 2 a weight met, 4 * head_dim a key seen, all heads and layers; bytes: weights, keys, values";
    row.command = options_.command + " -m " + ShellWord(options_.model) +
                  (options_.load.mmproj.empty() ? "" : " --mmproj " + ShellWord(options_.load.mmproj)) +
                  " --prompt " + std::to_string(options_.prompt_tokens) + " --generate " +
                  std::to_string(options_.generate_tokens) + " --depths " + std::to_string(depth) +
                  " --threads " + std::to_string(session_.threads()) + RepackOf(model_) +
                  options_.command_tail;
    return row;
  }

  Row PromptRow(size_t depth) const {
    const size_t n = options_.prompt_tokens;
    Row row = NewRow("model.prompt", n, depth);
    row.flop = TextFlop(config_.text, n, depth, 1);
    row.bytes = PromptBytes(model_.impl()->files, options_.session, n, depth);
    return row;
  }

  Row GenerateRow(size_t depth) const {
    const size_t n = options_.generate_tokens;
    Row row = NewRow("model.generate", n, depth);
    // One token of the prompt lies between the depth and the answer.
    row.flop = TextFlop(config_.text, n, depth + 1, n);
    row.bytes = static_cast<double>(n) * (StepWeightBytes(model_.impl()->files, 1) +
                                          KvBytes(config_.text, options_.session.kv_type, depth + 1 + n / 2));
    return row;
  }

  const ModelOptionsBench& options_;
  const MeasureOptions& measure_;
  Model model_;
  const ModelConfig& config_;
  Session session_;
  Accuracy accuracy_;
};

}  // namespace

size_t ThreadsOfModel(const std::string& model, const std::string& mmproj) {
  const ModelFiles files = LoadModelFiles(model, {.mmproj = mmproj, .header_only = true});
  return TunedThreads(hw::ProbeCpu(), HeadShapesOf(files.config));
}

void RunModel(const ModelOptionsBench& options, const MeasureOptions& measure, PeakMeter* peaks,
              const RowSink& sink) {
  ModelRun(options, measure).Run(peaks, sink);
}

}  // namespace qwen3vl::bench
