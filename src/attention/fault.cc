// SPDX-License-Identifier: Apache-2.0
#include "attention/fault.h"

#include <atomic>
#include <cstdlib>
#include <string>

#include "qwen3vl/error.h"

namespace qwen3vl::attention {
namespace {

constexpr std::string_view kNames[] = {"alloc", "device", "launch", "nan"};  // by value of Fault

unsigned BitOf(std::string_view name) {
  for (unsigned i = 0; i < std::size(kNames); ++i)
    if (name == kNames[i]) return 1u << i;
  throw Error(ErrorCode::kInvalidArgument, "QWEN3VL_FAULT: unknown fault \"" + std::string(name) +
                                               "\", want alloc, device, launch or nan");
}

unsigned Parse(std::string_view names) {
  unsigned bits = 0;
  while (!names.empty()) {
    const size_t comma = names.find(',');
    bits |= BitOf(names.substr(0, comma));
    names.remove_prefix(comma == std::string_view::npos ? names.size() : comma + 1);
  }
  return bits;
}

unsigned FromEnvironment() {
  const char* value = std::getenv("QWEN3VL_FAULT");
  return value ? Parse(value) : 0;
}

std::atomic<unsigned>& Bits() {
  static std::atomic<unsigned> bits{FromEnvironment()};
  return bits;
}

}  // namespace

bool FaultAsked(Fault fault) {
  return Bits().load(std::memory_order_relaxed) >> static_cast<unsigned>(fault) & 1u;
}

void SetFaults(std::string_view names) { Bits().store(Parse(names), std::memory_order_relaxed); }

}  // namespace qwen3vl::attention
