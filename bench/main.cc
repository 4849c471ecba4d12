// SPDX-License-Identifier: Apache-2.0
// The program around the benchmarks that one of the other files here registers.
#include "bench/register.h"

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  qwen3vl::bench::AddAll();
  benchmark::RunSpecifiedBenchmarks();
}
