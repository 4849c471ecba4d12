// SPDX-License-Identifier: Apache-2.0
// The device code of decoder layers inside this library: modules "layer" and "product_FORMAT", empty where
// the build found no compiler for it (cmake/DeviceCode.cmake).
#pragma once

#include <span>

#include "hw/device_code.h"

namespace qwen3vl {

std::span<const hw::DeviceCode> EmbeddedDeviceCode();

}  // namespace qwen3vl
