// SPDX-License-Identifier: Apache-2.0
// Reads the recorded reference data: JSON and safetensors. Written apart from the library's own readers, so
// that a mistake there cannot hide itself. Throws std::runtime_error naming the file; gtest then fails the
// test with that text.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace qwen3vl::test {

// Absolute path of a file or folder of tests/data (paths as there; the archives are unpacked). When the
// environment variable QWEN3VL_GOLDEN_DIR names a folder that has it too, that one is taken: the complete
// recordings, of which tests/data holds a part.
std::string DataPath(std::string_view relative);
bool DataExists(std::string_view relative);

// One JSON document, or an array of the documents of a .jsonl file (one a line). Paths as for DataPath.
nlohmann::json ReadJson(std::string_view relative);
nlohmann::json ReadJsonLines(std::string_view relative);

struct GoldenTensor {
  std::string dtype;  // as the file has it: F64, F32, F16, BF16, I64, I32, U8
  std::vector<size_t> shape;
  std::string bytes;  // little-endian, row-major

  size_t size() const;  // number of elements
  // Converted copies; integers and floats of any width are accepted.
  std::vector<float> Floats() const;
  std::vector<double> Doubles() const;
  std::vector<int32_t> Ints() const;
};

// All tensors of one safetensors file.
class GoldenFile {
 public:
  // A path as for DataPath.
  explicit GoldenFile(std::string_view relative);
  // Any path, for files that the program under test wrote.
  static GoldenFile FromPath(const std::string& path);

  bool Has(const std::string& name) const { return tensors_.count(name) != 0; }
  // Throws when missing, with the names there are.
  const GoldenTensor& operator[](const std::string& name) const;
  const std::map<std::string, GoldenTensor>& tensors() const { return tensors_; }
  // The strings under "__metadata__".
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  GoldenFile() = default;
  std::string path_;
  std::map<std::string, GoldenTensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

// Limits of a float32 implementation, absolute: Tolerances in tests/data/README.md.
inline constexpr double kHiddenTolerance = 1e-4;  // hidden states and logits
inline constexpr double kMergedTolerance = 3e-5;  // rows of the merger and of deepstack
// That of a tensor of a whole-model case.
double ToleranceOfTensor(std::string_view name);
// That of a case of modules/attention.json.
double ToleranceOfAttention(const nlohmann::json& entry);

}  // namespace qwen3vl::test
