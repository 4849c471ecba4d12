// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/bind_weights.h"

#include <cstring>

#include "hw/checked.h"
#include "qwen3vl/error.h"
#include "qwen3vl/quant.h"
#include "qwen3vl/weights_table.h"

namespace qwen3vl {
namespace {

const char* OutputName(Naming naming) { return naming == Naming::kGguf ? "output.weight" : "lm_head.weight"; }

[[noreturn]] void UnsupportedType(const FileTensor& t) {
  throw Error(ErrorCode::kUnsupported, t.file + ": tensor " + Quoted(t.name) + " has type " + Quoted(t.type) +
                                           ", want F32, F16, BF16 or a GGUF block format: use another "
                                           "conversion of this model");
}

void ConvertF64(const FileTensor& t, float* out) {
  for (size_t i = 0; i < t.bytes / sizeof(double); ++i) {
    double value;
    std::memcpy(&value, t.data + i * sizeof value, sizeof value);
    out[i] = static_cast<float>(value);
  }
}

// Any number of dimensions, as float32.
Vector FloatsOf(const FileTensor& t) {
  const size_t count = ElementCount(t.shape, t.file + ": tensor " + Quoted(t.name));
  Vector out(count);
  if (t.format) {
    DequantizeRow(*t.format, t.data, count, out.data());
  } else if (t.type == "F64") {
    ConvertF64(t, out.data());
  } else {
    UnsupportedType(t);
  }
  return out;
}

void BindRow(const BindSource& source, const TensorRow& row) {
  const FileTensor& t = RequireTensor(source, source.naming == Naming::kGguf ? row.gguf : row.hf);
  RequireShape(t, row.shape);
  if (row.matrix) {
    *row.matrix = MatrixOf(t, row.shape[0], row.shape[1]);
    source.progress.Mapped(t.data, t.bytes);
  } else {
    *row.vector = FloatsOf(t);
    source.progress.Done(t.bytes);
  }
}

// GGUF keeps one filter [dim, 3, patch, patch] for each frame of a patch; joined to [dim, 3 * frames *
// patch^2].
Weight JoinPatchFilters(const BindSource& source, const VisionConfig& c) {
  const size_t area = c.patch_size * c.patch_size;
  std::vector<const FileTensor*> filters;
  for (size_t frame = 0; frame < c.temporal_patch_size; ++frame) {
    const std::string suffix = frame == 0 ? "" : "." + std::to_string(frame);
    filters.push_back(&RequireTensor(source, "v.patch_embd.weight" + suffix));
    const FileTensor& t = *filters.back();
    RequireShape(t, {c.dim, 3, c.patch_size, c.patch_size});
    if (t.format != filters[0]->format || !t.format || hw::IsQuantized(*t.format)) UnsupportedType(t);
  }
  Weight joined{nullptr, *filters[0]->format, c.dim, c.patch_dim()};
  std::byte* out = NewOwnedBytes(source, joined.bytes());
  joined.data = out;
  const size_t piece_bytes = hw::RowBytes(joined.format, area);
  for (size_t channel = 0; channel < c.dim * 3; ++channel)
    for (const FileTensor* filter : filters) {
      std::memcpy(out, filter->data + channel * piece_bytes, piece_bytes);
      out += piece_bytes;
    }
  source.progress.Done(joined.bytes());
  return joined;
}

void BindPatchEmbed(const BindSource& source, const VisionConfig& c, VisionWeights& weights) {
  if (source.naming == Naming::kGguf) {
    weights.patch_embed = JoinPatchFilters(source, c);
    return;
  }
  const FileTensor& t = RequireTensor(source, "model.visual.patch_embed.proj.weight");
  if (t.shape != std::vector<size_t>{c.dim, c.patch_dim()})
    RequireShape(t, {c.dim, 3, c.temporal_patch_size, c.patch_size, c.patch_size});
  weights.patch_embed = MatrixOf(t, c.dim, c.patch_dim());
  source.progress.Mapped(t.data, t.bytes);
}

// Rows of q, then k, then v in one tensor, as some GGUF converters write them.
bool SplitFusedQkv(const BindSource& source, const TextConfig& c, size_t layer, TextLayerWeights& l) {
  const std::string key = GgufLayer(layer) + "attn_qkv.weight";
  if (source.naming != Naming::kGguf || !source.table.Has(key)) return false;
  const FileTensor& t = RequireTensor(source, key);
  RequireShape(t, {c.q_dim() + 2 * c.kv_dim(), c.dim});
  const Weight all = MatrixOf(t, c.q_dim() + 2 * c.kv_dim(), c.dim);
  l.q = {all.data, all.format, c.q_dim(), c.dim};
  l.k = {all.row(c.q_dim()), all.format, c.kv_dim(), c.dim};
  l.v = {all.row(c.q_dim() + c.kv_dim()), all.format, c.kv_dim(), c.dim};
  source.progress.Mapped(t.data, t.bytes);
  return true;
}

}  // namespace

bool HasOwnOutput(const TensorTable& table, Naming naming) { return table.Has(OutputName(naming)); }

const FileTensor& RequireTensor(const BindSource& source, const std::string& key) {
  if (const FileTensor* t = source.table.Find(key)) return *t;
  throw Error(ErrorCode::kNotFound, source.where + ": tensor " + Quoted(key) +
                                        " is missing: the model is incomplete, fetch it again");
}

void RequireShape(const FileTensor& t, const std::vector<size_t>& shape) {
  if (t.shape != shape)
    throw Error(ErrorCode::kCorruptFile, t.file + ": tensor " + Quoted(t.name) + " has shape " +
                                             ShapeText(t.shape) + ", want " + ShapeText(shape) +
                                             " by the config: do the files belong to the same model?");
}

Weight MatrixOf(const FileTensor& t, size_t rows, size_t cols) {
  if (!t.format) UnsupportedType(t);
  return {t.data, *t.format, rows, cols};
}

std::byte* NewOwnedBytes(const BindSource& source, size_t bytes) {
  auto buffer = std::make_shared<hw::AlignedBuffer<std::byte>>(bytes);
  source.owners.push_back(buffer);
  return buffer->data();
}

void BindText(const BindSource& source, const TextConfig& config, TextWeights& weights) {
  const std::vector<TensorRow> rows = TextRows(config, weights);
  for (size_t i = 0; i < config.n_layers; ++i) {
    SplitFusedQkv(source, config, i, weights.layers[i]);
    if (config.n_experts > 0) BindExperts(source, config, i, weights.layers[i]);
  }
  for (const TensorRow& row : rows)
    if (!row.matrix || !row.matrix->data) BindRow(source, row);
  weights.output = weights.embed;
  if (HasOwnOutput(source.table, source.naming)) {
    const char* name = OutputName(source.naming);
    BindRow(source, {name, name, {config.vocab_size, config.dim}, &weights.output, nullptr});
  }
}

void BindVision(const BindSource& source, const VisionConfig& config, VisionWeights& weights) {
  BindPatchEmbed(source, config, weights);
  for (const TensorRow& row : VisionRows(config, weights)) BindRow(source, row);
}

}  // namespace qwen3vl
