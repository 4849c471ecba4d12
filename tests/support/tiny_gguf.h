// SPDX-License-Identifier: Apache-2.0
// The smallest GGUF models that load: one layer, hidden size 8, short metadata. Skip() on the writer lets a
// test put its own keys and tensors in the place of these.
#pragma once

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "support/gguf_writer.h"

namespace qwen3vl::test {

// `count` F32 values, first, first + 1 ...
inline std::string CountingFloats(size_t count, float first = 0) {
  std::string bytes(count * sizeof(float), '\0');
  for (size_t i = 0; i < count; ++i) {
    const float value = first + static_cast<float>(i);
    std::memcpy(bytes.data() + i * sizeof value, &value, sizeof value);
  }
  return bytes;
}

// 2 query heads and 1 key/value head of 4, feed-forward 4, 9 tokens, tied.
inline GgufWriter TinyText(GgufWriter w = GgufWriter()) {
  const auto tensor = [&](const std::string& name, const std::vector<uint64_t>& ne) {
    size_t count = 1;
    for (const uint64_t n : ne) count *= n;
    w.Tensor(name, ne, 0, CountingFloats(count));
  };
  w.Str("general.architecture", "qwen3vl").U32("qwen3vl.block_count", 1).U32("qwen3vl.embedding_length", 8);
  w.U32("qwen3vl.context_length", 64).U32("qwen3vl.feed_forward_length", 4);
  w.U32("qwen3vl.attention.head_count", 2).U32("qwen3vl.attention.head_count_kv", 1);
  w.U32("qwen3vl.attention.key_length", 4).F32("qwen3vl.attention.layer_norm_rms_epsilon", 1e-6f);
  w.F32("qwen3vl.rope.freq_base", 5e6f).Ints("qwen3vl.rope.dimension_sections", {1, 1, 0, 0});
  w.Str("tokenizer.ggml.model", "gpt2").Str("tokenizer.ggml.pre", "qwen2");
  w.Strings("tokenizer.ggml.tokens", {"a", "b", "<|im_end|>", "<|im_start|>", "<|image_pad|>",
                                      "<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "c"});
  w.Ints("tokenizer.ggml.token_type", {1, 1, 3, 3, 3, 3, 3, 3, 1});
  w.Strings("tokenizer.ggml.merges", {"a b"});
  tensor("token_embd.weight", {8, 9});
  tensor("output_norm.weight", {8});
  tensor("blk.0.attn_norm.weight", {8});
  tensor("blk.0.ffn_norm.weight", {8});
  tensor("blk.0.attn_q_norm.weight", {4});
  tensor("blk.0.attn_k_norm.weight", {4});
  tensor("blk.0.attn_q.weight", {8, 8});
  tensor("blk.0.attn_k.weight", {8, 4});
  tensor("blk.0.attn_v.weight", {8, 4});
  tensor("blk.0.attn_output.weight", {8, 8});
  tensor("blk.0.ffn_gate.weight", {8, 4});
  tensor("blk.0.ffn_up.weight", {8, 4});
  tensor("blk.0.ffn_down.weight", {4, 8});
  return w;
}

// 1 block, 2 heads of 4, feed-forward 4, patches of 2 x 2, 4 positions, no deepstack: fits TinyText.
inline GgufWriter TinyVision(GgufWriter w = GgufWriter()) {
  const auto linear = [&](const std::string& name, uint64_t in, uint64_t out) {
    w.Tensor(name + ".weight", {in, out}, 0, CountingFloats(in * out));
    w.Tensor(name + ".bias", {out}, 0, CountingFloats(out));
  };
  const auto norm = [&](const std::string& name) {
    w.Tensor(name + ".weight", {8}, 0, CountingFloats(8));
    w.Tensor(name + ".bias", {8}, 0, CountingFloats(8));
  };
  w.Str("general.architecture", "clip").Str("clip.projector_type", "qwen3vl_merger");
  w.U32("clip.vision.embedding_length", 8).U32("clip.vision.block_count", 1);
  w.U32("clip.vision.attention.head_count", 2).U32("clip.vision.feed_forward_length", 4);
  w.U32("clip.vision.projection_dim", 8).U32("clip.vision.patch_size", 2);
  w.U32("clip.vision.spatial_merge_size", 2).Bools("clip.vision.is_deepstack_layers", {false});
  w.Floats("clip.vision.image_mean", {0.5f, 0.5f, 0.5f}).Floats("clip.vision.image_std", {0.5f, 0.5f, 0.5f});
  w.Tensor("v.patch_embd.weight", {2, 2, 3, 8}, 0, CountingFloats(96));
  w.Tensor("v.patch_embd.weight.1", {2, 2, 3, 8}, 0, CountingFloats(96, 1000));
  w.Tensor("v.patch_embd.bias", {8}, 0, CountingFloats(8));
  w.Tensor("v.position_embd.weight", {8, 4}, 0, CountingFloats(32));
  norm("v.blk.0.ln1");
  norm("v.blk.0.ln2");
  linear("v.blk.0.attn_qkv", 8, 24);
  linear("v.blk.0.attn_out", 8, 8);
  linear("v.blk.0.ffn_up", 8, 4);
  linear("v.blk.0.ffn_down", 4, 8);
  norm("v.post_ln");
  linear("mm.0", 32, 32);
  linear("mm.2", 32, 8);
  return w;
}

}  // namespace qwen3vl::test
