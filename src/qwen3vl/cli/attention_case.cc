// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cli/attention_case.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <map>

#include "attention/row_codec.h"
#include "hw/checked.h"
#include "qwen3vl/cli/failure.h"
#include "qwen3vl/cli/options.h"
#include "qwen3vl/cli/text_format.h"
#include "qwen3vl/safetensors.h"

namespace qwen3vl::cli {
namespace {

using Metadata = std::map<std::string, std::string>;

[[noreturn]] void Refuse(const std::string& where, const std::string& found, const std::string& wanted) {
  throw Failure(kBadFile, where + ": " + OneLine(found) + ", want " + wanted);
}

const FileTensor& Require(const SafetensorsFile& file, const std::string& path, const std::string& name) {
  const FileTensor* tensor = file.Find(name);
  if (!tensor) Refuse(path, "no tensor " + name, "q, k and v");
  return *tensor;
}

void CheckShape(const std::string& path, const FileTensor& t, const std::vector<size_t>& wanted) {
  if (t.shape != wanted) Refuse(path + ": " + t.name, "shape " + FormatShape(t.shape), FormatShape(wanted));
}

template <class T>
T ParseNumber(const std::string& where, const std::string& text) {
  T value{};
  const char* end = text.data() + text.size();
  const auto [stopped, problem] = std::from_chars(text.data(), end, value);
  if (problem != std::errc() || stopped != end || text.empty())
    Refuse(where, "'" + text + "'", std::is_integral_v<T> ? "a whole number" : "a number");
  return value;
}

std::vector<size_t> ParseSizes(const std::string& where, const std::string& text) {
  std::vector<size_t> out;
  for (const std::string& item : SplitList(text, ',')) out.push_back(ParseNumber<size_t>(where, item));
  return out;
}

// The metadata that say how the problem is solved, into everything but `segments` of the mask.
void ReadConditions(const std::string& path, const Metadata& metadata, attention::Inputs& in,
                    std::vector<size_t>& segments) {
  const auto given = [&](const char* key) -> const std::string* {
    const auto at = metadata.find(key);
    return at == metadata.end() || at->second.empty() ? nullptr : &at->second;
  };
  const auto where = [&](const char* key) { return path + ": metadata " + key; };
  if (const auto* text = given("scale")) {
    in.scale = ParseNumber<float>(where("scale"), *text);
    if (in.scale == 0) Refuse(where("scale"), "'" + *text + "'", "a number other than 0");
  }
  if (const auto* text = given("softcap")) in.softcap = ParseNumber<float>(where("softcap"), *text);
  if (const auto* text = given("window")) in.mask.window = ParseNumber<size_t>(where("window"), *text);
  if (const auto* text = given("causal")) {
    if (*text != "0" && *text != "1") Refuse(where("causal"), "'" + *text + "'", "0 or 1");
    in.mask.causal = *text == "1";
  }
  if (const auto* text = given("valid_range")) {
    const std::vector<size_t> range = ParseSizes(where("valid_range"), *text);
    if (range.size() != 2 || range[0] > range[1])
      Refuse(where("valid_range"), "'" + *text + "'", "begin,end");
    in.mask.kv_begin = range[0];
    in.mask.kv_end = range[1];
  }
  if (const auto* text = given("segments")) segments = ParseSizes(where("segments"), *text);
}

}  // namespace

AttentionCase::AttentionCase(const std::string& path) : path_(path) {
  const SafetensorsFile file = SafetensorsFile::Open(path);
  const FileTensor& q = Require(file, path, "q");
  const FileTensor& k = Require(file, path, "k");
  const FileTensor& v = Require(file, path, "v");
  for (const FileTensor* t : {&q, &k})
    if (t->shape.size() != 3)
      Refuse(path + ": " + t->name, "shape " + FormatShape(t->shape), "[heads, length, head_dim]");
  attention::Shape& s = inputs_.shape;
  s = {.batch = 1,
       .q_len = q.shape[1],
       .kv_len = k.shape[1],
       .n_heads = q.shape[0],
       .n_kv_heads = k.shape[0],
       .head_dim = q.shape[2]};
  CheckShape(path, k, {s.n_kv_heads, s.kv_len, s.head_dim});
  CheckShape(path, v, {s.n_kv_heads, s.kv_len, s.head_dim});

  // Copies: the file promises no alignment.
  const auto take = [&](const FileTensor& t, size_t length, Operand& operand) -> attention::TensorRef {
    if (!t.format || !attention::IsRowFormat(*t.format))
      Refuse(path + ": " + t.name, "type " + t.type, "F32, F16 or BF16");
    operand.format = *t.format;
    operand.bytes = hw::AlignedBuffer<std::byte>(std::max<size_t>(t.bytes, 1));
    if (t.bytes) std::memcpy(operand.bytes.data(), t.data, t.bytes);
    return {.data = operand.bytes.data(),
            .format = operand.format,
            .batch_stride = 0,
            .row_stride = s.head_dim,
            .head_stride = hw::CheckedMul(length, s.head_dim, "attention")};
  };
  inputs_.q = take(q, s.q_len, q_);
  inputs_.k = take(k, s.kv_len, k_);
  inputs_.v = take(v, s.kv_len, v_);

  if (const FileTensor* bias = file.Find("bias")) {
    if (bias->format != hw::Format::kF32) Refuse(path + ": bias", "type " + bias->type, "F32");
    inputs_.mask.bias_heads = bias->shape.size() == 3 && bias->shape[0] == 1 ? 1 : s.n_heads;
    CheckShape(path, *bias, {inputs_.mask.bias_heads, s.q_len, s.kv_len});
    bias_ = hw::AlignedBuffer<float>(std::max<size_t>(bias->bytes / sizeof(float), 1));
    if (bias->bytes) std::memcpy(bias_.data(), bias->data, bias->bytes);
    inputs_.mask.bias = bias_.data();
  }
  if (const FileTensor* mask = file.Find("mask")) {
    if (mask->type != "U8" && mask->type != "BOOL") Refuse(path + ": mask", "type " + mask->type, "U8");
    CheckShape(path, *mask, {s.q_len, s.kv_len});
    allowed_.resize(std::max<size_t>(mask->bytes, 1));
    if (mask->bytes) std::memcpy(allowed_.data(), mask->data, mask->bytes);
    inputs_.mask.allowed = allowed_.data();
  }
  ReadConditions(path, file.metadata(), inputs_, segments_);
  inputs_.mask.segments = segments_;
}

hw::AlignedBuffer<float> AttentionCase::RowsByToken(const Operand& operand) const {
  const attention::Shape& s = inputs_.shape;
  hw::AlignedBuffer<float> rows(hw::CheckedProduct({s.kv_len, s.n_kv_heads, s.head_dim}, "attention"));
  const size_t row_bytes = hw::RowBytes(operand.format, s.head_dim);
  for (size_t h = 0; h < s.n_kv_heads; ++h)
    for (size_t i = 0; i < s.kv_len; ++i)
      attention::DecodeRow(operand.format, operand.bytes.data() + (h * s.kv_len + i) * row_bytes, s.head_dim,
                           rows.data() + (i * s.n_kv_heads + h) * s.head_dim);
  return rows;
}

void AttentionCase::UseCache(hw::Format format) {
  const attention::Shape& s = inputs_.shape;
  cache_ =
      std::make_unique<attention::KvCache>(attention::KvCacheShape{.n_layers = 1,
                                                                   .n_kv_heads = s.n_kv_heads,
                                                                   .head_dim = s.head_dim,
                                                                   .capacity = std::max<size_t>(s.kv_len, 1),
                                                                   .format = format});
  const hw::AlignedBuffer<float> k = RowsByToken(k_), v = RowsByToken(v_);
  const size_t width = s.n_kv_heads * s.head_dim;
  cache_->Append(0, {k.data(), s.kv_len, width}, {v.data(), s.kv_len, width});
  inputs_.cache = &cache_->layer(0);
}

}  // namespace qwen3vl::cli
