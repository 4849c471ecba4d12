// SPDX-License-Identifier: Apache-2.0
// JSON as the chat templates print it: what Python's json.dumps(value, ensure_ascii=False) writes.
#pragma once

#include <string>
#include <string_view>

namespace qwen3vl {

// Rewrites one JSON document: ", " and ": " between values, keys in their order, only control characters,
// quote and backslash escaped, numbers as Python prints them. Throws Error(kInvalidArgument) beginning with
// `what` when `json` is malformed.
std::string PythonJson(std::string_view json, const std::string& what);

}  // namespace qwen3vl
