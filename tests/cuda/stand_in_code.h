// SPDX-License-Identifier: Apache-2.0
// Device code for the stand-in driver, which runs the emulated kernels and takes from a module's text only
// its target and the names of its entry points: so the tests of the host side need no PTX compiler.
#pragma once

#include <span>

#include "hw/device_code.h"

namespace qwen3vl::test {

// All modules for compute capability 7.5 (tile of 256 only, as the build makes them), then all for 6.1.
std::span<const hw::DeviceCode> StandInDeviceCode();

}  // namespace qwen3vl::test
