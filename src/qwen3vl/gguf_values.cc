// SPDX-License-Identifier: Apache-2.0
// Typed access to GGUF metadata. Lengths were checked when the file was opened.
#include <cmath>
#include <cstring>
#include <limits>

#include "qwen3vl/error.h"
#include "qwen3vl/gguf.h"

namespace qwen3vl {
namespace {

constexpr const char* kTypeNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                      "bool", "string", "array", "u64", "i64", "f64"};

template <class T>
T Load(const std::byte* data, size_t index) {
  T value;
  std::memcpy(&value, data + index * sizeof(T), sizeof(T));
  return value;
}

}  // namespace

const GgufFile::Value& GgufFile::Get(const std::string& key, bool is_array, const char* wanted) const {
  const auto it = values_.find(key);
  if (it == values_.end())
    throw Error(ErrorCode::kCorruptFile, path() + ": key " + Quoted(key) + " is missing, want " + wanted +
                                             ": convert the model again");
  if (it->second.is_array != is_array) Fail(key, it->second, wanted);
  return it->second;
}

void GgufFile::Fail(const std::string& key, const Value& value, const std::string& wanted) const {
  std::string found = kTypeNames[static_cast<uint32_t>(value.type)];
  if (value.is_array) found = "an array of " + found;
  if (!value.is_array) {
    const bool real = value.type == GgufValueType::kF32 || value.type == GgufValueType::kF64;
    if (const auto whole = IntAt(value, 0)) {
      found += " " + std::to_string(*whole);
    } else if (const auto number = NumberAt(value, 0)) {
      found += " " + std::to_string(*number);
    } else if (real) {
      found += " that is not finite";
    }
  }
  throw Error(ErrorCode::kCorruptFile, path() + ": key " + Quoted(key) + " is " + found + ", want " + wanted);
}

std::optional<int64_t> GgufFile::IntAt(const Value& value, size_t index) const {
  const std::byte* data = mapping_->data() + value.offset;
  switch (value.type) {
    case GgufValueType::kU8:
      return Load<uint8_t>(data, index);
    case GgufValueType::kI8:
      return Load<int8_t>(data, index);
    case GgufValueType::kU16:
      return Load<uint16_t>(data, index);
    case GgufValueType::kI16:
      return Load<int16_t>(data, index);
    case GgufValueType::kU32:
      return Load<uint32_t>(data, index);
    case GgufValueType::kI32:
      return Load<int32_t>(data, index);
    case GgufValueType::kI64:
      return Load<int64_t>(data, index);
    case GgufValueType::kU64: {
      const uint64_t wide = Load<uint64_t>(data, index);
      if (wide > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
      return static_cast<int64_t>(wide);
    }
    default:
      return std::nullopt;
  }
}

std::optional<double> GgufFile::NumberAt(const Value& value, size_t index) const {
  const std::byte* data = mapping_->data() + value.offset;
  double number;
  if (value.type == GgufValueType::kF32) {
    number = Load<float>(data, index);
  } else if (value.type == GgufValueType::kF64) {
    number = Load<double>(data, index);
  } else if (const auto whole = IntAt(value, index)) {
    number = static_cast<double>(*whole);
  } else {
    return std::nullopt;
  }
  if (!std::isfinite(number)) return std::nullopt;
  return number;
}

std::string_view GgufFile::StringAt(size_t& offset) const {
  const auto length = Load<uint64_t>(mapping_->data() + offset, 0);
  const std::string_view text(reinterpret_cast<const char*>(mapping_->data()) + offset + 8, length);
  offset += 8 + length;
  return text;
}

size_t GgufFile::Size(const std::string& key) const {
  constexpr const char* kWanted = "a whole number, not negative";
  const Value& value = Get(key, /*is_array=*/false, kWanted);
  const auto number = IntAt(value, 0);
  if (!number || *number < 0) Fail(key, value, kWanted);
  return static_cast<size_t>(*number);
}

double GgufFile::Number(const std::string& key) const {
  const Value& value = Get(key, /*is_array=*/false, "a number");
  const auto number = NumberAt(value, 0);
  if (!number) Fail(key, value, "a number");
  return *number;
}

bool GgufFile::Bool(const std::string& key) const {
  const Value& value = Get(key, /*is_array=*/false, "a bool");
  if (value.type != GgufValueType::kBool) Fail(key, value, "a bool");
  return Load<uint8_t>(mapping_->data() + value.offset, 0) != 0;
}

std::string GgufFile::String(const std::string& key) const {
  const Value& value = Get(key, /*is_array=*/false, "a string");
  if (value.type != GgufValueType::kString) Fail(key, value, "a string");
  size_t offset = value.offset;
  return std::string(StringAt(offset));
}

std::vector<std::string> GgufFile::Strings(const std::string& key) const {
  const Value& value = Get(key, /*is_array=*/true, "an array of strings");
  if (value.type != GgufValueType::kString) Fail(key, value, "an array of strings");
  std::vector<std::string> out;
  out.reserve(value.count);
  size_t offset = value.offset;
  for (size_t i = 0; i < value.count; ++i) out.emplace_back(StringAt(offset));
  return out;
}

std::vector<int64_t> GgufFile::Ints(const std::string& key) const {
  const Value& value = Get(key, /*is_array=*/true, "an array of whole numbers");
  std::vector<int64_t> out;
  for (size_t i = 0; i < value.count; ++i) {
    const auto number = IntAt(value, i);
    if (!number) Fail(key, value, "an array of whole numbers");
    out.push_back(*number);
  }
  return out;
}

std::vector<double> GgufFile::Numbers(const std::string& key) const {
  const Value& value = Get(key, /*is_array=*/true, "an array of numbers");
  std::vector<double> out;
  for (size_t i = 0; i < value.count; ++i) {
    const auto number = NumberAt(value, i);
    if (!number) Fail(key, value, "an array of numbers");
    out.push_back(*number);
  }
  return out;
}

std::vector<bool> GgufFile::Bools(const std::string& key) const {
  const Value& value = Get(key, /*is_array=*/true, "an array of bools");
  if (value.type != GgufValueType::kBool) Fail(key, value, "an array of bools");
  std::vector<bool> out;
  for (size_t i = 0; i < value.count; ++i)
    out.push_back(Load<uint8_t>(mapping_->data() + value.offset, i) != 0);
  return out;
}

}  // namespace qwen3vl
