// SPDX-License-Identifier: Apache-2.0
// `qwen3vl trace attention` on recorded problems, against the float64 results. Limits: Tolerances in
// tests/data/README.md.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <limits>
#include <set>

#include "process.h"
#include "support/attention_cases.h"
#include "support/golden.h"
#include "support/near.h"
#include "support/seeded.h"
#include "support/temp_dir.h"

namespace qwen3vl::test {
namespace {

using testing::HasSubstr;
using Words = std::vector<std::string>;
using Json = nlohmann::json;

struct FileTensor {
  std::string name, type;
  std::vector<size_t> shape;
  std::string bytes;
};

template <class T>
std::string Bytes(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

std::string Safetensors(const std::vector<FileTensor>& tensors, const Json& metadata) {
  Json header = {{"__metadata__", metadata}};
  std::string data;
  for (const FileTensor& t : tensors) {
    header[t.name] = {
        {"dtype", t.type}, {"shape", t.shape}, {"data_offsets", {data.size(), data.size() + t.bytes.size()}}};
    data += t.bytes;
  }
  const std::string text = header.dump();
  std::string file(8, '\0');
  const uint64_t length = text.size();
  std::memcpy(file.data(), &length, 8);
  return file + text + data;
}

// The problem as `trace attention` reads it.
std::string CaseFile(const Json& c) {
  const size_t heads = c["q_heads"], kv_heads = c["kv_heads"], dim = c["head_dim"], q_len = c["q_len"],
               kv_len = c["kv_len"];
  const uint64_t seed = c["seed"];
  std::vector<FileTensor> tensors = {
      {"q", "F32", {heads, q_len, dim}, Bytes(Seeded(seed, heads * q_len * dim, c["q_amp"]))},
      {"k", "F32", {kv_heads, kv_len, dim}, Bytes(Seeded(seed + 1, kv_heads * kv_len * dim, c["k_amp"]))},
      {"v", "F32", {kv_heads, kv_len, dim}, Bytes(Seeded(seed + 2, kv_heads * kv_len * dim, c["v_amp"]))}};
  if (!c["bias"].is_null()) {
    const size_t n = c["bias"]["heads"];
    tensors.push_back(
        {"bias", "F32", {n, q_len, kv_len}, Bytes(Seeded(seed + 3, n * q_len * kv_len, c["bias"]["amp"]))});
  }
  if (!c["bool_mask"].is_null()) {
    const Json& mask = c["bool_mask"];
    const std::vector<float> values = Seeded(seed + 4, q_len * kv_len);
    std::vector<uint8_t> allowed(values.size());
    for (size_t i = 0; i < values.size(); ++i) allowed[i] = values[i] < mask["threshold"].get<float>();
    if (mask.contains("empty_rows"))
      for (const size_t row : mask["empty_rows"])
        std::fill_n(allowed.begin() + static_cast<std::ptrdiff_t>(row * kv_len), kv_len, uint8_t{0});
    tensors.push_back({"mask", "U8", {q_len, kv_len}, Bytes(allowed)});
  }
  Json metadata = {{"scale", c["scale"].dump()}, {"causal", c["causal"].get<bool>() ? "1" : "0"}};
  if (!c["softcap"].is_null()) metadata["softcap"] = c["softcap"].dump();
  for (const char* key : {"valid_range", "segments"}) {
    if (c[key].is_null()) continue;
    std::string list;
    for (const auto& n : c[key]) list += (list.empty() ? "" : ",") + n.dump();
    metadata[key] = list;
  }
  return Safetensors(tensors, metadata);
}

// The rows of `out` that the recording holds.
std::vector<float> RecordedRows(const GoldenFile& found, const GoldenFile& wanted, const Json& c) {
  const std::vector<float> all = found["out"].Floats();
  const std::string id = c["id"];
  if (c["stored"] != "selected rows") return all;
  const std::vector<int32_t> rows = wanted[id + ".rows"].Ints();
  const size_t dim = c["head_dim"], q_len = c["q_len"];
  std::vector<float> out;
  for (size_t i = 0; i < rows.size(); i += 2) {
    const size_t row = static_cast<size_t>(rows[i]) * q_len + static_cast<size_t>(rows[i + 1]);
    out.insert(out.end(), all.begin() + static_cast<std::ptrdiff_t>(row * dim),
               all.begin() + static_cast<std::ptrdiff_t>((row + 1) * dim));
  }
  return out;
}

struct Choice {
  const char* name;
  Words options;
  std::string driver_folder = {};  // of a stand-in for NVIDIA's driver
};

void PrintTo(const Choice& choice, std::ostream* os) { *os << choice.name; }

class TraceAttention : public testing::TestWithParam<Choice> {};

// Not all of the many cases: the attention tests walk them; here one of each kind goes through the command.
bool Chosen(const Json& c, std::set<std::string>& kinds) {
  const std::string name = c["name"];
  return kinds.insert(name.substr(0, name.find('_', name.find('_') + 1))).second &&
         c["q_len"].get<size_t>() * c["kv_len"].get<size_t>() * c["q_heads"].get<size_t>() < 8'000'000;
}

TEST_P(TraceAttention, GivesTheRecordedResults) {
  const GoldenFile wanted("modules/attention.safetensors");
  std::set<std::string> kinds;
  const Json recorded = ReadJson("modules/attention.json");
  const DriverFolder driver(GetParam().driver_folder);
  for (const Json& c : recorded["cases"]) {
    if (!Chosen(c, kinds)) continue;
    SCOPED_TRACE(c["name"].get<std::string>());
    const TempDir folder;
    const std::string out = folder.File("out.safetensors");
    Words words = {"trace", "attention", "--in", folder.Write("in.safetensors", CaseFile(c)), "--out", out};
    words.insert(words.end(), GetParam().options.begin(), GetParam().options.end());
    const Outcome o = RunCommand(words);
    ASSERT_EQ(o.exit_code, 0) << o;
    const GoldenFile found = GoldenFile::FromPath(out);
    const std::string id = c["id"];
    EXPECT_TRUE(
        AllNear(RecordedRows(found, wanted, c), wanted[id + ".out"].Floats(), ToleranceOfAttention(c)));
    for (const auto& row : c["fully_masked_rows"]) {
      const size_t q_row = row.is_array() ? row.back() : row;
      EXPECT_EQ(found["lse"].Floats()[q_row], -std::numeric_limits<float>::infinity());
    }
  }
  EXPECT_GT(kinds.size(), 10u);
}

INSTANTIATE_TEST_SUITE_P(Paths, TraceAttention,
                         testing::Values(Choice{"Auto", {}}, Choice{"Standard", {"--attention", "standard"}},
                                         Choice{"Tile16",
                                                {"--attention", "tiled", "--tile", "16", "--threads", "3"}},
                                         Choice{"CacheF32", {"--kv-type", "f32"}},
                                         Choice{"Cuda", {"--attention", "cuda"}, QWEN3VL_FAKE_DRIVER_FOLDER}),
                         [](const auto& param) { return std::string(param.param.name); });

Json CaseNamed(const std::string& name) {
  const Json recorded = ReadJson("modules/attention.json");
  for (const Json& c : recorded["cases"])
    if (c["name"] == name) return c;
  throw std::runtime_error("no case " + name);
}

TEST(TraceAttentionReport, SaysWhichPathRanAndWhy) {
  const TempDir folder;
  const std::string in = folder.Write("in.safetensors", CaseFile(CaseNamed("store_inputs_gqa")));
  const std::string out = folder.File("out.safetensors");
  ASSERT_EQ(RunCommand({"trace", "attention", "--in", in, "--out", out, "--attention", "standard"}).exit_code,
            0);
  EXPECT_EQ(GoldenFile::FromPath(out).metadata().at("path"), "standard");
  ASSERT_EQ(RunCommand({"trace", "attention", "--in", in, "--out", out, "--attention", "cuda"}).exit_code, 0);
  const auto metadata = GoldenFile::FromPath(out).metadata();
  EXPECT_EQ(metadata.at("asked"), "cuda");
  EXPECT_EQ(metadata.at("cause") == "none", metadata.at("path") == "cuda_tiled");
  EXPECT_NE(metadata.at("why"), "");
}

TEST(TraceAttentionReport, SaysWhichProductsRan) {
  const TempDir folder;
  const std::string out = folder.File("out.safetensors");
  const auto products = [&](const char* name) {
    const std::string in = folder.Write("in.safetensors", CaseFile(CaseNamed(name)));
    EXPECT_EQ(
        RunCommand({"trace", "attention", "--in", in, "--out", out, "--cpu-products", "int16"}).exit_code, 0);
    return GoldenFile::FromPath(out).metadata().at("products");
  };
  EXPECT_EQ(products("full_h16_16_d72_L64"), "int16");
  EXPECT_EQ(products("store_inputs_gqa"), "f32");  // 20 rows of a head are too few
}

// The whole command on the stand-in GPU, whose kernels run on the tests' block emulator.
TEST(TraceAttentionReport, RunsOnAGpu) {
  const std::string code = OutJson(RunCommand({"probe", "--json"}))["gpu_code"];
  if (code.starts_with("none")) GTEST_SKIP() << "gpu code: " << code;
  const TempDir folder;
  const std::string in = folder.Write("in.safetensors", CaseFile(CaseNamed("store_inputs_gqa")));
  const std::string out = folder.File("out.safetensors");
  const DriverFolder driver(QWEN3VL_FAKE_DRIVER_FOLDER);
  ASSERT_EQ(RunCommand({"trace", "attention", "--in", in, "--out", out, "--attention", "cuda"}).exit_code, 0);
  const auto metadata = GoldenFile::FromPath(out).metadata();
  EXPECT_EQ(metadata.at("path"), "cuda_tiled") << metadata.at("why");
  EXPECT_EQ(metadata.at("tile"), "128");
  EXPECT_EQ(metadata.at("tile_reason"), "prescribed 128 for this GPU");
  EXPECT_THAT(RunCommand({"probe"}).out, HasSubstr("NVIDIA GeForce GTX 1050, compute capability 6.1"));
}

// [length, heads, dim] -> [heads, length, dim], as the file has it.
std::vector<float> HeadsFirst(const std::vector<float>& x, size_t length, size_t heads, size_t dim) {
  std::vector<float> out(x.size());
  for (size_t i = 0; i < length; ++i)
    for (size_t h = 0; h < heads; ++h)
      std::copy_n(&x[(i * heads + h) * dim], dim, &out[(h * length + i) * dim]);
  return out;
}

TEST(TraceAttentionReport, WindowAndLogSumExp) {
  const AttentionCase c{.name = "", .shape = {1, 5, 40, 4, 2, 32}, .causal = true, .window = 7};
  const AttentionTensors t(c);
  const AttentionReference wanted = Reference(t, t.k, t.v);
  const TempDir folder;
  const std::string in = folder.Write(
      "in.safetensors", Safetensors({{"q", "F32", {4, 5, 32}, Bytes(HeadsFirst(t.q, 5, 4, 32))},
                                     {"k", "F32", {2, 40, 32}, Bytes(HeadsFirst(t.k, 40, 2, 32))},
                                     {"v", "F32", {2, 40, 32}, Bytes(HeadsFirst(t.v, 40, 2, 32))}},
                                    {{"causal", "1"}, {"window", "7"}}));
  const std::string out = folder.File("out.safetensors");
  const Outcome o = RunCommand({"trace", "attention", "--in", in, "--out", out});
  ASSERT_EQ(o.exit_code, 0) << o;
  const GoldenFile found = GoldenFile::FromPath(out);
  const std::vector<float> rows(wanted.out.begin(), wanted.out.end());
  EXPECT_LE(RelativeError(found["out"].Floats(), HeadsFirst(rows, 5, 4, 32)), kFloatTolerance);
  EXPECT_TRUE(AllNear(found["lse"].Floats(), wanted.lse, 1e-5));  // [heads, length] in both
}

TEST(TraceAttentionReport, NamesTheFileOfBadConditions) {
  const TempDir folder;
  const std::string out = folder.File("out.safetensors");
  const std::vector<float> row(32);
  for (const auto& [key, value] :
       {std::pair{"scale", "nan"}, {"softcap", "-1"}, {"segments", "0,9"}, {"window", "x"}}) {
    const std::string in = folder.Write("in.safetensors", Safetensors({{"q", "F32", {1, 1, 32}, Bytes(row)},
                                                                       {"k", "F32", {1, 1, 32}, Bytes(row)},
                                                                       {"v", "F32", {1, 1, 32}, Bytes(row)}},
                                                                      {{key, value}}));
    const Outcome o = RunCommand({"trace", "attention", "--in", in, "--out", out});
    EXPECT_EQ(o.exit_code, 3) << o;
    EXPECT_THAT(o.err, testing::AllOf(HasSubstr(in + ": "), HasSubstr(key)));
  }
}

TEST(TraceAttentionReport, FaultsAreAskedForByTheEnvironment) {
  const TempDir folder;
  const std::string in = folder.Write("in.safetensors", CaseFile(CaseNamed("store_inputs_gqa")));
  const std::string out = folder.File("out.safetensors");
  setenv("QWEN3VL_FAULT", "alloc", 1);
  const Outcome o = RunCommand({"trace", "attention", "--in", in, "--out", out, "--attention", "tiled"});
  setenv("QWEN3VL_FAULT", "smoke", 1);
  const Outcome unknown = RunCommand({"trace", "attention", "--in", in, "--out", out});
  unsetenv("QWEN3VL_FAULT");
  ASSERT_EQ(o.exit_code, 0) << o;
  const auto metadata = GoldenFile::FromPath(out).metadata();
  EXPECT_EQ(metadata.at("path"), "standard");
  EXPECT_EQ(metadata.at("cause"), "memory");
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("unknown fault \"smoke\""));
}

TEST(TraceAttentionReport, CompressedCachesStayClose) {
  const Json c = CaseNamed("decode_h16_8_d128_k128");
  const GoldenFile wanted("modules/attention.safetensors");
  const TempDir folder;
  const std::string in = folder.Write("in.safetensors", CaseFile(c)), out = folder.File("out.safetensors");
  // The recorded values are exact in 16 bits.
  for (const auto& [type, bound] :
       {std::pair{"f16", kFloatTolerance}, {"bf16", kFloatTolerance}, {"q8_0", 1e-2}}) {
    const Outcome o = RunCommand({"trace", "attention", "--in", in, "--out", out, "--kv-type", type});
    ASSERT_EQ(o.exit_code, 0) << o;
    EXPECT_LE(RelativeError(RecordedRows(GoldenFile::FromPath(out), wanted, c),
                            wanted[c["id"].get<std::string>() + ".out"].Floats()),
              bound)
        << type;
  }
}

TEST(TraceAttentionBadFile, IsOneLineAndNoFile) {
  const Json good = CaseNamed("store_inputs_gqa");
  const auto q = [](std::vector<size_t> shape, const char* type, size_t bytes) {
    return FileTensor{"q", type, std::move(shape), std::string(bytes, '\0')};
  };
  const FileTensor k{"k", "F32", {2, 3, 4}, std::string(96, '\0')},
      v{"v", "F32", {2, 3, 4}, std::string(96, '\0')};
  struct Case {
    std::string file, mention;
  };
  const std::vector<Case> cases = {
      {"", "in.safetensors"},
      {CaseFile(good).substr(0, 300), "in.safetensors"},
      {Safetensors({k, v}, Json::object()), "no tensor q"},
      {Safetensors({q({2, 4}, "F32", 32), k, v}, Json::object()), "[heads, length, head_dim]"},
      {Safetensors({q({2, 1, 4}, "I32", 32), k, v}, Json::object()), "I32"},
      {Safetensors({q({3, 1, 4}, "F32", 48), k, v}, Json::object()), "multiple"},
      {Safetensors({q({2, 1, 8}, "F32", 64), k, v}, Json::object()), "k: shape"},
      {Safetensors({q({2, 1, 4}, "F32", 32), k, v}, {{"scale", "large"}}), "scale"},
      {Safetensors({q({2, 1, 4}, "F32", 32), k, v}, {{"scale", "nan"}}), "scale"},
      {Safetensors({q({2, 1, 4}, "F32", 32), k, v}, {{"scale", "0"}}),
       "scale: '0', want a number other than 0"},
      {Safetensors({q({2, 1, 4}, "F32", 32), k, v}, {{"causal", "maybe"}}), "causal"},
      {Safetensors({q({2, 1, 4}, "F32", 32), k, v}, {{"valid_range", "3,1"}}), "valid_range"},
      {Safetensors({q({2, 3, 4}, "F32", 96), k, v}, {{"segments", "0,2,1"}}), "segments"},
      {Safetensors({q({2, 1, 4}, "F32", 32), k, v, {"mask", "U8", {3, 1}, "abc"}}, Json::object()), "mask"}};
  for (const Case& c : cases) {
    const TempDir folder;
    const Outcome o = RunCommand({"trace", "attention", "--in", folder.Write("in.safetensors", c.file),
                                  "--out", folder.File("out.safetensors")});
    EXPECT_EQ(o.exit_code, 3) << c.mention << o;
    EXPECT_EQ(CountLines(o.err), 1u) << c.mention << o;
    EXPECT_THAT(o.err, HasSubstr(c.mention));
    EXPECT_FALSE(std::filesystem::exists(folder.File("out.safetensors")));
  }
}

}  // namespace
}  // namespace qwen3vl::test
