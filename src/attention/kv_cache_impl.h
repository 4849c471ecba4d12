// SPDX-License-Identifier: Apache-2.0
// What a KvCache owns; shared by kv_cache.cc and kv_cache_io.cc only.
#pragma once

#include <vector>

#include "attention/kv_cache.h"
#include "hw/aligned_buffer.h"

namespace qwen3vl::attention {

struct KvCache::Impl {
  KvCacheShape shape;
  hw::AlignedBuffer<std::byte> memory;  // all layers one after the other
  std::vector<KvCacheLayer> layers;     // views into `memory`
};

}  // namespace qwen3vl::attention
