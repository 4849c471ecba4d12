// SPDX-License-Identifier: Apache-2.0
// The device code of attention inside this library: modules "attention_HEADDIM_FORMAT" and, with integer
// scores, "attention_HEADDIM_FORMAT_int8"; empty where the build found no compiler for it
// (cmake/DeviceCode.cmake).
#pragma once

#include <span>

#include "hw/device_code.h"

namespace qwen3vl::attention {

std::span<const hw::DeviceCode> EmbeddedDeviceCode();

}  // namespace qwen3vl::attention
