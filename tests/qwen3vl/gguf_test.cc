// SPDX-License-Identifier: Apache-2.0
// The GGUF container: values of every type, and every way a file can be wrong.
#include "qwen3vl/gguf.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/gguf_writer.h"
#include "support/temp_dir.h"

namespace qwen3vl {
namespace {

using test::GgufWriter;

constexpr uint32_t kF32 = 0, kQ4_0 = 2;

class GgufTest : public testing::Test {
 protected:
  GgufFile Open(const std::string& bytes) { return GgufFile::Open(dir_.Write("a.gguf", bytes)); }
  void ExpectBad(ErrorCode code, const std::string& text, const std::string& bytes) {
    EXPECT_ERROR(code, text, Open(bytes));
  }
  void ExpectCorrupt(const std::string& text, const GgufWriter& file) {
    ExpectBad(ErrorCode::kCorruptFile, text, file.File());
  }
  const test::TempDir dir_;
};

TEST_F(GgufTest, ReadsValuesOfEveryType) {
  const GgufFile f = Open(GgufWriter()
                              .Raw("u8", 0, "\x07")
                              .Raw("i8", 1, "\x7f")
                              .Raw("u16", 2, std::string_view("\x01\x02", 2))
                              .Raw("i16", 3, std::string_view("\xff\xff", 2))
                              .U32("u32", 4000000000u)
                              .I32("i32", -5)
                              .F32("f32", 0.5f)
                              .Bool("bool", true)
                              .Str("string", "text")
                              .Raw("u64", 10, std::string_view("\0\0\0\0\1\0\0\0", 8))
                              .Raw("i64", 11, std::string_view("\x09\0\0\0\0\0\0\0", 8))
                              .Raw("f64", 12, std::string_view("\0\0\0\0\0\0\xf0\x3f", 8))
                              .Strings("strings", {"a", "", "ccc"})
                              .Ints("ints", {1, -2})
                              .Bools("bools", {true, false})
                              .Floats("floats", {1, 0.25f})
                              .File());
  EXPECT_EQ(f.Size("u8"), 7u);
  EXPECT_EQ(f.Size("i8"), 127u);
  EXPECT_EQ(f.Size("u16"), 0x201u);
  EXPECT_EQ(f.Number("i16"), -1);
  EXPECT_EQ(f.Size("u32"), 4000000000u);
  EXPECT_EQ(f.Number("i32"), -5);
  EXPECT_EQ(f.Number("f32"), 0.5);
  EXPECT_TRUE(f.Bool("bool"));
  EXPECT_EQ(f.String("string"), "text");
  EXPECT_EQ(f.Size("u64"), size_t{1} << 32);
  EXPECT_EQ(f.Size("i64"), 9u);
  EXPECT_EQ(f.Number("f64"), 1);
  EXPECT_EQ(f.Strings("strings"), (std::vector<std::string>{"a", "", "ccc"}));
  EXPECT_EQ(f.Ints("ints"), (std::vector<int64_t>{1, -2}));
  EXPECT_EQ(f.Bools("bools"), (std::vector<bool>{true, false}));
  EXPECT_EQ(f.Numbers("floats"), (std::vector<double>{1, 0.25}));
}

TEST_F(GgufTest, SkipsNestedArrays) {
  // Two arrays: [u8 1, 2] and [string "x"].
  const std::string inner = std::string("\0\0\0\0\2\0\0\0\0\0\0\0\1\2", 14) +
                            std::string("\x08\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0x", 21);
  EXPECT_EQ(Open(GgufWriter().Array("nested", 9, 2, inner).U32("after", 3).File()).Size("after"), 3u);
}

TEST_F(GgufTest, WrongTypesAreNamed) {
  const GgufFile f = Open(GgufWriter()
                              .Str("s", "x")
                              .I32("minus", -5)
                              .F32("half", 0.5f)
                              .F32("nan", NAN)
                              .Strings("list", {"a"})
                              .File());
  EXPECT_ERROR(ErrorCode::kCorruptFile, "key \"none\" is missing", f.Size("none"));
  EXPECT_ERROR(ErrorCode::kCorruptFile, "key \"s\" is string, want a whole number", f.Size("s"));
  EXPECT_ERROR(ErrorCode::kCorruptFile, "key \"minus\" is i32 -5, want", f.Size("minus"));
  EXPECT_ERROR(ErrorCode::kCorruptFile, "key \"half\" is f32 0.5", f.Size("half"));
  EXPECT_ERROR(ErrorCode::kCorruptFile, "key \"nan\" is f32 that is not finite, want a number",
               f.Number("nan"));
  EXPECT_ERROR(ErrorCode::kCorruptFile, "key \"list\" is an array of string, want a string",
               f.String("list"));
  EXPECT_ERROR(ErrorCode::kCorruptFile, "want an array of whole numbers", f.Ints("list"));
  EXPECT_ERROR(ErrorCode::kCorruptFile, "key \"s\" is string, want an array of strings", f.Strings("s"));
  EXPECT_ERROR(ErrorCode::kCorruptFile, "want a bool", f.Bool("s"));
}

TEST_F(GgufTest, ReadsTensors) {
  const GgufFile f = Open(GgufWriter(2, 64)
                              .U32("general.alignment", 64)
                              .Tensor("a", {2, 3}, kF32, std::string(24, '\1'))
                              .Tensor("b", {64, 2}, kQ4_0, std::string(72, '\2'))
                              .File());
  ASSERT_EQ(f.tensors().size(), 2u);
  EXPECT_EQ(f.Find("a")->shape, (std::vector<size_t>{3, 2}));
  EXPECT_EQ(f.Find("b")->bytes, 72u);
  EXPECT_EQ(f.Find("b")->format, hw::Format::kQ4_0);
  EXPECT_EQ(std::to_integer<int>(f.Find("b")->data[71]), 2);
  EXPECT_EQ(f.Find("c"), nullptr);
  EXPECT_EQ(f.trailing_bytes(), 0u);
}

TEST_F(GgufTest, CountsTrailingBytes) {
  const GgufFile f = Open(GgufWriter().Tensor("a", {1}, kF32, "1234").File() + std::string(100, 'x'));
  EXPECT_EQ(f.trailing_bytes(), 100u);
}

TEST_F(GgufTest, RefusesOtherFilesAndVersions) {
  ExpectBad(ErrorCode::kCorruptFile, "is empty", "");
  ExpectBad(ErrorCode::kCorruptFile, "does not begin with \"GGUF\"", "GG");
  ExpectBad(ErrorCode::kCorruptFile, "does not begin with \"GGUF\"", "ggjt1234567890");
  ExpectBad(ErrorCode::kCorruptFile, "Git LFS pointer", "version https://git-lfs.github.com/spec/v1\n");
  ExpectBad(ErrorCode::kUnsupported, "GGUF version 1", GgufWriter(1).File());
  ExpectBad(ErrorCode::kUnsupported, "version of a big-endian machine", GgufWriter(0x03000000).File());
  ExpectBad(ErrorCode::kUnsupported, "GGUF version 4", GgufWriter(4).File());
}

// Counts of 2^60 in a small file: refused before anything of that size is allocated or walked.
TEST_F(GgufTest, RefusesCountsThatTheFileCannotHold) {
  constexpr uint64_t kHuge = uint64_t{1} << 60;
  ExpectCorrupt("cut short or damaged", GgufWriter().MiscountKeys(kHuge));
  ExpectCorrupt("cut short or damaged", GgufWriter().MiscountTensors(kHuge));
  ExpectCorrupt("key \"a\" needs 1152921504606846976 elements", GgufWriter().Array("a", 8, kHuge, ""));
  ExpectCorrupt("needs 1152921504606846976 elements", GgufWriter().Array("a", 10, kHuge, ""));
  ExpectCorrupt("needs 18446744073709551615 elements", GgufWriter().Array("a", 9, ~uint64_t{0}, ""));
  ExpectCorrupt("bytes left",
                GgufWriter().Raw("s", 8, std::string_view("\xff\xff\xff\xff\xff\xff\xff\x7f", 8)));
}

TEST_F(GgufTest, RefusesBrokenMetadata) {
  ExpectCorrupt("key \"k\" has value type 13", GgufWriter().Raw("k", 13, "1234"));
  ExpectCorrupt("key \"k\" has value type 99", GgufWriter().Array("k", 99, 1, "1234"));
  ExpectCorrupt("key \"k\" occurs twice", GgufWriter().U32("k", 1).U32("k", 1));
  std::string deep;
  for (int i = 0; i < 20; ++i) deep += std::string("\x09\0\0\0\1\0\0\0\0\0\0\0", 12);
  ExpectCorrupt("nested too deep", GgufWriter().Array("k", 9, 1, deep));
  ExpectCorrupt("general.alignment is 24",
                GgufWriter().U32("general.alignment", 24).Tensor("a", {1}, kF32, "1234"));
  ExpectCorrupt("general.alignment is 0",
                GgufWriter().U32("general.alignment", 0).Tensor("a", {1}, kF32, "1234"));
}

TEST_F(GgufTest, RefusesBrokenDirectories) {
  const std::string four = "1234";
  ExpectCorrupt("has 0 dimensions", GgufWriter().Tensor("a", {}, kF32, four));
  ExpectCorrupt("has 5 dimensions", GgufWriter().Tensor("a", {1, 1, 1, 1, 1}, kF32, four));
  ExpectCorrupt("want no dimension of 0", GgufWriter().Tensor("a", {0}, kF32, four));
  ExpectCorrupt("overflows", GgufWriter().Tensor("a", {uint64_t{1} << 40, uint64_t{1} << 40}, kF32, four));
  ExpectCorrupt("too large", GgufWriter().Tensor("a", {uint64_t{1} << 62, 3}, kF32, four));
  ExpectCorrupt("rows of 33 elements, want a multiple of 32", GgufWriter().Tensor("a", {33}, kQ4_0, four));
  ExpectCorrupt("tensor \"a\" is listed twice",
                GgufWriter().Tensor("a", {1}, kF32, four).Tensor("a", {1}, kF32, four));
  ExpectCorrupt("share bytes",
                GgufWriter().Tensor("a", {16}, kF32, std::string(64, '1')).TensorAt("b", {1}, kF32, 32));
  ExpectCorrupt("begins at offset 8, want a multiple of 32",
                GgufWriter().Tensor("a", {1}, kF32, four).TensorAt("b", {1}, kF32, 8));
  ExpectCorrupt("needs 4 bytes at offset 64 of the data",
                GgufWriter().Tensor("a", {1}, kF32, four).TensorAt("b", {1}, kF32, 64));
  ExpectCorrupt("needs 4 bytes at offset 18446744073709551584",
                GgufWriter().Tensor("a", {1}, kF32, four).TensorAt("b", {1}, kF32, ~uint64_t{31}));
}

TEST_F(GgufTest, NamesTypesThatItCannotUse) {
  const std::string data(512, '\0');
  ExpectBad(ErrorCode::kUnsupported, "tensor \"a\" has type 21 (iq3_s)",
            GgufWriter().Tensor("a", {256}, 21, data).File());
  ExpectBad(ErrorCode::kUnsupported, "tensor \"a\" has type 138 (unknown)",
            GgufWriter().Tensor("a", {256}, 138, data).File());
}

// Names from a file stay on one line of a message.
TEST_F(GgufTest, NamesAreQuotedSafely) {
  ExpectCorrupt("tensor \"a?b\" has 0 dimensions", GgufWriter().Tensor("a\nb", {}, kF32, "1234"));
}

}  // namespace
}  // namespace qwen3vl
