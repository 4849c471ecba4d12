// SPDX-License-Identifier: Apache-2.0
// Builds GGUF files in memory for tests, sound or as broken as a test wants them. Written apart from the
// library's reader.
#pragma once

#include <cstdint>
#include <cstring>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace qwen3vl::test {

class GgufWriter {
 public:
  explicit GgufWriter(uint32_t version = 3, size_t alignment = 32)
      : version_(version), alignment_(alignment) {}

  // The types' numbers are those of the format: 4 u32, 5 i32, 6 f32, 7 bool, 8 string, 9 array.
  GgufWriter& U32(std::string_view key, uint32_t v) { return Raw(key, 4, Bytes(v)); }
  GgufWriter& I32(std::string_view key, int32_t v) { return Raw(key, 5, Bytes(v)); }
  GgufWriter& F32(std::string_view key, float v) { return Raw(key, 6, Bytes(v)); }
  GgufWriter& Bool(std::string_view key, bool v) { return Raw(key, 7, Bytes(static_cast<uint8_t>(v))); }
  GgufWriter& Str(std::string_view key, std::string_view v) { return Raw(key, 8, String(v)); }
  GgufWriter& Ints(std::string_view key, const std::vector<int32_t>& v) {
    std::string elements;
    for (const int32_t x : v) elements += Bytes(x);
    return Array(key, 5, v.size(), elements);
  }
  GgufWriter& Floats(std::string_view key, const std::vector<float>& v) {
    std::string elements;
    for (const float x : v) elements += Bytes(x);
    return Array(key, 6, v.size(), elements);
  }
  GgufWriter& Bools(std::string_view key, const std::vector<bool>& v) {
    std::string elements;
    for (const bool x : v) elements += x ? '\1' : '\0';
    return Array(key, 7, v.size(), elements);
  }
  GgufWriter& Strings(std::string_view key, const std::vector<std::string>& v) {
    std::string elements;
    for (const std::string& x : v) elements += String(x);
    return Array(key, 8, v.size(), elements);
  }
  // `count` need not be what `elements` hold.
  GgufWriter& Array(std::string_view key, uint32_t type, uint64_t count, std::string_view elements) {
    return Raw(key, 9, Bytes(type) + Bytes(count) + std::string(elements));
  }
  GgufWriter& Raw(std::string_view key, uint32_t type, std::string_view value) {
    if (skip_.erase(std::string(key)) > 0) return *this;
    keys_ += String(key) + Bytes(type) + std::string(value);
    ++n_keys_;
    return *this;
  }

  // `ne` is fastest first, as in the file.
  GgufWriter& Tensor(std::string_view name, const std::vector<uint64_t>& ne, uint32_t type,
                     std::string_view data) {
    TensorAt(name, ne, type, data_.size());
    data_ += data;
    data_.resize((data_.size() + alignment_ - 1) / alignment_ * alignment_);
    return *this;
  }
  // A directory entry alone.
  GgufWriter& TensorAt(std::string_view name, const std::vector<uint64_t>& ne, uint32_t type,
                       uint64_t offset) {
    if (skip_.erase(std::string(name)) > 0) return *this;
    directory_ += String(name) + Bytes(static_cast<uint32_t>(ne.size()));
    for (const uint64_t n : ne) directory_ += Bytes(n);
    directory_ += Bytes(type) + Bytes(offset);
    ++n_tensors_;
    return *this;
  }

  // The next key or tensor of that name is left out, so that a test can write its own.
  GgufWriter& Skip(std::string_view name) {
    skip_.emplace(name);
    return *this;
  }

  // Added to the true counts of the header.
  GgufWriter& MiscountKeys(uint64_t by) { return n_keys_ += by, *this; }
  GgufWriter& MiscountTensors(uint64_t by) { return n_tensors_ += by, *this; }

  std::string File() const {
    std::string file = "GGUF" + Bytes(version_) + Bytes(n_tensors_) + Bytes(n_keys_) + keys_ + directory_;
    file.resize((file.size() + alignment_ - 1) / alignment_ * alignment_);
    return file + data_;
  }

 private:
  template <class T>
  static std::string Bytes(T v) {
    std::string bytes(sizeof v, '\0');
    std::memcpy(bytes.data(), &v, sizeof v);
    return bytes;
  }
  static std::string String(std::string_view v) { return Bytes(uint64_t{v.size()}) + std::string(v); }

  uint32_t version_;
  size_t alignment_;
  uint64_t n_keys_ = 0, n_tensors_ = 0;
  std::string keys_, directory_, data_;
  std::set<std::string> skip_;
};

}  // namespace qwen3vl::test
