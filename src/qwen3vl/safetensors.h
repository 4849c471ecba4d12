// SPDX-License-Identifier: Apache-2.0
// The safetensors container: eight bytes of header length, a JSON header, raw little-endian tensors.
// Reading maps the file; writing goes through temporary files, so that no half-written file stays.
#pragma once

#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "hw/mapped_file.h"
#include "qwen3vl/file_tensor.h"

namespace qwen3vl {

class SafetensorsFile {
 public:
  // Throws Error(kNotFound, kCorruptFile) naming file and tensor: header over 100 MB or cut short, ranges
  // outside the file or overlapping, sizes that contradict type and shape, bytes that belong to no tensor at
  // the end.
  static SafetensorsFile Open(const std::string& path);

  const std::vector<FileTensor>& tensors() const { return tensors_; }
  const FileTensor* Find(const std::string& name) const;  // null when there is none
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  // What keeps the tensors' bytes alive.
  const std::shared_ptr<hw::MappedFile>& mapping() const { return mapping_; }

 private:
  std::shared_ptr<hw::MappedFile> mapping_;
  std::vector<FileTensor> tensors_;  // in the order of their names
  std::unordered_map<std::string, size_t> index_;
  std::map<std::string, std::string> metadata_;
};

// Writes tensors as they come, whole or by rows, so that none has to stay in memory. Until Finish() all lies
// in a file beside `path` that has no name, so that nothing is left whatever ends the process.
class SafetensorsWriter {
 public:
  // Throws Error(kNotFound) when nothing can be written there.
  explicit SafetensorsWriter(std::string path);
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  // The values lie dense and row-major. Throws Error(kInvalidArgument) for a repeated name or a count that
  // contradicts the shape, kOutOfMemory when the disk is full.
  void Add(const std::string& name, const std::vector<size_t>& shape, std::span<const float> values);
  void Add(const std::string& name, const std::vector<size_t>& shape, std::span<const int32_t> values);
  void Add(const std::string& name, const std::vector<size_t>& shape, std::span<const int64_t> values);
  void Add(const std::string& name, const std::vector<size_t>& shape, std::span<const uint8_t> values);
  // Rows [n, ...] after those that the tensor has already, along the first axis; the first call adds it.
  // Tensors may take turns. Throws as Add, and for a type or a shape of rows that differs.
  void Append(const std::string& name, const std::vector<size_t>& shape, std::span<const float> values);
  void Append(const std::string& name, const std::vector<size_t>& shape, std::span<const int32_t> values);
  void SetMetadata(const std::string& key, const std::string& value) { metadata_[key] = value; }

  // Writes header and data to their place in one rename.
  void Finish();

 private:
  struct Part {
    size_t begin, bytes;  // in the file of tensors alone
  };
  struct Entry {
    std::string name;
    const char* type;
    std::vector<size_t> shape;
    std::vector<Part> parts;
    size_t bytes() const;
  };
  struct Close {
    void operator()(std::FILE* f) const { std::fclose(f); }
  };
  using File = std::unique_ptr<std::FILE, Close>;

  struct Rows {
    const std::string& name;
    const char* type;
    const std::vector<size_t>& shape;
    size_t count;  // of values
    std::span<const std::byte> bytes;
  };
  void AddRows(const Rows& rows);
  void AppendRows(const Rows& rows);
  void Extend(Entry& entry, const Rows& rows) const;
  Entry* Find(const std::string& name);
  std::string Header() const;
  void CopyTensors(std::FILE* out) const;
  File Create(const std::string& path) const;
  void Write(std::FILE* file, const void* data, size_t size) const;

  std::string path_;                 // as given
  std::string target_, final_path_;  // where it leads to; whole file before the rename
  File data_;                        // the tensors alone
  size_t data_bytes_ = 0;
  std::vector<Entry> entries_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace qwen3vl
