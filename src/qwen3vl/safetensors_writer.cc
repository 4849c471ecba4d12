// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <vector>

#include "hw/checked.h"
#include "nlohmann/json.hpp"
#include "qwen3vl/error.h"
#include "qwen3vl/safetensors.h"
#include "qwen3vl/whole_file.h"

namespace qwen3vl {
namespace {

namespace fs = std::filesystem;

std::string ErrnoText() { return std::generic_category().message(errno); }

// What `path` leads to. Refuses now, before hours of work, what the finished file must not replace.
std::string TargetOf(const std::string& path) {
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorCode::kNotFound, path + ": cannot be written: " + why);
  };
  const std::string target = FollowLinks(path);
  std::error_code problem;
  const fs::file_status status = fs::status(target, problem);
  if (!fs::exists(status)) return target;
  if (fs::is_directory(status)) refuse("is a folder, want the name of a file");
  if (!fs::is_regular_file(status)) refuse("is a device or pipe, want the name of a file");
  if (access(target.c_str(), W_OK) != 0) refuse(ErrnoText());
  return target;
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(std::string path)
    : path_(std::move(path)), target_(TargetOf(path_)), final_path_(DraftOf(target_)) {
  const std::string data_path = target_ + ".data." + std::to_string(getpid());
  data_ = Create(data_path);
  std::remove(data_path.c_str());  // the open file stays usable
}

SafetensorsWriter::~SafetensorsWriter() { std::remove(final_path_.c_str()); }

SafetensorsWriter::File SafetensorsWriter::Create(const std::string& path) const {
  File file(std::fopen(path.c_str(), "w+be"));
  if (!file) throw Error(ErrorCode::kNotFound, path_ + ": cannot be written: " + ErrnoText());
  return file;
}

void SafetensorsWriter::Write(std::FILE* file, const void* data, size_t size) const {
  if (size > 0 && std::fwrite(data, 1, size, file) != size)
    throw Error(ErrorCode::kOutOfMemory, path_ + ": writing failed: " + ErrnoText());
}

size_t SafetensorsWriter::Entry::bytes() const {
  size_t sum = 0;
  for (const Part& part : parts) sum += part.bytes;
  return sum;
}

SafetensorsWriter::Entry* SafetensorsWriter::Find(const std::string& name) {
  const auto at = std::ranges::find(entries_, name, &Entry::name);
  return at == entries_.end() ? nullptr : &*at;
}

void SafetensorsWriter::AddRows(const Rows& rows) {
  if (Find(rows.name))
    throw Error(ErrorCode::kInvalidArgument, path_ + ": tensor " + Quoted(rows.name) + ": added twice");
  AppendRows(rows);
}

void SafetensorsWriter::AppendRows(const Rows& rows) {
  const std::string where = path_ + ": tensor " + Quoted(rows.name);
  if (ElementCount(rows.shape, where) != rows.count)
    throw Error(ErrorCode::kInvalidArgument,
                where + ": " + std::to_string(rows.count) + " values for shape " + ShapeText(rows.shape));
  Entry* entry = Find(rows.name);
  if (entry) {
    Extend(*entry, rows);
  } else {
    entry = &entries_.emplace_back(Entry{rows.name, rows.type, rows.shape, {}});
  }
  Write(data_.get(), rows.bytes.data(), rows.bytes.size());
  entry->parts.push_back({data_bytes_, rows.bytes.size()});
  data_bytes_ += rows.bytes.size();
}

void SafetensorsWriter::Extend(Entry& entry, const Rows& rows) const {
  std::vector<size_t> shape = rows.shape;
  if (!shape.empty() && !entry.shape.empty())
    shape[0] = hw::CheckedAdd(shape[0], entry.shape[0], "tensor rows");
  if (shape.size() != entry.shape.size() || shape.empty() || std::string(rows.type) != entry.type ||
      !std::equal(shape.begin() + 1, shape.end(), entry.shape.begin() + 1))
    throw Error(ErrorCode::kInvalidArgument, path_ + ": tensor " + Quoted(rows.name) + ": rows " + rows.type +
                                                 " " + ShapeText(rows.shape) + " after " + entry.type + " " +
                                                 ShapeText(entry.shape));
  entry.shape = shape;
}

void SafetensorsWriter::Add(const std::string& name, const std::vector<size_t>& shape,
                            std::span<const float> values) {
  AddRows({name, "F32", shape, values.size(), std::as_bytes(values)});
}
void SafetensorsWriter::Add(const std::string& name, const std::vector<size_t>& shape,
                            std::span<const int32_t> values) {
  AddRows({name, "I32", shape, values.size(), std::as_bytes(values)});
}
void SafetensorsWriter::Add(const std::string& name, const std::vector<size_t>& shape,
                            std::span<const int64_t> values) {
  AddRows({name, "I64", shape, values.size(), std::as_bytes(values)});
}
void SafetensorsWriter::Add(const std::string& name, const std::vector<size_t>& shape,
                            std::span<const uint8_t> values) {
  AddRows({name, "U8", shape, values.size(), std::as_bytes(values)});
}
void SafetensorsWriter::Append(const std::string& name, const std::vector<size_t>& shape,
                               std::span<const float> values) {
  AppendRows({name, "F32", shape, values.size(), std::as_bytes(values)});
}
void SafetensorsWriter::Append(const std::string& name, const std::vector<size_t>& shape,
                               std::span<const int32_t> values) {
  AppendRows({name, "I32", shape, values.size(), std::as_bytes(values)});
}

std::string SafetensorsWriter::Header() const {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata_.empty()) header["__metadata__"] = metadata_;
  size_t begin = 0;
  for (const Entry& e : entries_) {
    const size_t end = begin + e.bytes();
    header[e.name] = {{"dtype", e.type}, {"shape", e.shape}, {"data_offsets", {begin, end}}};
    begin = end;
  }
  std::string text = header.dump(-1, ' ', /*ensure_ascii=*/false, nlohmann::json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');  // tensors of 8-byte types are then aligned
  return text;
}

void SafetensorsWriter::CopyTensors(std::FILE* out) const {
  std::vector<char> block(size_t{1} << 20);
  for (const Entry& e : entries_)
    for (const Part& part : e.parts) {
      bool read = fseeko(data_.get(), static_cast<off_t>(part.begin), SEEK_SET) == 0;
      for (size_t left = part.bytes; read && left > 0;) {
        const size_t n = std::min(left, block.size());
        read = std::fread(block.data(), 1, n, data_.get()) == n;
        if (read) Write(out, block.data(), n);
        left -= n;
      }
      if (!read) throw Error(ErrorCode::kOutOfMemory, path_ + ": writing failed: " + ErrnoText());
    }
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
  CopyTensors(out.get());
  if (std::fclose(out.release()) != 0)
    throw Error(ErrorCode::kOutOfMemory, path_ + ": writing failed: " + ErrnoText());
  if (std::rename(final_path_.c_str(), target_.c_str()) != 0)
    throw Error(ErrorCode::kNotFound, path_ + ": cannot be replaced: " + ErrnoText());
}

}  // namespace qwen3vl
