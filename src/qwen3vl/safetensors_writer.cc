// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <vector>

#include "nlohmann/json.hpp"
#include "qwen3vl/error.h"
#include "qwen3vl/safetensors.h"

namespace qwen3vl {
namespace {

std::string ErrnoText() { return std::generic_category().message(errno); }

}  // namespace

// The process id keeps two writers of one target apart.
SafetensorsWriter::SafetensorsWriter(std::string path)
    : path_(std::move(path)),
      data_path_(path_ + ".data." + std::to_string(getpid())),
      final_path_(path_ + ".part." + std::to_string(getpid())),
      data_(Create(data_path_)) {}

SafetensorsWriter::~SafetensorsWriter() {
  std::remove(data_path_.c_str());
  std::remove(final_path_.c_str());
}

SafetensorsWriter::File SafetensorsWriter::Create(const std::string& path) const {
  File file(std::fopen(path.c_str(), "w+be"));
  if (!file) throw Error(ErrorCode::kNotFound, path_ + ": cannot be written: " + ErrnoText());
  return file;
}

void SafetensorsWriter::Write(std::FILE* file, const void* data, size_t size) const {
  if (size > 0 && std::fwrite(data, 1, size, file) != size)
    throw Error(ErrorCode::kOutOfMemory, path_ + ": writing failed: " + ErrnoText());
}

void SafetensorsWriter::AddBytes(const std::string& name, const char* type, const std::vector<size_t>& shape,
                                 size_t count, std::span<const std::byte> bytes) {
  const std::string where = path_ + ": tensor " + Quoted(name);
  const size_t wanted = ElementCount(shape, where);
  if (wanted != count)
    throw Error(ErrorCode::kInvalidArgument,
                where + ": " + std::to_string(count) + " values for shape " + ShapeText(shape));
  if (std::any_of(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.name == name; }))
    throw Error(ErrorCode::kInvalidArgument, where + ": added twice");
  const size_t begin = entries_.empty() ? 0 : entries_.back().end;
  Write(data_.get(), bytes.data(), bytes.size());
  entries_.push_back({name, type, shape, begin, begin + bytes.size()});
}

void SafetensorsWriter::Add(const std::string& name, const std::vector<size_t>& shape,
                            std::span<const float> values) {
  AddBytes(name, "F32", shape, values.size(), std::as_bytes(values));
}
void SafetensorsWriter::Add(const std::string& name, const std::vector<size_t>& shape,
                            std::span<const int32_t> values) {
  AddBytes(name, "I32", shape, values.size(), std::as_bytes(values));
}
void SafetensorsWriter::Add(const std::string& name, const std::vector<size_t>& shape,
                            std::span<const int64_t> values) {
  AddBytes(name, "I64", shape, values.size(), std::as_bytes(values));
}
void SafetensorsWriter::Add(const std::string& name, const std::vector<size_t>& shape,
                            std::span<const uint8_t> values) {
  AddBytes(name, "U8", shape, values.size(), std::as_bytes(values));
}

std::string SafetensorsWriter::Header() const {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata_.empty()) header["__metadata__"] = metadata_;
  for (const Entry& e : entries_)
    header[e.name] = {{"dtype", e.type}, {"shape", e.shape}, {"data_offsets", {e.begin, e.end}}};
  std::string text = header.dump(-1, ' ', /*ensure_ascii=*/false, nlohmann::json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');  // tensors of 8-byte types are then aligned
  return text;
}

void SafetensorsWriter::Finish() {
  const std::string header = Header();
  File out = Create(final_path_);
  char length[8];
  for (size_t i = 0; i < sizeof length; ++i)
    length[i] = static_cast<char>(uint64_t{header.size()} >> (8 * i));
  Write(out.get(), length, sizeof length);
  Write(out.get(), header.data(), header.size());
  if (std::fflush(data_.get()) != 0)
    throw Error(ErrorCode::kOutOfMemory, path_ + ": writing failed: " + ErrnoText());
  std::rewind(data_.get());
  std::vector<char> block(size_t{1} << 20);
  while (const size_t n = std::fread(block.data(), 1, block.size(), data_.get()))
    Write(out.get(), block.data(), n);
  if (std::ferror(data_.get()) || std::fclose(out.release()) != 0)
    throw Error(ErrorCode::kOutOfMemory, path_ + ": writing failed: " + ErrnoText());
  if (std::rename(final_path_.c_str(), path_.c_str()) != 0)
    throw Error(ErrorCode::kNotFound, path_ + ": cannot be replaced: " + ErrnoText());
}

}  // namespace qwen3vl
