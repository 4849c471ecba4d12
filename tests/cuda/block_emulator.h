// SPDX-License-Identifier: Apache-2.0
// Runs device code on the CPU: the third dialect of hw/device_dialect.cuh. Every CUDA thread is a fiber
// that runs until it meets a barrier or a shuffle. A warp goes on when its 32 lanes wait in the same shuffle
// (told apart by source line), a block when all threads wait at the same barrier; anything else is an error.
// No two threads run in lockstep, so code that counts on that fails. Shared memory is filled with NaN before
// each block, and AddressSanitizer sees accesses beside it; under ThreadSanitizer fibers are threads and only
// barriers and shuffles order them, so that it reports races.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <functional>

#include "hw/float16.h"

namespace qwen3vl::gpu {

struct Grid {
  unsigned x = 1, y = 1, z = 1;
};

enum class ThreadOrder { kForward, kReverse, kShuffled };  // in which threads that can run get their turn

// Runs `kernel` once for each thread of each block. `threads` is a multiple of 32. Throws std::runtime_error
// naming thread and line when a block cannot go on, and what a thread throws.
void Launch(Grid grid, unsigned threads, const std::function<void()>& kernel,
            ThreadOrder order = ThreadOrder::kForward);

// What device code calls.
unsigned ThreadIndex();
unsigned BlockX();
unsigned BlockY();
unsigned BlockZ();
unsigned GridX();
void Barrier(int line = __builtin_LINE());
float ShuffleXor(float value, unsigned mask, int line = __builtin_LINE());
float ShuffleFrom(float value, unsigned source, int line = __builtin_LINE());
void* SharedBytes(size_t bytes);

template <class T>
T& Shared() {
  static_assert(sizeof(T) <= 48 * 1024, "a block of compute capability 6.1 has no more");
  return *static_cast<T*>(SharedBytes(sizeof(T)));
}

inline float Fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline float Exp2(float x) {  // as the device's, results below the normal numbers are 0
  const float y = std::exp2(x);
  return y < 0x1p-126f ? 0.0f : y;
}
inline float Max(float a, float b) { return std::fmax(a, b); }
inline float Select(bool yes, float a, float b) { return yes ? a : b; }
inline unsigned Select(bool yes, unsigned a, unsigned b) { return yes ? a : b; }
inline unsigned BitsOf(float x) { return std::bit_cast<unsigned>(x); }
inline float FloatOf(unsigned bits) { return std::bit_cast<float>(bits); }
inline unsigned Dp4a(unsigned a, unsigned b, unsigned c) {
  for (int shift = 0; shift < 32; shift += 8)
    c += static_cast<unsigned>(static_cast<signed char>(a >> shift) * static_cast<signed char>(b >> shift));
  return c;
}
inline float HalfToFloat(unsigned short bits) { return hw::ToFloat(hw::F16{bits}); }
inline unsigned short FloatToHalf(float x) { return hw::ToF16(x).bits; }
inline float Sqrt(float x) { return std::sqrt(x); }

}  // namespace qwen3vl::gpu
