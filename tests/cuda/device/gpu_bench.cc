// SPDX-License-Identifier: Apache-2.0
// gpu_bench [LENGTH]: speed of attention and of products with weights on the first NVIDIA GPU, as Markdown
// tables: shares of the rates of multiply-adds and of reading memory that this process measured in turn with
// the samples, for each version of the code that the build holds. LENGTH: keys, 4096 where it is not given.
// Ends with 3 where no device can be used.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "attention/cuda/attention_cuda.h"
#include "attention/cuda/device_code.h"
#include "cuda/device/code_versions.h"
#include "cuda/device/gpu_attention.h"
#include "cuda/device/gpu_peaks.h"
#include "cuda/device/gpu_product.h"
#include "cuda/device/named_driver.h"
#include "qwen3vl/cuda/device_code.h"
#include "qwen3vl/error.h"
#include "support/attention_cases.h"
#include "support/near.h"

namespace qwen3vl {
namespace {

using attention::GpuScores;
using Clock = std::chrono::steady_clock;

constexpr int kNoDevice = 3, kSamples = 7;

double Median(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + values.size() / 2);
  return values[values.size() / 2];
}

enum class Problem { kPrompt, kToken, kPicture };

struct BenchRow {
  const char* what;
  Problem problem;
  size_t n_heads, n_kv_heads, head_dim;
  hw::Format format;
  GpuScores scores;

  size_t q_len(size_t length) const { return problem == Problem::kToken ? 1 : length; }
};

// A text layer of Qwen3-VL-4B, and blocks of the vision towers of the 2B/4B and of the 8B model.
constexpr BenchRow kRows[] = {
    {"prompt, 32/8 x 128", Problem::kPrompt, 32, 8, 128, hw::Format::kF16, GpuScores::kF32},
    {"prompt, 32/8 x 128", Problem::kPrompt, 32, 8, 128, hw::Format::kF16, GpuScores::kInt8},
    {"prompt, 32/8 x 128", Problem::kPrompt, 32, 8, 128, hw::Format::kQ8_0, GpuScores::kF32},
    {"prompt, 32/8 x 128", Problem::kPrompt, 32, 8, 128, hw::Format::kQ8_0, GpuScores::kInt8},
    {"one token, 32/8 x 128", Problem::kToken, 32, 8, 128, hw::Format::kF16, GpuScores::kF32},
    {"one token, 32/8 x 128", Problem::kToken, 32, 8, 128, hw::Format::kQ8_0, GpuScores::kF32},
    {"one token, 32/8 x 128", Problem::kToken, 32, 8, 128, hw::Format::kQ8_0, GpuScores::kInt8},
    {"picture, 16/16 x 64", Problem::kPicture, 16, 16, 64, hw::Format::kF32, GpuScores::kF32},
    {"picture, 16/16 x 64", Problem::kPicture, 16, 16, 64, hw::Format::kF32, GpuScores::kInt8},
    {"picture, 16/16 x 72", Problem::kPicture, 16, 16, 72, hw::Format::kF32, GpuScores::kF32},
};

// q, k and v of one row of the table, all tokens, and the reference of its last token.
class BenchCase {
 public:
  BenchCase(const BenchRow& row, size_t length)
      : all_{.name = "",
             .shape = {1, row.q_len(length), length, row.n_heads, row.n_kv_heads, row.head_dim},
             .causal = row.problem != Problem::kPicture},
        last_{.name = "", .shape = {1, 1, length, row.n_heads, row.n_kv_heads, row.head_dim}, .causal = true},
        tensors_(all_) {
    const size_t kv_row = row.n_kv_heads * row.head_dim;
    cache_.emplace(attention::KvCacheShape{.n_layers = 1,
                                           .n_kv_heads = row.n_kv_heads,
                                           .head_dim = row.head_dim,
                                           .capacity = length,
                                           .format = row.format});
    cache_->Append(0, {tensors_.k.data(), length, kv_row}, {tensors_.v.data(), length, kv_row});
  }

  attention::Inputs inputs() const {
    attention::Inputs in = tensors_.inputs();
    in.cache = &cache_->layer(0);
    return in;
  }

  // Of the last token, against float64 on keys and values that were not rounded.
  double Error(const std::vector<float>& out) const {
    test::AttentionTensors one(last_);
    const size_t row = one.q.size();
    one.q.assign(tensors_.q.end() - row, tensors_.q.end());
    const test::AttentionReference ref = Reference(one, tensors_.k, tensors_.v);
    return test::RelativeError(std::span(out).last(row), ref.out);
  }

