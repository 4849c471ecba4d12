// SPDX-License-Identifier: Apache-2.0
#include "cuda/ptx_interpreter.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/block_emulator.h"

namespace qwen3vl::gpu {
namespace {

float AsFloat(uint64_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits)); }
uint64_t AsBits(float x) { return std::bit_cast<uint32_t>(x); }

uint64_t Mask(unsigned bits) { return bits >= 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1; }

// The value of `bits` bits with its sign spread over 64.
int64_t Signed(uint64_t value, unsigned bits) {
  const unsigned unused = 64 - bits;
  return static_cast<int64_t>(value << unused) >> unused;
}

class Thread {
 public:
  Thread(const PtxKernel& kernel, std::span<const std::byte> parameters, std::span<const MemoryRange> memory)
      : kernel_(kernel),
        parameters_(parameters),
        memory_(memory),
        registers_(kernel.n_registers, ~uint64_t{0}),
        shared_(kernel.shared_bytes ? static_cast<std::byte*>(SharedBytes(kernel.shared_bytes)) : nullptr) {}

  void Run() {
    for (size_t at = 0; at < kernel_.code.size();) {
      const PtxInstruction& i = kernel_.code[at++];
      if (i.guarded && ((registers_[i.guard] & 1) != 0) == i.guard_negated) continue;
      if (i.op == PtxOp::kReturn) return;
      if (i.op == PtxOp::kBranch)
        at = i.target;
      else
        Execute(i);
    }
  }

 private:
  [[noreturn]] void Fail(const PtxInstruction& i, const std::string& what) const {
    throw std::runtime_error(kernel_.name + ", PTX line " + std::to_string(i.line) + ", thread " +
                             std::to_string(ThreadIndex()) + ": " + what);
  }

  uint64_t Value(const PtxOperand& o) const {
    switch (o.kind) {
      case PtxOperand::Kind::kRegister:
        return registers_[o.index] + o.value;
      case PtxOperand::Kind::kConstant:
        return o.value;
      case PtxOperand::Kind::kSpecial:
        break;
    }
    switch (o.index) {
      case 0:
        return ThreadIndex();
      case 1:
        return BlockX();
      case 2:
        return BlockY();
      case 3:
        return BlockZ();
      default:
        return GridX();
    }
  }

  void Execute(const PtxInstruction& i) {
    switch (i.op) {
      case PtxOp::kBarrier:
        Barrier(i.line);
        return;
      case PtxOp::kLoad:
        Load(i);
        return;
      case PtxOp::kStore:
        Store(i);
        return;
      case PtxOp::kShuffleXor:
        Set(i, AsBits(ShuffleXor(AsFloat(Value(i.sources[0])), static_cast<unsigned>(Value(i.sources[1])),
                                 i.line)));
        return;
      case PtxOp::kShuffleFrom:
        Set(i, AsBits(ShuffleFrom(AsFloat(Value(i.sources[0])), static_cast<unsigned>(Value(i.sources[1])),
                                  i.line)));
        return;
      default:
        break;
    }
    uint64_t v[4] = {};
    for (size_t n = 0; n < std::min<size_t>(4, i.sources.size()); ++n) v[n] = Value(i.sources[n]);
    if (i.op == PtxOp::kConvert)
      Set(i, Convert(i, v[0]));
    else if (i.type.kind == 'f')
      Set(i, Float(i, v));
    else
      Set(i, Integer(i, v) & Mask(ResultBits(i)));
  }

  void Set(const PtxInstruction& i, uint64_t value) { registers_[i.to[0].index] = value; }

  static unsigned ResultBits(const PtxInstruction& i) {
    return i.op == PtxOp::kSetPredicate ? 1 : i.op == PtxOp::kMulWide ? 2 * i.type.bits : i.type.bits;
  }

