// SPDX-License-Identifier: Apache-2.0
// The safetensors container: what is written comes back, and every way a file can be wrong is named.
#include "qwen3vl/safetensors.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <limits>

#include "support/expect_error.h"
#include "support/golden.h"
#include "support/temp_dir.h"

namespace qwen3vl {
namespace {

// A file with this header and as many zero bytes of data.
std::string FileOf(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string file(8, '\0');
  std::memcpy(file.data(), &length, 8);
  return file + header + std::string(data_bytes, '\0');
}

class SafetensorsTest : public testing::Test {
 protected:
  std::string Write(const std::string& bytes) { return dir_.Write("a.safetensors", bytes); }
  void ExpectCorrupt(const std::string& text, const std::string& bytes) {
    EXPECT_ERROR(ErrorCode::kCorruptFile, text, SafetensorsFile::Open(Write(bytes)));
  }
  void ExpectCorruptHeader(const std::string& text, const std::string& header, size_t data_bytes) {
    ExpectCorrupt(text, FileOf(header, data_bytes));
  }
  const test::TempDir dir_;
};

TEST_F(SafetensorsTest, ReadsWhatAnIndependentReaderReads) {
  const SafetensorsFile file = SafetensorsFile::Open(test::DataPath("models/tiny-moe/model.safetensors"));
  const test::GoldenFile golden("models/tiny-moe/model.safetensors");
  ASSERT_EQ(file.tensors().size(), golden.tensors().size());
  EXPECT_EQ(file.metadata(), golden.metadata());
  for (const FileTensor& t : file.tensors()) {
    EXPECT_EQ(t.type, golden[t.name].dtype);
    EXPECT_EQ(t.shape, golden[t.name].shape);
    EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(t.data), t.bytes), golden[t.name].bytes);
  }
  EXPECT_EQ(file.Find("no such tensor"), nullptr);
}

TEST_F(SafetensorsTest, AcceptsWhatTheFormatAllows) {
  // A scalar, an empty tensor, an unknown type, padding after the header and a gap.
  const SafetensorsFile file = SafetensorsFile::Open(Write(FileOf(
      R"({"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"e":{"dtype":"F32","shape":[0,7],"data_offsets":[4,4]},)"
      R"("u":{"dtype":"F4_NEW","shape":[6],"data_offsets":[8,11]}}   )",
      11)));
  EXPECT_EQ(file.Find("s")->bytes, 4u);
  EXPECT_EQ(file.Find("e")->bytes, 0u);
  EXPECT_FALSE(file.Find("u")->format.has_value());
}

TEST_F(SafetensorsTest, OpensManyTensorsInTimeThatGrowsWithTheirNumber) {
  std::string header = "{";
  constexpr size_t kTensors = 100'000;  // a file with a tensor for each expert has some 20 000
  for (size_t i = 0; i < kTensors; ++i)
    header +=
        (i ? "," : "") + ("\"" + std::to_string(i)) + R"(":{"dtype":"F32","shape":[0],"data_offsets":[0,0]})";
  const std::string path = Write(FileOf(header + "}", 0));
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(SafetensorsFile::Open(path).tensors().size(), kTensors);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));  // minutes, were it squared
}

TEST_F(SafetensorsTest, RefusesBrokenFrames) {
  EXPECT_ERROR(ErrorCode::kNotFound, "missing.safetensors",
               SafetensorsFile::Open(dir_.File("missing.safetensors")));
  ExpectCorrupt("is empty", "");
  ExpectCorrupt("too short", "1234567");
  ExpectCorrupt("want at most 100000000", std::string(8, '\xff') + "{}");
  ExpectCorrupt("cut short", std::string("\x20\0\0\0\0\0\0\0{}", 10));
  ExpectCorrupt("no JSON object", FileOf("[]", 0));
  ExpectCorrupt("not valid JSON at byte", FileOf(R"({"a":)", 0));
  ExpectCorrupt("not valid JSON at byte", FileOf("{\"\xff\":1}", 0));
  ExpectCorrupt("Git LFS pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:1\n");
  ExpectCorrupt("nested deeper", FileOf("{\"a\":" + std::string(100, '[') + std::string(100, ']') + "}", 0));
}