 private:
  test::AttentionCase all_, last_;
  test::AttentionTensors tensors_;
  std::optional<attention::KvCache> cache_;
};

struct Measured {
  double seconds, gflops, gbs, fma_share, read_share, error = 0;
};

// `run` does its work so many times. Samples of it and of the peaks are taken in turn.
template <class Run>
Measured Measure(test::GpuPeaks& peaks, double flop, double bytes, const Run& run) {
  const auto seconds_of = [&](size_t times) {
    const auto start = Clock::now();
    run(times);
    return std::chrono::duration<double>(Clock::now() - start).count() / static_cast<double>(times);
  };
  const double once = std::min(seconds_of(1), seconds_of(1));
  const auto times = static_cast<size_t>(std::clamp(0.05 / once, 1.0, 2000.0));
  std::vector<double> seconds, fma, read;
  for (int i = 0; i < kSamples; ++i) {
    fma.push_back(peaks.FmaGflops());
    read.push_back(peaks.ReadGbs());
    seconds.push_back(seconds_of(times));
  }
  const double median = Median(seconds), gflops = flop / median * 1e-9, gbs = bytes / median * 1e-9;
  return {median, gflops, gbs, gflops / Median(fma), gbs / Median(read)};
}

// Copies of what has so many bytes that no cache of the device holds: 512 MiB.
size_t CopiesOf(const hw::CudaDevice& device, size_t bytes) {
  return std::min<size_t>(size_t{1} << 29, device.info().memory_total_bytes / 4) / bytes + 1;
}

Measured MeasureAttention(const hw::CudaDevice& device, std::span<const hw::DeviceCode> code,
                          test::GpuPeaks& peaks, const BenchRow& row, size_t length) {
  const BenchCase c(row, length);
  const attention::Inputs in = c.inputs();
  // One token's keys and values could stay in a cache of the device.
  const size_t copies = row.problem == Problem::kToken
                            ? CopiesOf(device, test::GpuBytes(in, device.info().multiprocessors))
                            : 1;
  const test::GpuAttention attention(device, code, in, row.scores, copies);
  // As `qwen3vl bench` counts: 4 * head_dim for each key that a row sees; q, out, keys and values once.
  const double n = static_cast<double>(length), rows = static_cast<double>(row.q_len(length));
  const double seen = row.problem == Problem::kPrompt ? n * (n + 1) / 2 : n * rows;
  const double q_row = static_cast<double>(row.n_heads * row.head_dim);
  const double kv_row_bytes =
      static_cast<double>(hw::RowBytes(row.format, row.head_dim) * row.n_kv_heads * 2);
  const double flop = 4.0 * q_row * seen;
  const double moved = n * kv_row_bytes + rows * q_row * 2 * sizeof(float);
  Measured m = Measure(peaks, flop, moved, [&](size_t times) { attention.Run(times); });
  m.error = c.Error(attention.Result());
  return m;
}

struct ProductRow {
  const char* what;
  test::ProductProblem problem;
};

// The widest product of a text layer of Qwen3-VL-4B for one token, four and a chunk; one of the vision tower
// of the 2B and 4B models; the experts of Qwen3-VL-30B-A3B.
constexpr ProductRow kProducts[] = {
    {"one token", {hw::Format::kF16, 9728, 2560, 1}},
    {"one token", {hw::Format::kQ8_0, 9728, 2560, 1}},
    {"one token", {hw::Format::kQ4_K, 9728, 2560, 1}},
    {"one token", {hw::Format::kQ6_K, 9728, 2560, 1}},
    {"four tokens", {hw::Format::kQ4_K, 9728, 2560, 4}},
    {"prompt", {hw::Format::kF16, 9728, 2560, 512}},
    {"prompt", {hw::Format::kQ8_0, 9728, 2560, 512}},
    {"prompt", {hw::Format::kQ4_K, 9728, 2560, 512}},
    {"prompt", {hw::Format::kQ6_K, 9728, 2560, 512}},
    {"picture", {hw::Format::kF16, 4096, 1024, 4096}},
    {"picture", {hw::Format::kQ8_0, 4096, 1024, 4096}},
    {"one token, 8 of 128 experts", {hw::Format::kQ4_K, 768, 2048, 1, 128, 8}},
    {"prompt, 8 of 128 experts", {hw::Format::kQ4_K, 768, 2048, 512, 128, 8}}};

void PrintProducts(std::shared_ptr<const hw::CudaDevice> device, std::span<const hw::DeviceCode> code,
                   test::GpuPeaks& peaks) {
  for (const auto& [what, p] : kProducts) {
    const size_t bytes = test::GpuBytes(p);
    const test::GpuProduct product(device, code, p, CopiesOf(*device, bytes));
    const Measured m =
        Measure(peaks, product.Flop(), product.Bytes(), [&](size_t times) { product.Run(times); });
    std::printf("| %u.%u | %s, %zu x %zu, n %zu | %s | %.3f | %.0f | %.2f | %.1f | %.2f | %.1e |\n",
                code[0].compute / 10, code[0].compute % 10, what, p.rows, p.cols, p.tokens,
                std::string(hw::Name(p.format)).c_str(), m.seconds * 1e3, m.gflops, m.fma_share, m.gbs,
                m.read_share, product.Error());
    std::fflush(stdout);
  }
}

void PrintAttention(const hw::CudaDevice& device, std::span<const hw::DeviceCode> code, test::GpuPeaks& peaks,
                    size_t length) {
  double f32_seconds = 0;
  for (const BenchRow& row : kRows) {
    const Measured m = MeasureAttention(device, code, peaks, row, length);
    const bool int8 = row.scores == GpuScores::kInt8;
    if (!int8) f32_seconds = m.seconds;
    std::printf("| %u.%u | %s | %s | %s | %.3f | %.0f | %.2f | %.1f | %.2f | %s | %.1e |\n",
                code[0].compute / 10, code[0].compute % 10, row.what,
                std::string(hw::Name(row.format)).c_str(), int8 ? "int8" : "f32", m.seconds * 1e3, m.gflops,
                m.fma_share, m.gbs, m.read_share,
                int8 ? std::to_string(f32_seconds / m.seconds).substr(0, 4).c_str() : "", m.error);
    std::fflush(stdout);
  }
}

// Registers and spills, which decide how fast a kernel can be and are the driver's doing.
void PrintKernels(const hw::CudaDevice& device, std::span<const test::CodeVersion> versions) {
  for (const test::CodeVersion& code : versions) {
    const std::vector<test::KernelFacts> kernels = test::KernelFactsOf(device, code);
    if (kernels.empty()) continue;
    const auto most = std::ranges::max_element(kernels, {}, &test::KernelFacts::registers);
    std::printf(
        "Code %u.%u as the driver compiled it: %zu kernels, at most %d registers (%s); spilled registers:",
        code[0].compute / 10, code[0].compute % 10, kernels.size(), most->registers, most->name.c_str());
    bool any = false;
    for (const test::KernelFacts& k : kernels)
      if (k.local_bytes > 0) any = std::printf(" %s %d bytes;", k.name.c_str(), k.local_bytes) > 0;
    std::puts(any ? "" : " none.");
  }
}

int Run(size_t length) {
  const auto device = std::make_shared<const hw::CudaDevice>(test::NamedDriver());
  test::GpuPeaks peaks(*device);
  const hw::GpuInfo& gpu = device->info();
  std::printf("%s, compute capability %d.%d, %zu multiprocessors, %zu MiB; device code: %s.\n",
              gpu.name.c_str(), gpu.compute_major, gpu.compute_minor, gpu.multiprocessors,
              gpu.memory_total_bytes >> 20, std::string(attention::DescribeDeviceCode()).c_str());
  std::printf("fp32 multiply-adds %.0f GFLOP/s, reading %.1f GB/s; %zu keys.\n\n", peaks.FmaGflops(),
              peaks.ReadGbs(), length);
  const auto attention = test::CodeVersions(*device, attention::EmbeddedDeviceCode());
  if (attention.empty()) throw Error(ErrorCode::kDevice, "no device code in this build that the device runs");
  std::puts(
      "| code | problem | K, V | scores | ms | GFLOP/s | of FMA peak | GB/s | of read peak | over f32 | "
      "error |");
  std::puts("|---|---|---|---|---:|---:|---:|---:|---:|---:|---:|");
  for (const auto& code : attention) PrintAttention(*device, code, peaks, length);
  std::puts("\n| code | product | weights | ms | GFLOP/s | of FMA peak | GB/s | of read peak | error |");
  std::puts("|---|---|---|---:|---:|---:|---:|---:|---:|");
  const auto layers = test::CodeVersions(*device, EmbeddedDeviceCode());
  for (const auto& code : layers) PrintProducts(device, code, peaks);
  std::puts("");
  PrintKernels(*device, attention);
  PrintKernels(*device, layers);
  return 0;
}

}  // namespace
}  // namespace qwen3vl

int main(int argc, char** argv) {
  const unsigned long length = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 4096;
  if (length == 0 || length > (1u << 20)) {
    std::fprintf(stderr, "gpu_bench: length '%s', want 1 to 1048576\n", argv[1]);
    return 2;
  }
  const qwen3vl::hw::GpuList list = qwen3vl::hw::ListGpus(qwen3vl::test::NamedDriver());
  if (list.devices.empty()) {
    std::fprintf(stderr, "gpu_bench: %s; nothing was measured\n", list.status.c_str());
    return qwen3vl::kNoDevice;
  }
  try {
    return qwen3vl::Run(length);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "gpu_bench: %s\n", e.what());
    return 1;
  }
}