  uint64_t Float(const PtxInstruction& i, const uint64_t (&v)[4]) const {
    if (i.type.bits != 32) Fail(i, "arithmetic on floats of " + std::to_string(i.type.bits) + " bits");
    const float a = AsFloat(v[0]), b = AsFloat(v[1]);
    switch (i.op) {
      case PtxOp::kAdd:
        return AsBits(a + b);
      case PtxOp::kSub:
        return AsBits(a - b);
      case PtxOp::kMulLo:
        return AsBits(a * b);
      case PtxOp::kDiv:
        return AsBits(a / b);
      case PtxOp::kNeg:
        return AsBits(-a);
      case PtxOp::kRcp:
        return AsBits(1.0f / a);
      case PtxOp::kSqrt:
        return AsBits(Sqrt(a));
      case PtxOp::kFma:
        return AsBits(Fma(a, b, AsFloat(v[2])));
      case PtxOp::kMax:
        return AsBits(Max(a, b));
      case PtxOp::kExp2:
        return AsBits(Exp2(a));
      case PtxOp::kMov:
        return v[0];
      case PtxOp::kSelect:
        return (v[2] & 1) != 0 ? v[0] : v[1];
      case PtxOp::kSetPredicate:
        return (i.unordered && (std::isnan(a) || std::isnan(b))) || Holds(i.compare, a, b);
      default:
        Fail(i, "unknown arithmetic on floats");
    }
  }

  uint64_t Integer(const PtxInstruction& i, const uint64_t (&v)[4]) const {
    const unsigned bits = i.type.bits;
    const bool is_signed = i.type.kind == 's';
    const uint64_t a = v[0] & Mask(bits), b = v[1] & Mask(bits);
    const int64_t sa = Signed(a, bits), sb = Signed(b, bits);
    switch (i.op) {
      case PtxOp::kMov:
        return a;
      case PtxOp::kAdd:
        return a + b;
      case PtxOp::kSub:
        return a - b;
      case PtxOp::kNeg:
        return ~a + 1;
      case PtxOp::kDp4a:
        return Dp4a(static_cast<unsigned>(a), static_cast<unsigned>(b), static_cast<unsigned>(v[2]));
      case PtxOp::kMulLo:
        return a * b;
      case PtxOp::kMulHi:
      case PtxOp::kMulWide: {
        if (bits > 32) Fail(i, "product of more than 64 bits");
        const uint64_t product = is_signed ? static_cast<uint64_t>(sa * sb) : a * b;
        return i.op == PtxOp::kMulWide ? product : product >> bits;
      }
      case PtxOp::kMad:
        return a * b + v[2];
      case PtxOp::kDiv:
      case PtxOp::kRem:
        if (b == 0) Fail(i, "division by zero");
        if (is_signed) return static_cast<uint64_t>(i.op == PtxOp::kDiv ? sa / sb : sa % sb);
        return i.op == PtxOp::kDiv ? a / b : a % b;
      case PtxOp::kMax:
        return is_signed ? static_cast<uint64_t>(std::max(sa, sb)) : std::max(a, b);
      case PtxOp::kMin:
        return is_signed ? static_cast<uint64_t>(std::min(sa, sb)) : std::min(a, b);
      case PtxOp::kAnd:
        return a & b;
      case PtxOp::kOr:
        return a | b;
      case PtxOp::kXor:
        return a ^ b;
      case PtxOp::kNot:
        return ~a;
      case PtxOp::kShiftLeft:
        return (v[1] & Mask(32)) >= bits ? 0 : a << (v[1] & Mask(32));
      case PtxOp::kShiftRight: {
        const uint64_t count = std::min<uint64_t>(v[1] & Mask(32), bits);
        if (is_signed) return static_cast<uint64_t>(sa >> std::min<uint64_t>(count, 63));
        return count >= bits ? 0 : a >> count;
      }
      case PtxOp::kBfe:
        return is_signed ? (Fail(i, "signed bit field"), 0)
                         : (a >> (v[1] & 0xff)) & Mask(static_cast<unsigned>(v[2] & 0xff));
      case PtxOp::kBfi: {
        const uint64_t at = v[2] & 0xff,
                       mask = at >= bits ? 0 : Mask(static_cast<unsigned>(v[3] & 0xff)) << at;
        return (b & ~mask) | ((at >= bits ? 0 : a << at) & mask);
      }
      case PtxOp::kPermute:
        return Permute(a, b, v[2]);
      case PtxOp::kSelect:
        return (v[2] & 1) != 0 ? a : b;
      case PtxOp::kSetPredicate:
        return is_signed ? Holds(i.compare, sa, sb) : Holds(i.compare, a, b);
      default:
        Fail(i, "unknown arithmetic on integers");
    }
  }

