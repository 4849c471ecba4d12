// SPDX-License-Identifier: Apache-2.0
// Rows to JSON and back.
#include <cmath>
#include <nlohmann/json.hpp>

#include "qwen3vl/bench/row.h"
#include "qwen3vl/error.h"

namespace qwen3vl::bench {
namespace {

using Json = nlohmann::ordered_json;

template <class T>
Json Optional(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json StateJson(const MachineState& s) {
  return {{"governor", Optional(s.governor)},
          {"clock_mhz", Optional(s.clock_mhz)},
          {"temperature_c", Optional(s.temperature_c)},
          {"throttle_events", Optional(s.throttle_events)}};
}

// Columns: three lists instead of an object for every sample.
Json RoundsJson(const std::vector<RoundPeaks>& rounds) {
  Json fma = Json::array(), read = Json::array(), handover = Json::array();
  for (const RoundPeaks& r : rounds) {
    fma.push_back(r.fma_gflops);
    read.push_back(r.read_gbs);
    handover.push_back(Optional(r.handover_ns));
  }
  return {{"fma_gflops", fma}, {"read_gbs", read}, {"handover_ns", handover}};
}

Json PeaksJson(const Row& row) {
  if (!row.peaks) return nullptr;
  const Peaks& p = *row.peaks;
  return {{"fma_gflops", p.fma_gflops},
          {"fma_gflops_best", p.fma_gflops_best},
          {"read_gbs", p.read_gbs},
          {"read_gbs_best", p.read_gbs_best},
          {"fma_share", Optional(row.FmaShare())},
          {"fma_share_best", Optional(row.BestFmaShare())},
          {"read_share", Optional(row.ReadShare())},
          {"read_share_best", Optional(row.BestReadShare())},
          {"rounds", RoundsJson(row.round_peaks)}};
}

Json AccuracyJson(const std::optional<Accuracy>& a) {
  if (!a) return nullptr;
  return {{"max_abs", a->max_abs},
          {"rel_norm", a->rel_norm},
          {"checked", a->checked},
          {"reference", a->reference}};
}

Json RowJson(const Row& r) {
  Json shape = Json::object();
  for (const auto& [name, value] : r.shape) shape[name] = value;
  return {{"schema", kRowSchema},
          {"layer", r.layer},
          {"preset", r.preset},
          {"shape", shape},
          {"length", r.length},
          {"dtype", r.dtype},
          {"path", r.path},
          {"tile", r.tile ? Json(r.tile) : Json(nullptr)},
          {"q_rows", r.q_rows ? Json(r.q_rows) : Json(nullptr)},
          {"plan", r.plan},
          {"threads", r.threads},
          {"isa", r.isa},
          {"seconds",
           {{"min", r.stats.min},
            {"median", r.stats.median},
            {"mean", r.stats.mean},
            {"stddev", r.stats.stddev},
            {"p95", r.stats.p95}}},
          {"samples", r.samples},
          {"busy_samples", Optional(r.busy_samples)},
          {"calls_per_sample", r.calls_per_sample},
          {"flop", Optional(r.flop)},
          {"bytes", Optional(r.bytes)},
          {"formula", r.formula},
          {"gflops", Optional(r.Gflops())},
          {"gbs", Optional(r.Gbs())},
          {"tokens", Optional(r.tokens)},
          {"tokens_per_second", Optional(r.TokensPerSecond())},
          {"scratch_bytes", Optional(r.scratch_bytes)},
          {"peaks", PeaksJson(r)},
          {"accuracy", AccuracyJson(r.accuracy)},
          {"environment",
           {{"version", r.environment.version},
            {"build", r.environment.build},
            {"compiler", r.environment.compiler},
            {"flags", r.environment.flags},
            {"cpu", r.environment.cpu},
            {"physical_cores", r.environment.physical_cores}}},
          {"before", StateJson(r.before)},
          {"after", StateJson(r.after)},
          {"command", r.command}};
}

// Fills `value` from a member that may be null or missing.
template <class T>
void Read(const Json& json, const char* name, std::optional<T>& value) {
  if (const auto it = json.find(name); it != json.end() && !it->is_null()) value = it->get<T>();
}

MachineState ReadState(const Json& json) {
  MachineState s;
  Read(json, "governor", s.governor);
  Read(json, "clock_mhz", s.clock_mhz);
  Read(json, "temperature_c", s.temperature_c);
  Read(json, "throttle_events", s.throttle_events);
  return s;
}

// JSON has no NaN: what is not finite was written as null.
double ErrorOf(const Json& json) { return json.is_null() ? NAN : json.get<double>(); }

// Written since schema 1 began: rows of before have none.
void ReadRounds(const Json& json, Row& r) {
  const Json &fma = json.at("fma_gflops"), &read = json.at("read_gbs"), &handover = json.at("handover_ns");
  const size_t n = fma.size();
  if (read.size() != n || handover.size() != n || (n != 0 && n != r.samples.size()))
    throw Error(ErrorCode::kCorruptFile,
                "peaks of " + std::to_string(n) + ", " + std::to_string(read.size()) + " and " +
                    std::to_string(handover.size()) + " rounds, want " + std::to_string(r.samples.size()) +
                    " of each, as there are samples");
  for (size_t i = 0; i < n; ++i)
    r.round_peaks.push_back(
        {fma[i], read[i], handover[i].is_null() ? std::nullopt : std::optional<double>(handover[i])});
}

void ReadMeasured(const Json& json, Row& r) {
  json.at("samples").get_to(r.samples);
  if (r.samples.empty()) throw Error(ErrorCode::kCorruptFile, "a row without samples");
  r.stats = Summarize(r.samples);
  Read(json, "busy_samples", r.busy_samples);
  r.calls_per_sample = json.value("calls_per_sample", size_t{1});
  Read(json, "flop", r.flop);
  Read(json, "bytes", r.bytes);
  r.formula = json.value("formula", "");
  Read(json, "tokens", r.tokens);
  Read(json, "scratch_bytes", r.scratch_bytes);
  if (const Json& p = json.at("peaks"); !p.is_null()) {
    r.peaks = Peaks{p.at("fma_gflops"), p.at("fma_gflops_best"), p.at("read_gbs"), p.at("read_gbs_best")};
    if (p.contains("rounds")) ReadRounds(p.at("rounds"), r);
  }
  if (const Json& a = json.at("accuracy"); !a.is_null())
    r.accuracy =
        Accuracy{ErrorOf(a.at("max_abs")), ErrorOf(a.at("rel_norm")), a.at("checked"), a.at("reference")};
}

Row ReadRow(const Json& json) {
  const int schema = json.at("schema");
  if (schema != kRowSchema)
    throw Error(ErrorCode::kUnsupported,
                "schema " + std::to_string(schema) + ", want " + std::to_string(kRowSchema));
  Row r;
  json.at("layer").get_to(r.layer);
  json.at("preset").get_to(r.preset);
  for (const auto& [name, value] : json.at("shape").items()) r.shape.emplace_back(name, value.get<size_t>());
  r.length = json.value("length", size_t{0});
  json.at("dtype").get_to(r.dtype);
  json.at("path").get_to(r.path);
  std::optional<size_t> tile, q_rows;
  Read(json, "tile", tile);
  Read(json, "q_rows", q_rows);
  r.tile = tile.value_or(0);
  r.q_rows = q_rows.value_or(0);
  r.plan = json.value("plan", "");
  json.at("threads").get_to(r.threads);
  json.at("isa").get_to(r.isa);
  ReadMeasured(json, r);
  const Json& e = json.at("environment");
  r.environment = {e.at("version"), e.at("build"), e.at("compiler"),
                   e.at("flags"),   e.at("cpu"),   e.at("physical_cores")};
  r.before = ReadState(json.at("before"));
  r.after = ReadState(json.at("after"));
  r.command = json.value("command", "");
  return r;
}

std::vector<Row> ReadDocument(const Json& document) {
  std::vector<Row> rows;
  for (const Json& row : document.at("rows")) rows.push_back(ReadRow(row));
  return rows;
}

std::vector<Row> ReadLines(const std::string& text) {
  std::vector<Row> rows;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    if (text.find_first_not_of(" \t\r", begin) < end)
      rows.push_back(ReadRow(Json::parse(text.begin() + static_cast<std::ptrdiff_t>(begin),
                                         text.begin() + static_cast<std::ptrdiff_t>(end))));
    begin = end + 1;
  }
  return rows;
}

}  // namespace

std::string ToJsonLine(const Row& row) {
  return RowJson(row).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string ToJsonDocument(const std::vector<Row>& rows) {
  Json list = Json::array();
  for (const Row& row : rows) list.push_back(RowJson(row));
  return Json{{"schema", kRowSchema}, {"rows", list}}.dump(1, ' ', false, Json::error_handler_t::replace);
}

std::vector<Row> ParseRows(const std::string& text, const std::string& where) {
  try {
    const Json document = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    std::vector<Row> rows;
    if (document.is_discarded())
      rows = ReadLines(text);
    else
      rows = document.is_object() && document.contains("rows") ? ReadDocument(document)
                                                               : std::vector<Row>{ReadRow(document)};
    if (rows.empty()) throw Error(ErrorCode::kCorruptFile, "no rows");
    return rows;
  } catch (const Json::exception& e) {
    throw Error(ErrorCode::kCorruptFile,
                where + ": not a result of qwen3vl bench --format json or jsonl: " + e.what());
  } catch (const Error& e) {
    throw Error(ErrorCode::kCorruptFile, where + ": " + e.what());
  }
}

}  // namespace qwen3vl::bench
