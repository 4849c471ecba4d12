// SPDX-License-Identifier: Apache-2.0
// What a folder holds, without the exceptions of std::filesystem, whose range-for throws when reading fails
// half-way.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace qwen3vl {

// In no order. Throws Error with the system's reason and `wanted`: kNotFound when there is no such folder,
// kInvalidArgument when it is something else or cannot be read.
std::vector<std::filesystem::directory_entry> ListFolder(const std::string& folder,
                                                         const std::string& wanted);

}  // namespace qwen3vl
