// SPDX-License-Identifier: Apache-2.0
#include "hw/huge_pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

namespace qwen3vl::hw {

void AdviseHugePages(void* data, size_t bytes) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<uintptr_t>(data) + page - 1) / page * page;
  const auto end = (reinterpret_cast<uintptr_t>(data) + bytes) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
}

}  // namespace qwen3vl::hw
