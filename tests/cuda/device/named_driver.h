// SPDX-License-Identifier: Apache-2.0
// The driver library of the programs that run on a real GPU.
#pragma once

#include <cstdlib>
#include <string>

#include "hw/cuda_driver.h"

namespace qwen3vl::test {

// NVIDIA's, or the one that QWEN3VL_TEST_DRIVER in the environment names, such as the stand-in.
inline std::string NamedDriver() {
  const char* other = std::getenv("QWEN3VL_TEST_DRIVER");
  return other ? other : hw::kCudaDriverLibrary;
}

}  // namespace qwen3vl::test
