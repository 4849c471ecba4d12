// SPDX-License-Identifier: Apache-2.0
// The OpenMP backend: one team for the app and this library, at the price of a barrier at every loop's end.
#include "hw/parallel.h"

namespace qwen3vl::hw::internal {

void RunOnThreads(size_t n_threads, void (*work)(const void* context, size_t thread), const void* context) {
#pragma omp parallel for num_threads(static_cast <int>(n_threads)) schedule(static, 1)
  for (size_t thread = 0; thread < n_threads; ++thread) work(context, thread);
}

}  // namespace qwen3vl::hw::internal
