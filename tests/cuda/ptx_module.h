// SPDX-License-Identifier: Apache-2.0
// PTX text as the tests execute it: parsed once, then run thread by thread by RunPtx (ptx_interpreter.h).
// Covers what the compilers make of our kernels; anything else is an error that names the line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace qwen3vl::gpu {

enum class PtxOp : uint8_t {
  kAdd,
  kAnd,
  kBarrier,
  kBfe,
  kBfi,
  kBranch,
  kConvert,
  kDiv,
  kDp4a,
  kExp2,
  kFma,
  kLoad,
  kMad,
  kMax,
  kMin,
  kMov,
  kMulHi,
  kMulLo,
  kMulWide,
  kNeg,
  kNot,
  kOr,
  kPermute,
  kRcp,
  kRem,
  kReturn,
  kSelect,
  kSetPredicate,
  kShiftLeft,
  kShiftRight,
  kShuffleFrom,
  kShuffleXor,
  kSqrt,
  kStore,
  kSub,
  kXor,
};

enum class PtxCompare : uint8_t { kEq, kNe, kLt, kLe, kGt, kGe };
enum class PtxSpace : uint8_t { kParam, kShared, kGlobal };

struct PtxType {
  char kind = 'b';     // 'b' bits, 'u', 's', 'f', 'p' predicate
  unsigned bits = 32;  // 1 for a predicate

  unsigned bytes() const { return bits / 8; }
};

struct PtxOperand {
  enum class Kind : uint8_t { kRegister, kConstant, kSpecial } kind = Kind::kConstant;
  uint32_t index = 0;  // of a register; of a special one: 0 tid.x, 1 - 3 ctaid.x .. z, 4 nctaid.x
  uint64_t value = 0;  // of a constant; what is added to a register that is an address
};

struct PtxInstruction {
  PtxOp op{};
  PtxType type;
  PtxType from;  // kConvert: of the source
  PtxCompare compare{};
  PtxSpace space{};
  bool unordered = false;  // kSetPredicate: a NaN makes it true
  bool guarded = false, guard_negated = false;
  uint32_t guard = 0;                   // register
  uint32_t target = 0;                  // kBranch: instruction
  int line = 0;                         // of the text
  std::vector<PtxOperand> to, sources;  // kLoad: sources[0] is the address; kStore: to[0]
};

struct PtxKernel {
  std::string name;
  size_t n_registers = 0;
  size_t parameter_bytes = 0;
  size_t shared_bytes = 0;
  std::vector<PtxInstruction> code;
};

// The kernels of a module, by name. Throws std::runtime_error naming the line.
std::map<std::string, PtxKernel> ParsePtx(std::string_view text);

}  // namespace qwen3vl::gpu
