// SPDX-License-Identifier: Apache-2.0
#include "hw/mapped_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include "qwen3vl/error.h"

namespace qwen3vl::hw {
namespace {

namespace fs = std::filesystem;

class MappedFileTest : public testing::Test {
 protected:
  void SetUp() override {
    const testing::TestInfo* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::temp_directory_path() /
              ("qwen3vl_mapped_" + std::string(info->name()) + "_" + std::to_string(getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string Write(const std::string& name, const std::string& content) const {
    const fs::path path = folder_ / name;
    std::ofstream(path, std::ios::binary) << content;
    return path.string();
  }
  static std::string Text(const MappedFile& file) {
    return {reinterpret_cast<const char*>(file.data()), file.size()};
  }

  fs::path folder_;
};

// Opens `path`, which must fail with `code` and a line naming the path and `why`.
void ExpectRefused(const std::string& path, ErrorCode code, const std::string& why) {
  try {
    MappedFile::Open(path);
    FAIL() << path << " was accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code);
    EXPECT_THAT(e.what(), testing::AllOf(testing::HasSubstr(path), testing::HasSubstr(why)));
  }
}

TEST_F(MappedFileTest, ShowsTheBytesOfTheFile) {
  const std::string content("a\0b\n", 4);
  const MappedFile file = MappedFile::Open(Write("f", content));
  EXPECT_EQ(Text(file), content);
  EXPECT_EQ(file.bytes().size(), 4u);
}

TEST_F(MappedFileTest, OutlivesTheDirectoryEntry) {
  const std::string path = Write("f", "still here");
  const MappedFile file = MappedFile::Open(path);
  fs::remove(path);
  EXPECT_EQ(Text(file), "still here");
}

TEST_F(MappedFileTest, MoveHandsTheMappingOver) {
  MappedFile a = MappedFile::Open(Write("a", "first"));
  const std::byte* address = a.data();
  MappedFile b = std::move(a);
  EXPECT_EQ(b.data(), address);
  b = MappedFile::Open(Write("b", "second"));
  EXPECT_EQ(Text(b), "second");
}

TEST_F(MappedFileTest, AdviceAcceptsAnyRange) {
  const MappedFile file = MappedFile::Open(Write("f", std::string(10000, 'x')));
  file.AdviseWillNeed();
  file.AdviseWillNeed(5000, SIZE_MAX);
  file.AdviseWillNeed(10000, 1);
  file.AdviseSequential();
  MappedFile().AdviseWillNeed(0, 1);
  MappedFile().AdviseSequential();
  EXPECT_EQ(file.data()[9999], std::byte{'x'});
}

TEST_F(MappedFileTest, RefusesWhatIsNoFileWithContent) {
  ExpectRefused((folder_ / "missing").string(), ErrorCode::kNotFound, "No such file");
  ExpectRefused(folder_.string(), ErrorCode::kCorruptFile, "directory");
  ExpectRefused(Write("empty", ""), ErrorCode::kCorruptFile, "0 bytes");
  const std::string pipe = (folder_ / "pipe").string();
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  ExpectRefused(pipe, ErrorCode::kCorruptFile, "pipe");
}

}  // namespace
}  // namespace qwen3vl::hw