TEST_F(SafetensorsTest, RefusesBrokenEntries) {
  ExpectCorruptHeader(
      "occurs twice",
      R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
      1);
  ExpectCorruptHeader("found 3, want an object", R"({"a":3})", 0);
  ExpectCorruptHeader("tensor \"a\" is null, want an object", R"({"a":null})", 0);
  ExpectCorruptHeader("key \"shape\" is missing", R"({"a":{"dtype":"U8","data_offsets":[0,1]}})", 1);
  ExpectCorruptHeader("want a string", R"({"a":{"dtype":7,"shape":[1],"data_offsets":[0,1]}})", 1);
  ExpectCorruptHeader("want a whole number", R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}})", 1);
  ExpectCorruptHeader("want [begin, end]", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}})", 1);
  ExpectCorruptHeader("want [begin, end]", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}})", 1);
  ExpectCorruptHeader("ends at byte 8 of the data, the file has 4",
                      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 4);
  ExpectCorruptHeader("want 3 elements of F32", R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})",
                      8);
  ExpectCorruptHeader("overflows",
                      R"({"a":{"dtype":"F32","shape":[4294967296,4294967296,2],"data_offsets":[0,8]}})", 8);
  std::string zeros = "0";
  for (int i = 0; i < 100'000; ++i) zeros += ",0";
  ExpectCorruptHeader("a.shape: found an array of 100001, want at most 16",
                      R"({"a":{"dtype":"U8","shape":[)" + zeros + R"(],"data_offsets":[0,0]}})", 0);
  ExpectCorruptHeader("a.data_offsets: found an array of 100001, want at most 2",
                      R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[)" + zeros + "]}}", 0);
  ExpectCorruptHeader(
      "share bytes",
      R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[3,7]}})",
      7);
  ExpectCorruptHeader("5 bytes at the end belong to no tensor",
                      R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 6);
  ExpectCorruptHeader("__metadata__.k: found 1, want a string", R"({"__metadata__":{"k":1}})", 0);
}

TEST_F(SafetensorsTest, WrittenTensorsComeBack) {
  const std::string path = dir_.File("out.safetensors");
  const std::vector<float> f{1.5f, -0.0f, std::numeric_limits<float>::infinity(), 4, 5, 6};
  const std::vector<int32_t> i{-1, 2};
  const std::vector<int64_t> l{int64_t{1} << 40};
  const std::vector<uint8_t> u{0, 255, 7};
  {
    SafetensorsWriter writer(path);
    writer.Add("u", {3}, u);
    writer.Add("f", {2, 3}, f);
    writer.Add("i", {2, 1}, i);
    writer.Add("l", {}, l);
    writer.Add("none", {0, 4}, std::span<const float>());
    writer.SetMetadata("path", "a \"quoted\" Grüße");
    EXPECT_FALSE(std::filesystem::exists(path));
    writer.Finish();
  }
  const test::GoldenFile golden = test::GoldenFile::FromPath(path);
  EXPECT_EQ(golden["f"].Floats(), f);
  EXPECT_EQ(golden["f"].shape, (std::vector<size_t>{2, 3}));
  EXPECT_EQ(golden["i"].Ints(), i);
  EXPECT_EQ(golden["l"].Doubles(), (std::vector<double>{1099511627776.0}));
  EXPECT_EQ(golden["u"].Ints(), (std::vector<int32_t>{0, 255, 7}));
  EXPECT_EQ(golden.metadata().at("path"), "a \"quoted\" Grüße");
  EXPECT_EQ(SafetensorsFile::Open(path).tensors().size(), 5u);
}

