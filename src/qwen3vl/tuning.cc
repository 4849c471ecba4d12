// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/tuning.h"

#include <algorithm>
#include <filesystem>

#include "qwen3vl/json_view.h"
#include "qwen3vl/whole_file.h"

namespace qwen3vl {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr size_t kSchema = 1;
constexpr size_t kMaxTile = 65536;  // as --tile

Json ToJson(const TuningEntry& e) {
  return {{"cpu", e.key.cpu},         {"isa", e.key.isa},
          {"version", e.key.version}, {"threads", e.key.threads},
          {"fastest", e.fastest},     {"head_dim", e.plan.head_dim},
          {"group", e.plan.group},    {"tile", e.plan.tile},
          {"q_rows", e.plan.q_rows},  {"standard_below", e.plan.standard_below}};
}

size_t InRange(const JsonView& v, size_t low, size_t high) {
  const size_t n = v.Size();
  if (n < low || n > high) v.Fail("a number from " + std::to_string(low) + " to " + std::to_string(high));
  return n;
}

TuningEntry ToEntry(const JsonView& v) {
  return {.key = {v.At("cpu").String(), v.At("isa").String(), v.At("version").String(),
                  InRange(v.At("threads"), 1, kMaxThreads)},
          .plan = {.head_dim = v.At("head_dim").Size(),
                   .group = v.At("group").Size(),
                   .tile = InRange(v.At("tile"), 1, kMaxTile),
                   .q_rows = InRange(v.At("q_rows"), 0, kMaxTile),
                   .standard_below = v.At("standard_below").Size()},
          .fastest = v.At("fastest").Bool()};
}

HeadShape ShapeOf(const TuningEntry& e) { return {e.plan.head_dim, e.plan.group}; }

// They differ by the number of threads at most.
bool Rivals(const TuningEntry& a, const TuningEntry& b) {
  return a.key.cpu == b.key.cpu && a.key.isa == b.key.isa && a.key.version == b.key.version &&
         ShapeOf(a) == ShapeOf(b);
}

std::vector<TuningEntry> ReadableTuning(const std::string& path) {
  try {
    return ReadTuning(path);
  } catch (const Error&) {
    return {};
  }
}

// Plans of `entries` whose key is `key`.
std::vector<hw::TunedPlan> PlansFor(const std::vector<TuningEntry>& entries, const TuningKey& key) {
  std::vector<hw::TunedPlan> plans;
  for (const TuningEntry& e : entries)
    if (e.key == key) plans.push_back(e.plan);
  return plans;
}

Tuning Ignored(Tuning tuning, const std::string& why, const LogFn& log) {
  tuning.status = "ignored: " + why;
  if (log) log(LogLevel::kWarning, "stored tuning ignored: " + why + "; `qwen3vl bench tune` makes it anew");
  return tuning;
}

}  // namespace

TuningKey CurrentKey(const hw::CpuInfo& cpu, size_t threads) {
  return {cpu.model_name, std::string(hw::Name(hw::SelectedIsa())), QWEN3VL_VERSION, threads};
}

std::string TuningPath() {
  const std::string folder = hw::UserCacheFolder();
  return folder.empty() ? "" : folder + "/qwen3vl/tuning.json";
}

std::vector<TuningEntry> ReadTuning(const std::string& path) {
  std::error_code missing;
  if (!fs::exists(path, missing)) return {};
  const nlohmann::json document = ReadJsonFile(path);
  const JsonView view(document, path);
  if (const JsonView schema = view.At("schema"); schema.Size() != kSchema)
    schema.Fail(std::to_string(kSchema));
  std::vector<TuningEntry> entries;
  for (const JsonView& item : view.At("entries").Items()) entries.push_back(ToEntry(item));
  return entries;
}

void StoreTuning(const std::string& path, std::vector<TuningEntry> entries) {
  Json list = Json::array();
  for (TuningEntry old : ReadableTuning(path)) {
    if (std::ranges::any_of(entries, [&](const TuningEntry& e) { return e.fastest && Rivals(e, old); }))
      old.fastest = false;
    const auto again = std::ranges::find_if(
        entries, [&](const TuningEntry& e) { return e.key == old.key && ShapeOf(e) == ShapeOf(old); });
    if (again == entries.end())
      list.push_back(ToJson(old));
    else if (old.fastest)
      again->fastest = true;  // measured anew, but not against other counts
  }
  for (const TuningEntry& e : entries) list.push_back(ToJson(e));
  const std::string text =
      Json{{"schema", kSchema}, {"entries", list}}.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
  std::error_code problem;  // shows again when the file is written
  fs::create_directories(fs::path(path).parent_path(), problem);
  try {
    WriteWholeFile(path, text);
  } catch (const Error& e) {
    throw Error(ErrorCode::kUnsupported,
                e.what() + std::string("; set XDG_CACHE_HOME to a folder that can hold it"));
  }
}

std::vector<HeadShape> HeadShapesOf(const ModelConfig& config) {
  const TextConfig& t = config.text;
  std::vector<HeadShape> shapes = {{t.head_dim, t.n_heads / t.n_kv_heads}};
  if (config.vision) shapes.push_back({config.vision->head_dim(), 1});
  return shapes;
}

size_t TunedThreads(const hw::CpuInfo& cpu, std::span<const HeadShape> heads) {
  const std::vector<TuningEntry> entries = ReadableTuning(TuningPath());
  for (const HeadShape& shape : heads)
    for (const TuningEntry& e : entries)
      if (e.fastest && ShapeOf(e) == shape && e.key == CurrentKey(cpu, e.key.threads) &&
          e.key.threads <= cpu.logical_cores)  // fewer may be allowed now than when it was measured
        return e.key.threads;
  return cpu.default_threads;
}

Tuning FindTuning(const hw::CpuInfo& cpu, size_t threads, const LogFn& log) {
  Tuning tuning{.plans = {}, .status = "none stored"};
  const std::string path = TuningPath();
  if (path.empty()) return tuning;
  std::vector<TuningEntry> entries;
  try {
    entries = ReadTuning(path);
  } catch (const Error& e) {
    return Ignored(std::move(tuning), e.what(), log);
  }
  if (entries.empty()) return tuning;
  const TuningKey mine = CurrentKey(cpu, threads);
  if (std::ranges::none_of(entries, [&](const TuningEntry& e) {
        return e.key.cpu == mine.cpu && e.key.version == mine.version;
      }))
    return Ignored(std::move(tuning),
                   path + ": of " + entries.front().key.cpu + ", version " + entries.front().key.version +
                       ", want " + mine.cpu + ", version " + mine.version,
                   log);
  tuning.plans = PlansFor(entries, mine);
  tuning.status = tuning.plans.empty() ? "none stored for " + mine.isa + " and " + std::to_string(threads) +
                                             " threads in " + path
                                       : path;
  return tuning;
}

}  // namespace qwen3vl
