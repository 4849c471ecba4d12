// SPDX-License-Identifier: Apache-2.0
#include "support/golden.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <stdexcept>

#include "hw/float16.h"
#include "support/temp_dir.h"

namespace qwen3vl::test {
namespace {

[[noreturn]] void Fail(const std::string& path, const std::string& what) {
  throw std::runtime_error(path + ": " + what);
}

size_t ElementBytes(const std::string& dtype) {
  if (dtype == "F64" || dtype == "I64") return 8;
  if (dtype == "F32" || dtype == "I32") return 4;
  if (dtype == "F16" || dtype == "BF16") return 2;
  if (dtype == "U8" || dtype == "I8" || dtype == "BOOL") return 1;
  throw std::runtime_error("unknown dtype " + dtype);
}

template <class Stored, class Out>
std::vector<Out> Cast(const GoldenTensor& t, Out (*convert)(Stored)) {
  std::vector<Out> out(t.size());
  for (size_t i = 0; i < out.size(); ++i) {
    Stored value;
    std::memcpy(&value, t.bytes.data() + i * sizeof(Stored), sizeof(Stored));
    out[i] = convert(value);
  }
  return out;
}

template <class Out>
std::vector<Out> Convert(const GoldenTensor& t) {
  if (t.dtype == "F64") return Cast<double, Out>(t, [](double x) { return static_cast<Out>(x); });
  if (t.dtype == "F32") return Cast<float, Out>(t, [](float x) { return static_cast<Out>(x); });
  if (t.dtype == "F16")
    return Cast<hw::F16, Out>(t, [](hw::F16 x) { return static_cast<Out>(hw::ToFloat(x)); });
  if (t.dtype == "BF16")
    return Cast<hw::BF16, Out>(t, [](hw::BF16 x) { return static_cast<Out>(hw::ToFloat(x)); });
  if (t.dtype == "I64") return Cast<int64_t, Out>(t, [](int64_t x) { return static_cast<Out>(x); });
  if (t.dtype == "I32") return Cast<int32_t, Out>(t, [](int32_t x) { return static_cast<Out>(x); });
  if (t.dtype == "I8") return Cast<int8_t, Out>(t, [](int8_t x) { return static_cast<Out>(x); });
  return Cast<uint8_t, Out>(t, [](uint8_t x) { return static_cast<Out>(x); });
}

GoldenTensor ReadTensor(const std::string& path, const std::string& name, const nlohmann::json& entry,
                        std::string_view data) {
  GoldenTensor t;
  t.dtype = entry.at("dtype");
  t.shape = entry.at("shape").get<std::vector<size_t>>();
  const size_t begin = entry.at("data_offsets").at(0), end = entry.at("data_offsets").at(1);
  if (begin > end || end > data.size()) Fail(path, name + " lies outside the file");
  if (end - begin != t.size() * ElementBytes(t.dtype)) Fail(path, name + " has a size unlike its shape");
  t.bytes = data.substr(begin, end - begin);
  return t;
}

}  // namespace

std::string DataPath(std::string_view relative) {
  if (const char* complete = std::getenv("QWEN3VL_GOLDEN_DIR")) {
    const std::filesystem::path path = std::filesystem::path(complete) / relative;
    if (std::filesystem::exists(path)) return path.string();
  }
  return (std::filesystem::path(QWEN3VL_TEST_DATA) / relative).string();
}

bool DataExists(std::string_view relative) { return std::filesystem::exists(DataPath(relative)); }

nlohmann::json ReadJson(std::string_view relative) {
  return nlohmann::json::parse(ReadFile(DataPath(relative)));
}

nlohmann::json ReadJsonLines(std::string_view relative) {
  nlohmann::json out = nlohmann::json::array();
  std::istringstream lines(ReadFile(DataPath(relative)));
  for (std::string line; std::getline(lines, line);)
    if (!line.empty()) out.push_back(nlohmann::json::parse(line));
  return out;
}

size_t GoldenTensor::size() const {
  size_t n = 1;
  for (const size_t extent : shape) n *= extent;
  return n;
}

std::vector<float> GoldenTensor::Floats() const { return Convert<float>(*this); }
std::vector<double> GoldenTensor::Doubles() const { return Convert<double>(*this); }
std::vector<int32_t> GoldenTensor::Ints() const { return Convert<int32_t>(*this); }

GoldenFile::GoldenFile(std::string_view relative) { *this = FromPath(DataPath(relative)); }

GoldenFile GoldenFile::FromPath(const std::string& path) {
  const std::string file = ReadFile(path);
  uint64_t header_bytes = 0;
  if (file.size() < sizeof(header_bytes)) Fail(path, "too short for safetensors");
  std::memcpy(&header_bytes, file.data(), sizeof(header_bytes));
  if (header_bytes > file.size() - sizeof(header_bytes)) Fail(path, "header lies outside the file");
  const std::string_view rest = std::string_view(file).substr(sizeof(header_bytes));
  const nlohmann::json header = nlohmann::json::parse(rest.substr(0, header_bytes));
  GoldenFile out;
  out.path_ = path;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__")
      out.metadata_ = entry.get<std::map<std::string, std::string>>();
    else
      out.tensors_[name] = ReadTensor(path, name, entry, rest.substr(header_bytes));
  }
  return out;
}

const GoldenTensor& GoldenFile::operator[](const std::string& name) const {
  const auto it = tensors_.find(name);
  if (it != tensors_.end()) return it->second;
  std::string names;
  for (const auto& [known, tensor] : tensors_) names += " " + known;
  Fail(path_, "no tensor " + name + "; there are:" + names);
}

double ToleranceOfTensor(std::string_view name) {
  const bool merged =
      name.find("merger") != std::string_view::npos || name.find("deepstack.") != std::string_view::npos;
  return merged ? kMergedTolerance : kHiddenTolerance;
}

double ToleranceOfAttention(const nlohmann::json& entry) {
  const std::string name = entry["name"];
  if (name.starts_with("huge_decode")) return 5e-5;
  if (name == "bias_big") return 5e-4;
  return 1e-5 * std::max(1.0, entry["v_amp"].get<double>());
}

}  // namespace qwen3vl::test
