// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/environment.h"

#include "attention/fault.h"
#include "hw/cpu_info.h"

namespace qwen3vl {

void CheckEnvironment() {
  hw::SelectedIsa();
  attention::FaultAsked(attention::Fault::kAlloc);
}

}  // namespace qwen3vl