  // Four bytes out of the eight of b:a, the lowest four bits of each selector naming one.
  static uint64_t Permute(uint64_t a, uint64_t b, uint64_t selector) {
    const uint64_t bytes = a | b << 32;
    uint64_t out = 0;
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned select = (selector >> (4 * i)) & 0xf;
      uint64_t byte = (bytes >> (8 * (select & 7))) & 0xff;
      if (select & 8) byte = (byte & 0x80) != 0 ? 0xff : 0;  // its sign, spread
      out |= byte << (8 * i);
    }
    return out;
  }

  template <class T>
  static bool Holds(PtxCompare compare, T a, T b) {
    switch (compare) {
      case PtxCompare::kEq:
        return a == b;
      case PtxCompare::kNe:
        return a != b;
      case PtxCompare::kLt:
        return a < b;
      case PtxCompare::kLe:
        return a <= b;
      case PtxCompare::kGt:
        return a > b;
      case PtxCompare::kGe:
        break;
    }
    return a >= b;
  }

  uint64_t Convert(const PtxInstruction& i, uint64_t value) const {
    const uint64_t bits = value & Mask(i.from.bits);
    if (i.type.kind == 'f' && i.type.bits == 16 && i.from.kind == 'f' && i.from.bits == 32)
      return FloatToHalf(AsFloat(bits));
    if (i.type.kind == 'f' && i.type.bits == 32) {
      if (i.from.kind == 'f' && i.from.bits == 16)
        return AsBits(HalfToFloat(static_cast<unsigned short>(bits)));
      if (i.from.kind == 's') return AsBits(static_cast<float>(Signed(bits, i.from.bits)));
      if (i.from.kind == 'u') return AsBits(static_cast<float>(bits));
    } else if (i.type.kind != 'f' && i.from.kind != 'f') {
      const uint64_t wide = i.from.kind == 's' ? static_cast<uint64_t>(Signed(bits, i.from.bits)) : bits;
      return wide & Mask(std::max(i.type.bits, 16u));  // the narrowest register holds 16 bits
    }
    Fail(i, "unknown conversion");
  }

  // Where `bytes` bytes at `address` lie, if the kernel may have them.
  std::byte* Place(const PtxInstruction& i, uint64_t address, size_t bytes, bool write) const {
    if (address % bytes != 0) Fail(i, "address not a multiple of " + std::to_string(bytes));
    if (i.space == PtxSpace::kShared) {
      if (address > kernel_.shared_bytes || bytes > kernel_.shared_bytes - address)
        Fail(i, "byte " + std::to_string(address) + " of " + std::to_string(kernel_.shared_bytes) +
                    " shared ones");
      return shared_ + address;
    }
    for (const MemoryRange& range : memory_)
      if (address >= range.address && bytes <= range.bytes &&
          address - range.address <= range.bytes - bytes && (range.writable || !write))
        return reinterpret_cast<std::byte*>(address);
    Fail(i, write ? "write outside its arrays" : "read outside its arrays");
  }

  void Load(const PtxInstruction& i) {
    const uint64_t address = Value(i.sources[0]);
    const size_t each = i.type.bytes();
    const std::byte* from = nullptr;
    if (i.space == PtxSpace::kParam) {
      if (address + each * i.to.size() > parameters_.size()) Fail(i, "parameter past the end");
      from = parameters_.data() + address;
    } else {
      from = Place(i, address, each * i.to.size(), /*write=*/false);
    }
    for (size_t n = 0; n < i.to.size(); ++n) {
      uint64_t value = 0;
      std::memcpy(&value, from + n * each, each);
      if (i.type.kind == 's') value = static_cast<uint64_t>(Signed(value, i.type.bits));
      registers_[i.to[n].index] = value;
    }
  }

  void Store(const PtxInstruction& i) {
    const size_t each = i.type.bytes();
    std::byte* to = Place(i, Value(i.to[0]), each * i.sources.size(), /*write=*/true);
    for (size_t n = 0; n < i.sources.size(); ++n) {
      const uint64_t value = Value(i.sources[n]);
      std::memcpy(to + n * each, &value, each);
    }
  }

  const PtxKernel& kernel_;
  const std::span<const std::byte> parameters_;
  const std::span<const MemoryRange> memory_;
  std::vector<uint64_t> registers_;
  std::byte* const shared_;
};

}  // namespace

void RunPtx(const PtxKernel& kernel, std::span<const std::byte> parameters,
            std::span<const MemoryRange> memory) {
  Thread(kernel, parameters, memory).Run();
}

}  // namespace qwen3vl::gpu
