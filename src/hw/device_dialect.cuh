// SPDX-License-Identifier: Apache-2.0
// The little that the device code needs of its language, in three dialects: NVIDIA's nvcc, clang without any
// CUDA header, and the block emulator of the tests, which runs the same sources as C++ on the CPU. The
// instructions are spelled as inline PTX wherever nvcc and clang would name them differently; none needs more
// than compute capability 6.1 and PTX 6.0. Device code includes only this.
#pragma once

#if defined(__clang__) && defined(__CUDA__)
#define QWEN3VL_DEVICE __attribute__((device, always_inline)) inline
#define QWEN3VL_KERNEL(threads, min_blocks) \
  extern "C" __attribute__((global, launch_bounds(threads, min_blocks))) void
#define QWEN3VL_SHARED(type, name) __attribute__((shared)) type name
#define QWEN3VL_UNROLL _Pragma("unroll")
#define QWEN3VL_NO_UNROLL _Pragma("unroll 1")
#define QWEN3VL_UNROLL_2 _Pragma("unroll 2")
#elif defined(__NVCC__)
#define QWEN3VL_DEVICE __device__ __forceinline__
#define QWEN3VL_KERNEL(threads, min_blocks) extern "C" __global__ void __launch_bounds__(threads, min_blocks)
#define QWEN3VL_SHARED(type, name) __shared__ type name
#define QWEN3VL_UNROLL _Pragma("unroll")
#define QWEN3VL_NO_UNROLL _Pragma("unroll 1")
#define QWEN3VL_UNROLL_2 _Pragma("unroll 2")
#else
#include "cuda/block_emulator.h"
#define QWEN3VL_DEVICE inline
#define QWEN3VL_SHARED(type, name) type& name = ::qwen3vl::gpu::Shared<type>()
#define QWEN3VL_UNROLL
#define QWEN3VL_NO_UNROLL
#define QWEN3VL_UNROLL_2
#endif

namespace qwen3vl::gpu {

// 16 bytes that are loaded and stored by one instruction.
struct alignas(16) Float4 {
  float x, y, z, w;
};
struct alignas(16) Word4 {
  unsigned x, y, z, w;
};
struct alignas(8) Word2 {
  unsigned x, y;
};

struct Float8 {
  float v[8];
};

constexpr unsigned kWarp = 32;

#if defined(__CUDA__) || defined(__NVCC__)

#if defined(__clang__) && defined(__CUDA__)
QWEN3VL_DEVICE unsigned ThreadIndex() { return __nvvm_read_ptx_sreg_tid_x(); }
QWEN3VL_DEVICE unsigned BlockX() { return __nvvm_read_ptx_sreg_ctaid_x(); }
QWEN3VL_DEVICE unsigned BlockY() { return __nvvm_read_ptx_sreg_ctaid_y(); }
QWEN3VL_DEVICE unsigned BlockZ() { return __nvvm_read_ptx_sreg_ctaid_z(); }
QWEN3VL_DEVICE unsigned GridX() { return __nvvm_read_ptx_sreg_nctaid_x(); }
QWEN3VL_DEVICE float Fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
#else
QWEN3VL_DEVICE unsigned ThreadIndex() { return threadIdx.x; }
QWEN3VL_DEVICE unsigned BlockX() { return blockIdx.x; }
QWEN3VL_DEVICE unsigned BlockY() { return blockIdx.y; }
QWEN3VL_DEVICE unsigned BlockZ() { return blockIdx.z; }
QWEN3VL_DEVICE unsigned GridX() { return gridDim.x; }
QWEN3VL_DEVICE float Fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
#endif

// All threads of the block wait for each other and see each other's writes.
QWEN3VL_DEVICE void Barrier() { __syncthreads(); }

// `value` of lane (own lane ^ mask), of lane `source`. All 32 lanes of the warp must call.
QWEN3VL_DEVICE float ShuffleXor(float value, unsigned mask) {
  float out;
  asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 31, 0xffffffff;" : "=f"(out) : "f"(value), "r"(mask));
  return out;
}
QWEN3VL_DEVICE float ShuffleFrom(float value, unsigned source) {
  float out;
  asm volatile("shfl.sync.idx.b32 %0, %1, %2, 31, 0xffffffff;" : "=f"(out) : "f"(value), "r"(source));
  return out;
}

// 2^x to about 2 units in the last place; 0 for -inf.
QWEN3VL_DEVICE float Exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
QWEN3VL_DEVICE float Max(float a, float b) {
  float y;
  asm("max.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
  return y;
}
// yes ? a : b, spelled so that no compiler makes it a choice between addresses, which would keep the array
// that a and b come from in memory, or a branch, which would part the lanes of a warp.
QWEN3VL_DEVICE unsigned Select(bool yes, unsigned a, unsigned b) {
  unsigned y;
  asm("{.reg .pred p; setp.ne.u32 p, %3, 0; selp.b32 %0, %1, %2, p;}"
      : "=r"(y)
      : "r"(a), "r"(b), "r"(static_cast<unsigned>(yes)));
  return y;
}
QWEN3VL_DEVICE float Select(bool yes, float a, float b) {
  float y;
  asm("{.reg .pred p; setp.ne.u32 p, %3, 0; selp.f32 %0, %1, %2, p;}"
      : "=f"(y)
      : "f"(a), "f"(b), "r"(static_cast<unsigned>(yes)));
  return y;
}
QWEN3VL_DEVICE float HalfToFloat(unsigned short bits) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(bits));
  return y;
}
QWEN3VL_DEVICE unsigned short FloatToHalf(float x) {
  unsigned short bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
}
QWEN3VL_DEVICE float Sqrt(float x) {
  float y;
  asm("sqrt.rn.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
QWEN3VL_DEVICE unsigned BitsOf(float x) {
  unsigned y;
  asm("mov.b32 %0, %1;" : "=r"(y) : "f"(x));
  return y;
}
QWEN3VL_DEVICE float FloatOf(unsigned bits) {
  float y;
  asm("mov.b32 %0, %1;" : "=f"(y) : "r"(bits));
  return y;
}
// 16 bytes of an array that the launch does not write, with one instruction: a plain load is taken apart by
// clang where its words are used in different places.
QWEN3VL_DEVICE Word4 LoadWords(const void* at) {
  Word4 w;
  asm("{.reg .u64 g; cvta.to.global.u64 g, %4; ld.global.nc.v4.u32 {%0, %1, %2, %3}, [g];}"
      : "=r"(w.x), "=r"(w.y), "=r"(w.z), "=r"(w.w)
      : "l"(at));
  return w;
}
// The products of the four signed bytes of a with those of b, added to c.
QWEN3VL_DEVICE unsigned Dp4a(unsigned a, unsigned b, unsigned c) {
  unsigned y;
  asm("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(y) : "r"(a), "r"(b), "r"(c));
  return y;
}

#else

QWEN3VL_DEVICE Word4 LoadWords(const void* at) { return *static_cast<const Word4*>(at); }

#endif

QWEN3VL_DEVICE float NegativeInfinity() { return -__builtin_huge_valf(); }

}  // namespace qwen3vl::gpu
