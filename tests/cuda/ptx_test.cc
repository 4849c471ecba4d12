// SPDX-License-Identifier: Apache-2.0
// The PTX text that the library embeds, executed: bit-equal to the emulated source, every access within its
// arrays. What the interpreter is to find in PTX, it finds.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <span>

#include "attention/cuda/attention_cuda.h"
#include "attention/cuda/device_code.h"
#include "attention/row_codec.h"
#include "cuda/block_emulator.h"
#include "cuda/fake_device.h"
#include "cuda/ptx_interpreter.h"

namespace qwen3vl::attention {
namespace {

using test::AttentionTensors;
using test::CudaResult;
using test::FakeCuda;
using test::RunOnCuda;
using testing::HasSubstr;

struct PtxCase {
  const char* name;
  unsigned compute;
  unsigned head_dim;
  hw::Format format;
  GpuScores scores;
};

std::vector<PtxCase> PtxCases() {
  std::vector<PtxCase> cases;
  static std::deque<std::string> names;
  for (unsigned compute : {61u, 75u})
    for (unsigned head_dim : {64u, 72u, 80u, 128u})
      for (hw::Format format : {hw::Format::kF32, hw::Format::kF16, hw::Format::kQ8_0}) {
        if (format == hw::Format::kQ8_0 && head_dim % 32 != 0) continue;
        for (GpuScores scores : {GpuScores::kF32, GpuScores::kInt8}) {
          names.push_back("Compute" + std::to_string(compute) + "Head" + std::to_string(head_dim) +
                          (format == hw::Format::kF32   ? "F32"
                           : format == hw::Format::kF16 ? "F16"
                                                        : "Q8") +
                          (scores == GpuScores::kInt8 ? "Int8Scores" : ""));
          cases.push_back({names.back().c_str(), compute, head_dim, format, scores});
        }
      }
  return cases;
}

// A row codec's image of dense rows.
std::vector<std::byte> Encode(hw::Format format, const std::vector<float>& values) {
  std::vector<std::byte> bytes(hw::RowBytes(format, values.size()));
  EncodeRow(format, values.data(), values.size(), bytes.data());
  return bytes;
}

class PtxTest : public testing::TestWithParam<PtxCase> {};

TEST_P(PtxTest, IsBitEqualToTheSource) {
  std::vector<hw::DeviceCode> code;
  for (const hw::DeviceCode& c : EmbeddedDeviceCode())
    if (c.compute == GetParam().compute) code.push_back(c);
  if (code.empty()) GTEST_SKIP() << "device code: " << DescribeDeviceCode();
  const size_t head_dim = GetParam().head_dim;
  const hw::Format format = GetParam().format;
  Options options;
  options.gpu_scores = GetParam().scores;
  // One of each: several blocks of rows and tiles with a causal edge; splits with a padded batch.
  const test::AttentionCase cases[] = {
      {.name = "prefill", .shape = {1, 35, 290, 4, 2, head_dim}, .causal = true},
      {.name = "decode", .shape = {2, 1, 300, 6, 1, head_dim}, .kv_lengths = {300, 140}}};
  for (const test::AttentionCase& c : cases) {
    SCOPED_TRACE(c.name);
    const AttentionTensors t(c);
    Inputs in = t.inputs();
    const std::vector<std::byte> k = Encode(format, t.k), v = Encode(format, t.v);
    in.k.data = k.data(), in.v.data = v.data();
    in.k.format = in.v.format = format;
    for (const char* gpu : {"one", "ampere"}) {  // tiles of 128 and of 256
      if (GetParam().compute == 75 && gpu == std::string("one")) continue;
      FakeCuda fake(gpu);
      CudaAttention source(test::FakeDriver(), code);
      const CudaResult wanted = RunOnCuda(source, in, options);
      ASSERT_EQ(wanted.outcome.cause, FallbackCause::kNone) << wanted.outcome.sentence;
      fake.ExecutePtx(true);
      CudaAttention text(test::FakeDriver(), code);
      const CudaResult found = RunOnCuda(text, in, options);
      ASSERT_EQ(found.outcome.cause, FallbackCause::kNone) << found.outcome.sentence;
      EXPECT_EQ(found.out, wanted.out);
      EXPECT_EQ(found.lse, wanted.lse);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Modules, PtxTest, testing::ValuesIn(PtxCases()),
                         [](const auto& param_info) { return std::string(param_info.param.name); });

// What running a kernel of this body on one warp says; memory: 32 floats to read, 32 to write.
std::string FailureOf(const std::string& body) {
  const std::string text =
      ".version 6.0\n.target sm_61\n.shared .align 4 .b8 room[128];\n.visible .entry kernel(\n"
      "\t.param .align 8 .b8 kernel_param_0[16]\n)\n{\n" +
      body + "\tret;\n}\n";
  // More than is shown to the kernel: allocators may put one array right behind the other.
  std::vector<float> in(64, 1.0f), out(64);
  const std::array<uint64_t, 2> parameters = {reinterpret_cast<uint64_t>(in.data()),
                                              reinterpret_cast<uint64_t>(out.data())};
  const gpu::MemoryRange memory[] = {{parameters[0], 128, false}, {parameters[1], 128, true}};
  try {
    const auto kernels = gpu::ParsePtx(text);
    gpu::Launch({}, 32, [&] { RunPtx(kernels.at("kernel"), std::as_bytes(std::span(parameters)), memory); });
  } catch (const std::exception& e) {
    return e.what();
  }
  return "ran";
}

constexpr char kAddresses[] =
    "\tld.param.u64 %rd1, [kernel_param_0];\n\tld.param.u64 %rd2, [kernel_param_0+8];\n"
    "\tmov.u32 %r1, %tid.x;\n\tmul.wide.u32 %rd3, %r1, 4;\n\tadd.s64 %rd4, %rd1, %rd3;\n"
    "\tadd.s64 %rd5, %rd2, %rd3;\n";

TEST(PtxInterpreter, RunsWhatIsRight) {
  EXPECT_EQ(
      FailureOf(std::string(kAddresses) + "\tld.global.f32 %f1, [%rd4];\n\tst.global.f32 [%rd5], %f1;\n"),
      "ran");
}

TEST(PtxInterpreter, NamesTheLineOfABadAccess) {
  EXPECT_THAT(FailureOf(std::string(kAddresses) + "\tld.global.f32 %f1, [%rd4+4];\n"),
              HasSubstr("kernel, PTX line 14, thread 31: read outside its arrays"));
  EXPECT_THAT(FailureOf(std::string(kAddresses) + "\tst.global.f32 [%rd4], %f1;\n"),
              HasSubstr("write outside its arrays"));
  EXPECT_THAT(FailureOf(std::string(kAddresses) + "\tld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%rd4];\n"),
              HasSubstr("not a multiple of 16"));
  EXPECT_THAT(FailureOf("\tmov.u64 %rd1, room;\n\tld.shared.f32 %f1, [%rd1+128];\n"),
              HasSubstr("byte 128 of 128 shared ones"));
}

// The value that the first thread of a kernel with this body leaves in %r3.
unsigned ResultOf(const std::string& body) {
  const std::string text =
      ".version 6.0\n.target sm_61\n.visible .entry kernel(\n\t.param .align 8 .b8 "
      "kernel_param_0[8]\n)\n{\n" +
      body + "\tld.param.u64 %rd1, [kernel_param_0];\n\tst.global.u32 [%rd1], %r3;\n\tret;\n}\n";
  unsigned out = 0;
  const uint64_t address = reinterpret_cast<uint64_t>(&out);
  const gpu::MemoryRange memory[] = {{address, sizeof out, true}};
  const auto kernels = gpu::ParsePtx(text);
  gpu::Launch({}, 32, [&] { RunPtx(kernels.at("kernel"), std::as_bytes(std::span(&address, 1)), memory); });
  return out;
}

TEST(PtxInterpreter, MultipliesSignedBytes) {
  // 1 * 5 + (-2) * 6 + 127 * (-128) + (-1) * (-1) + 10
  EXPECT_EQ(ResultOf("\tmov.u32 %r1, 0xff7ffe01;\n\tmov.u32 %r2, 0xff800605;\n"
                     "\tdp4a.s32.s32 %r3, %r1, %r2, 10;\n"),
            static_cast<unsigned>(5 - 12 - 127 * 128 + 1 + 10));
}

TEST(PtxInterpreter, PicksBytes) {
  EXPECT_EQ(ResultOf("\tmov.u32 %r1, 0x33221100;\n\tmov.u32 %r2, 0xf7665544;\n"
                     "\tprmt.b32 %r3, %r1, %r2, 0xf810;\n"),
            0xff001100u);
}

TEST(PtxInterpreter, RegistersBeginAsNoAddress) {
  EXPECT_THAT(FailureOf("\tld.global.f32 %f1, [%rd9];\n"), HasSubstr("PTX line 8"));
}

TEST(PtxInterpreter, NamesABarrierThatOnlySomeThreadsReach) {
  EXPECT_THAT(FailureOf("\tmov.u32 %r1, %tid.x;\n\tsetp.lt.u32 %p1, %r1, 7;\n\t@%p1 bar.sync 0;\n"),
              HasSubstr("thread 0 waits at the barrier in line 10"));
}

TEST(PtxInterpreter, NamesWhatItDoesNotKnow) {
  EXPECT_THAT(FailureOf("\tpopc.b32 %r1, %r2;\n"), HasSubstr("PTX line 8: unknown instruction popc"));
  EXPECT_THAT(FailureOf("\tbra NOWHERE;\n"), HasSubstr("no label NOWHERE"));
}

}  // namespace
}  // namespace qwen3vl::attention
