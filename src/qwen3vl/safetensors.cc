// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "qwen3vl/error.h"
#include "qwen3vl/json_view.h"

namespace qwen3vl {
namespace {

constexpr size_t kMaxHeaderBytes = 100'000'000;
constexpr size_t kLengthBytes = 8;
constexpr size_t kMaxDims = 16;  // real tensors have five at most

struct TypeInfo {
  std::string_view name;
  size_t bytes;
  std::optional<hw::Format> format;
};

constexpr std::array<TypeInfo, 16> kTypes = {{{"F64", 8, {}},
                                              {"F32", 4, hw::Format::kF32},
                                              {"F16", 2, hw::Format::kF16},
                                              {"BF16", 2, hw::Format::kBF16},
                                              {"I64", 8, {}},
                                              {"I32", 4, {}},
                                              {"I16", 2, {}},
                                              {"I8", 1, {}},
                                              {"U64", 8, {}},
                                              {"U32", 4, {}},
                                              {"U16", 2, {}},
                                              {"U8", 1, {}},
                                              {"BOOL", 1, {}},
                                              {"F8_E4M3", 1, {}},
                                              {"F8_E5M2", 1, {}},
                                              {"C64", 8, {}}}};

[[noreturn]] void Corrupt(const std::string& where, const std::string& what) {
  throw Error(ErrorCode::kCorruptFile, where + ": " + what);
}

// The JSON header; `data_begin` is where the tensors start.
std::string_view HeaderText(const hw::MappedFile& file, size_t& data_begin) {
  if (file.size() < kLengthBytes)
    Corrupt(file.path(), std::to_string(file.size()) + " bytes, too short for a safetensors file");
  uint64_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) length |= std::to_integer<uint64_t>(file.data()[i]) << (8 * i);
  if (length > kMaxHeaderBytes)
    Corrupt(file.path(), "header of " + std::to_string(length) +
                             " bytes, want at most 100000000: is this a safetensors file?");
  if (length > file.size() - kLengthBytes)
    Corrupt(file.path(), "header of " + std::to_string(length) + " bytes in a file of " +
                             std::to_string(file.size()) + ": the file is cut short, fetch it again");
  data_begin = kLengthBytes + length;
  return {reinterpret_cast<const char*>(file.data()) + kLengthBytes, length};
}

FileTensor ReadEntry(const std::string& name, const JsonView& entry, const hw::MappedFile& file,
                     size_t data_begin) {
  FileTensor t;
  t.name = name;
  t.file = file.path();
  t.type = entry.At("dtype").String();
  t.shape = entry.At("shape").Sizes(kMaxDims);
  const std::vector<size_t> range = entry.At("data_offsets").Sizes(/*most=*/2);
  const std::string where = file.path() + ": tensor " + Quoted(name);
  if (range.size() != 2 || range[0] > range[1])
    Corrupt(where, "data_offsets " + ShapeText(range) + ", want [begin, end]");
  if (range[1] > file.size() - data_begin)
    Corrupt(where, "ends at byte " + std::to_string(range[1]) + " of the data, the file has " +
                       std::to_string(file.size() - data_begin) + ": it is cut short, fetch it again");
  t.data = file.data() + data_begin + range[0];
  t.bytes = range[1] - range[0];
  const size_t count = ElementCount(t.shape, where);
  const auto type =
      std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeInfo& i) { return i.name == t.type; });
  if (type == kTypes.end()) return t;  // of a type unknown here: harmless unless the model needs it
  t.format = type->format;
  if (t.bytes % type->bytes != 0 || t.bytes / type->bytes != count)
    Corrupt(where, std::to_string(t.bytes) + " bytes, want " + std::to_string(count) + " elements of " +
                       t.type + " for shape " + ShapeText(t.shape));
  return t;
}

}  // namespace

SafetensorsFile SafetensorsFile::Open(const std::string& path) {
  SafetensorsFile out;
  out.mapping_ = std::make_shared<hw::MappedFile>(hw::MappedFile::Open(path));
  const hw::MappedFile& file = *out.mapping_;
  RejectLfsPointer(file.data(), file.size(), path);
  size_t data_begin = 0;
  const std::string_view text = HeaderText(file, data_begin);
  if (!text.starts_with('{')) Corrupt(path, "the header is no JSON object: is this a safetensors file?");
  const nlohmann::json header = ParseJson(text, path);
  const JsonView view(header, path);
  const std::byte* end = file.data() + data_begin;
  for (const auto& item : header.items()) {
    if (item.value().is_null()) Corrupt(path, "tensor " + Quoted(item.key()) + " is null, want an object");
    const JsonView entry = view.At(item.key());
    if (item.key() == "__metadata__") {
      if (!entry.is_object()) entry.Fail("an object of strings");
      for (const auto& pair : item.value().items()) out.metadata_[pair.key()] = entry.At(pair.key()).String();
      continue;
    }
    out.index_[item.key()] = out.tensors_.size();
    out.tensors_.push_back(ReadEntry(item.key(), entry, file, data_begin));
    end = std::max(end, out.tensors_.back().data + out.tensors_.back().bytes);
  }
  CheckNoOverlap(out.tensors_);
  const size_t excess = static_cast<size_t>(file.data() + file.size() - end);
  if (excess > 0)
    Corrupt(path, std::to_string(excess) + " bytes at the end belong to no tensor: fetch the file again");
  return out;
}

const FileTensor* SafetensorsFile::Find(const std::string& name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

}  // namespace qwen3vl
