// SPDX-License-Identifier: Apache-2.0
// The small model that comes with the command, for whoever names none.
#pragma once

#include <string>

#include "qwen3vl/cli/console.h"
#include "qwen3vl/cli/options.h"

namespace qwen3vl::cli {

// Its folder: share/qwen3vl/models/demo beside the folder of the executable where it is installed, else
// models/demo of the sources it was built from; empty when neither is there.
std::string FindDemoModel();

// Where no model is named, takes the demo model and says so on stderr. Throws Failure(kBadUsage) when there
// is none.
void ChooseModel(CommonOptions& options, Console& console);

}  // namespace qwen3vl::cli