TEST_F(SafetensorsTest, RowsOfSeveralTensorsMayTakeTurns) {
  const std::string path = dir_.File("out.safetensors");
  {
    SafetensorsWriter writer(path);
    for (int32_t chunk = 0; chunk < 3; ++chunk) {
      const float f = static_cast<float>(chunk);
      writer.Append("f", {2, 2}, std::vector<float>{f, f + 0.25f, f + 0.5f, f + 0.75f});
      writer.Append("i", {1}, std::vector<int32_t>{-chunk});
    }
    EXPECT_ERROR(ErrorCode::kInvalidArgument, "rows F32 [1, 3] after F32 [6, 2]",
                 writer.Append("f", {1, 3}, std::vector<float>{1, 2, 3}));
    EXPECT_ERROR(ErrorCode::kInvalidArgument, "rows I32 [1, 2] after F32 [6, 2]",
                 writer.Append("f", {1, 2}, std::vector<int32_t>{1, 2}));
    writer.Finish();
  }
  const test::GoldenFile golden = test::GoldenFile::FromPath(path);
  EXPECT_EQ(golden["f"].shape, (std::vector<size_t>{6, 2}));
  EXPECT_EQ(golden["f"].Floats(),
            (std::vector<float>{0, 0.25f, 0.5f, 0.75f, 1, 1.25f, 1.5f, 1.75f, 2, 2.25f, 2.5f, 2.75f}));
  EXPECT_EQ(golden["i"].Ints(), (std::vector<int32_t>{0, -1, -2}));
}

TEST_F(SafetensorsTest, AnUnfinishedWriterLeavesTheOldFile) {
  const std::string path = dir_.Write("out.safetensors", "old");
  {
    SafetensorsWriter writer(path);
    writer.Add("f", {1}, std::vector<float>{1});
  }
  EXPECT_EQ(test::ReadFile(path), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir_.path()), {}), 1);
}

TEST_F(SafetensorsTest, WriterRefusesContradictions) {
  SafetensorsWriter writer(dir_.File("out.safetensors"));
  const std::vector<float> two{1, 2};
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "2 values for shape [3]", writer.Add("a", {3}, two));
  writer.Add("a", {2}, two);
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "added twice", writer.Add("a", {2}, two));
  EXPECT_ERROR(ErrorCode::kNotFound, "cannot be written", SafetensorsWriter(dir_.File("no/such/folder.st")));
}

TEST_F(SafetensorsTest, WriterFollowsLinks) {
  const std::string link = dir_.File("link.safetensors"), old = dir_.Write("folder/old.safetensors", "old"),
                    chain = dir_.File("chain.safetensors"), next = dir_.File("folder/new.safetensors");
  std::filesystem::create_symlink("folder/old.safetensors", link);
  std::filesystem::create_symlink(next, dir_.File("folder/dangling"));
  std::filesystem::create_symlink("folder/dangling", chain);
  for (const std::string& path : {link, chain}) {
    SafetensorsWriter writer(path);
    writer.Add("f", {1}, std::vector<float>{1});
    writer.Finish();
    EXPECT_TRUE(std::filesystem::is_symlink(path));
  }
  for (const std::string& path : {old, next}) EXPECT_EQ(SafetensorsFile::Open(path).tensors().size(), 1u);
}

TEST_F(SafetensorsTest, WriterRefusesAtOnceWhatItMustNotReplace) {
  const std::string pipe = dir_.File("pipe"), folder = dir_.path().string(), loop = dir_.File("loop");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  std::filesystem::create_symlink("loop", loop);
  EXPECT_ERROR(ErrorCode::kNotFound, "pipe: cannot be written: is a device or pipe", SafetensorsWriter{pipe});
  EXPECT_ERROR(ErrorCode::kNotFound, "cannot be written: is a folder", SafetensorsWriter{folder});
  EXPECT_ERROR(ErrorCode::kNotFound, "too many links", SafetensorsWriter{loop});
  EXPECT_TRUE(std::filesystem::is_fifo(pipe));
}

TEST_F(SafetensorsTest, WriterRefusesAFileWithoutWritePermission) {
  if (geteuid() == 0) GTEST_SKIP() << "root may write everything";
  const std::string path = dir_.Write("out.safetensors", "old");
  std::filesystem::permissions(path, std::filesystem::perms::owner_read);
  EXPECT_ERROR(ErrorCode::kNotFound, "cannot be written", SafetensorsWriter{path});
}

}  // namespace
}  // namespace qwen3vl
