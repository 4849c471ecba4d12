// SPDX-License-Identifier: Apache-2.0
// The device code for the driver library that tests run on.
#pragma once

#include "attention/cuda/device_code.h"
#include "cuda/fake_driver.h"
#include "cuda/stand_in_code.h"
#include "qwen3vl/cuda/device_code.h"
#include "qwen3vl/cuda/gpu_code.h"

namespace qwen3vl::test {

// The stand-in needs no compiled code; another driver, NVIDIA's, gets what the build embeds.
inline GpuCode CodeForDriver() {
  if (OnStandIn()) return {StandInDeviceCode(), StandInDeviceCode()};
  return {attention::EmbeddedDeviceCode(), EmbeddedDeviceCode()};
}

}  // namespace qwen3vl::test
