// SPDX-License-Identifier: Apache-2.0
// The GGUF container, versions 2 and 3, little-endian: metadata by key, a directory of tensors, their data
// mapped. A model may be split over several such files.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "hw/mapped_file.h"
#include "qwen3vl/file_tensor.h"

namespace qwen3vl {

// The types of metadata values, numbered as in the file.
enum class GgufValueType : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64,
};

class GgufFile {
 public:
  // Reads header and directory; every length is checked against the file before it is used. Throws
  // Error(kNotFound, kCorruptFile, kUnsupported) naming file and key or tensor.
  static GgufFile Open(const std::string& path);

  const std::string& path() const { return mapping_->path(); }
  // What keeps the tensors' bytes alive.
  const std::shared_ptr<hw::MappedFile>& mapping() const { return mapping_; }

  bool Has(const std::string& key) const { return values_.count(key) != 0; }
  // The typed readers throw Error(kCorruptFile) with file, key, found and wanted; numbers of any width serve.
  size_t Size(const std::string& key) const;    // whole, not negative
  double Number(const std::string& key) const;  // finite
  bool Bool(const std::string& key) const;
  std::string String(const std::string& key) const;
  std::vector<std::string> Strings(const std::string& key) const;  // of an array
  std::vector<int64_t> Ints(const std::string& key) const;
  std::vector<double> Numbers(const std::string& key) const;
  std::vector<bool> Bools(const std::string& key) const;

  // In file order; shapes outermost first.
  const std::vector<FileTensor>& tensors() const { return tensors_; }
  const FileTensor* Find(const std::string& name) const;  // null when there is none
  // Bytes after the last tensor and its padding: harmless, but a sign of a damaged file.
  size_t trailing_bytes() const { return trailing_bytes_; }

 private:
  struct Value {
    GgufValueType type = GgufValueType::kU8;  // of the elements, for an array
    bool is_array = false;
    size_t count = 1;
    size_t offset = 0;  // of the first element in the file
  };
  class Parser;

  const Value& Get(const std::string& key, bool is_array, const char* wanted) const;
  [[noreturn]] void Fail(const std::string& key, const Value& value, const std::string& wanted) const;
  std::optional<int64_t> IntAt(const Value& value, size_t index) const;
  std::optional<double> NumberAt(const Value& value, size_t index) const;
  std::string_view StringAt(size_t& offset) const;

  std::shared_ptr<hw::MappedFile> mapping_;
  std::map<std::string, Value> values_;
  std::vector<FileTensor> tensors_;
  std::map<std::string, size_t> index_;
  size_t trailing_bytes_ = 0;
};

// All parts of the model that `path` belongs to, in order (one, if it is not split). Any part may be named.
// Throws Error(kNotFound) for a part that is missing, kCorruptFile when the parts contradict each other.
std::vector<GgufFile> OpenGgufParts(const std::string& path);
// The first part of the split model that `path` is named as a part of; `path` itself when it is not.
std::string FirstGgufPart(const std::string& path);

}  // namespace qwen3vl
