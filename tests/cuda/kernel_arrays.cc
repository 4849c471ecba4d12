// SPDX-License-Identifier: Apache-2.0
#include "cuda/kernel_arrays.h"

#include <algorithm>
#include <stdexcept>

#include "cuda/fiber_sanitizers.h"

namespace qwen3vl::gpu {
namespace {

constexpr size_t kGuardBytes = 4096;
constexpr size_t kAlignment = 256;  // of device memory
constexpr std::byte kGuard{0xa5};

bool IsIntact(const std::byte* guard) {
  return std::all_of(guard, guard + kGuardBytes, [](std::byte b) { return b == kGuard; });
}

}  // namespace

std::byte* KernelArrays::Copy::data() const {
  const uint64_t first = reinterpret_cast<uint64_t>(memory.get()) + kGuardBytes;
  return reinterpret_cast<std::byte*>((first + kAlignment - 1) / kAlignment * kAlignment);
}

KernelArrays::KernelArrays(const void* parameters, const EmulatedKernel& kernel, Grid grid)
    : parameters_(kernel.parameter_bytes / sizeof(uint64_t)) {
  std::memcpy(parameters_.data(), parameters, kernel.parameter_bytes);
  for (const KernelArray& array : kernel.arrays(parameters, grid)) {
    uint64_t& address = parameters_[array.offset / sizeof(uint64_t)];
    if (address == 0 || array.bytes == 0) continue;
    Copy copy{reinterpret_cast<void*>(address), array.bytes, array.writable,
              std::make_unique_for_overwrite<std::byte[]>(array.bytes + 2 * kGuardBytes + kAlignment)};
    std::byte* data = copy.data();
    std::fill_n(data - kGuardBytes, kGuardBytes, kGuard);
    std::fill_n(data + array.bytes, kGuardBytes, kGuard);
    std::memcpy(data, copy.original, array.bytes);
    HideBytes(data - kGuardBytes, kGuardBytes);
    HideBytes(data + array.bytes, kGuardBytes);
    address = reinterpret_cast<uint64_t>(data);
    copies_.push_back(std::move(copy));
  }
}

std::vector<MemoryRange> KernelArrays::Ranges() const {
  std::vector<MemoryRange> ranges;
  for (const Copy& copy : copies_)
    ranges.push_back({reinterpret_cast<uint64_t>(copy.data()), copy.bytes, copy.writable});
  return ranges;
}

void KernelArrays::CopyBack() const {
  for (size_t i = 0; i < copies_.size(); ++i) {
    const Copy& copy = copies_[i];
    std::byte *before = copy.data() - kGuardBytes, *after = copy.data() + copy.bytes;
    ShowBytes(before, kGuardBytes);
    ShowBytes(after, kGuardBytes);
    if (!IsIntact(before) || !IsIntact(after))
      throw std::runtime_error("written beside array " + std::to_string(i) + " of the launch, which has " +
                               std::to_string(copy.bytes) + " bytes");
    if (copy.writable) std::memcpy(copy.original, copy.data(), copy.bytes);
  }
}

}  // namespace qwen3vl::gpu
