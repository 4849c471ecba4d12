// SPDX-License-Identifier: Apache-2.0
#include "cuda/kernel_runs.h"

#include <algorithm>
#include <stdexcept>

#include "cuda/kernel_arrays.h"

namespace qwen3vl::test {
namespace {

void RunText(const gpu::PtxKernel& text, const gpu::EmulatedKernel& kernel, gpu::Grid grid,
             const void* parameters) {
  const gpu::KernelArrays arrays(parameters, kernel, grid);
  const std::vector<gpu::MemoryRange> ranges = arrays.Ranges();
  gpu::Launch(grid, kernel.threads, [&] { gpu::RunPtx(text, arrays.parameters(), ranges); });
  arrays.CopyBack();
}

}  // namespace

const gpu::EmulatedKernel& KernelNamed(const std::string& name) {
  const auto& all = gpu::EmulatedKernels();
  const auto found = std::ranges::find(all, name, &gpu::EmulatedKernel::name);
  if (found == all.end()) throw std::runtime_error("no kernel " + name);
  return *found;
}

void RunSource(const std::string& name, gpu::Grid grid, const void* parameters, gpu::ThreadOrder order) {
  const gpu::EmulatedKernel& kernel = KernelNamed(name);
  const gpu::KernelArrays arrays(parameters, kernel, grid);
  gpu::Launch(
      grid, kernel.threads, [&] { kernel.run(arrays.parameters().data()); }, order);
  arrays.CopyBack();
}

void ExpectOneResult(std::span<const hw::DeviceCode> code, const std::string& name, gpu::Grid grid,
                     const void* parameters, std::span<std::byte> output) {
  const gpu::EmulatedKernel& kernel = KernelNamed(name);
  const std::vector<std::byte> before(output.begin(), output.end());
  RunSource(name, grid, parameters);
  const std::vector<std::byte> wanted(output.begin(), output.end());
  const auto expect_same = [&](const std::string& what) {
    const auto differ = std::ranges::mismatch(output, wanted);
    EXPECT_TRUE(differ.in1 == output.end())
        << name << ", " << what << ": byte " << differ.in1 - output.begin() << " differs";
    std::ranges::copy(before, output.begin());
  };
  for (const gpu::ThreadOrder order : {gpu::ThreadOrder::kReverse, gpu::ThreadOrder::kShuffled}) {
    std::ranges::copy(before, output.begin());
    RunSource(name, grid, parameters, order);
    expect_same("other order of threads");
  }
  for (const hw::DeviceCode& c : code) {
    if (kernel.module != c.module) continue;
    const auto kernels = gpu::ParsePtx(hw::PtxText(c));
    ASSERT_TRUE(kernels.contains(name)) << c.module << " has no " << name;
    RunText(kernels.at(name), kernel, grid, parameters);
    expect_same("PTX for compute capability " + std::to_string(c.compute));
  }
  std::ranges::copy(wanted, output.begin());
}

}  // namespace qwen3vl::test
