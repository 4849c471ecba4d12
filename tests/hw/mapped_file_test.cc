// SPDX-License-Identifier: Apache-2.0
#include "hw/mapped_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>
#include <utility>

#include "qwen3vl/error.h"
#include "support/temp_dir.h"

namespace qwen3vl::hw {
namespace {

class MappedFileTest : public testing::Test {
 protected:
  static std::string Text(const MappedFile& file) {
    return {reinterpret_cast<const char*>(file.data()), file.size()};
  }
  const test::TempDir dir_;
};

// `open`s `path`, which must fail with `code` and a line naming the path and `why`.
template <class Open>
void ExpectRefused(const std::string& path, ErrorCode code, const std::string& why, const Open& open) {
  try {
    open();
    FAIL() << path << " was accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code);
    EXPECT_THAT(e.what(), testing::AllOf(testing::HasSubstr(path), testing::HasSubstr(why)));
  }
}

void ExpectRefused(const std::string& path, ErrorCode code, const std::string& why) {
  ExpectRefused(path, code, why, [&] { MappedFile::Open(path); });
  ExpectRefused(path, code, why, [&] { ReadWholeFile(path, 1000); });
}

TEST_F(MappedFileTest, ShowsTheBytesOfTheFile) {
  const std::string content("a\0b\n", 4);
  const MappedFile file = MappedFile::Open(dir_.Write("f", content));
  EXPECT_EQ(Text(file), content);
  EXPECT_EQ(file.bytes().size(), 4u);
}

TEST_F(MappedFileTest, OutlivesTheDirectoryEntry) {
  const std::string path = dir_.Write("f", "still here");
  const MappedFile file = MappedFile::Open(path);
  std::filesystem::remove(path);
  EXPECT_EQ(Text(file), "still here");
}

TEST_F(MappedFileTest, MoveHandsTheMappingOver) {
  MappedFile a = MappedFile::Open(dir_.Write("a", "first"));
  const std::byte* address = a.data();
  MappedFile b = std::move(a);
  EXPECT_EQ(b.data(), address);
  b = MappedFile::Open(dir_.Write("b", "second"));
  EXPECT_EQ(Text(b), "second");
}

TEST_F(MappedFileTest, AdviceAcceptsAnyRange) {
  const MappedFile file = MappedFile::Open(dir_.Write("f", std::string(10000, 'x')));
  file.AdviseWillNeed();
  file.AdviseWillNeed(5000, SIZE_MAX);
  file.AdviseWillNeed(10000, 1);
  MappedFile().AdviseWillNeed(0, 1);
  EXPECT_EQ(file.data()[9999], std::byte{'x'});
}

TEST_F(MappedFileTest, RefusesWhatIsNoFileWithContent) {
  ExpectRefused(dir_.File("missing"), ErrorCode::kNotFound, "No such file");
  ExpectRefused(dir_.path().string(), ErrorCode::kCorruptFile, "directory");
  ExpectRefused(dir_.Write("empty", ""), ErrorCode::kCorruptFile, "0 bytes");
  const std::string pipe = dir_.File("pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  ExpectRefused(pipe, ErrorCode::kCorruptFile, "pipe");
}

TEST(ReadWholeFile, CopiesWhatMayBeCutShortLater) {
  const test::TempDir dir;
  const std::string content("a\0b\n", 4), path = dir.Write("f", content);
  const std::vector<uint8_t> bytes = ReadWholeFile(path, content.size());
  std::filesystem::resize_file(path, 0);
  EXPECT_EQ(std::string(bytes.begin(), bytes.end()), content);
}

TEST(ReadWholeFile, RefusesWhatIsTooLarge) {
  const test::TempDir dir;
  const std::string path = dir.Write("f", "12345");
  ExpectRefused(path, ErrorCode::kUnsupported, "more than 4 bytes (5)", [&] { ReadWholeFile(path, 4); });
}

}  // namespace
}  // namespace qwen3vl::hw
