// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/whole_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <iterator>

#include "support/expect_error.h"
#include "support/temp_dir.h"

namespace qwen3vl {
namespace {

namespace fs = std::filesystem;

TEST(WholeFile, ReplacesTheFileAndLeavesNothingBeside) {
  const test::TempDir folder;
  const std::string path = folder.Write("a.txt", "earlier, and longer");
  CheckCanWrite(path);
  EXPECT_EQ(test::ReadFile(path), "earlier, and longer");
  WriteWholeFile(path, "new");
  EXPECT_EQ(test::ReadFile(path), "new");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
}

TEST(WholeFile, LinksStayLinks) {
  const test::TempDir folder;
  fs::create_symlink("target", folder.path() / "link");
  WriteWholeFile(folder.File("link"), "new");
  EXPECT_TRUE(fs::is_symlink(folder.path() / "link"));
  EXPECT_EQ(test::ReadFile(folder.path() / "target"), "new");
}

TEST(WholeFile, DevicesAreWrittenToDirectly) {
  CheckCanWrite("/dev/null");
  WriteWholeFile("/dev/null", "text");
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
  EXPECT_ERROR(ErrorCode::kOutOfMemory, "/dev/full: writing failed: No space left on device",
               WriteWholeFile("/dev/full", "text"));
}

TEST(WholeFile, NamesTheReasonWhereNothingCanBeWritten) {
  const test::TempDir folder;
  EXPECT_ERROR(ErrorCode::kNotFound, "cannot be written: No such file or directory",
               CheckCanWrite(folder.File("none/a.txt")));
  EXPECT_ERROR(ErrorCode::kNotFound, "cannot be written: No such file or directory",
               WriteWholeFile(folder.File("none/a.txt"), "text"));
  EXPECT_ERROR(ErrorCode::kNotFound, "is a folder", CheckCanWrite(folder.path().string()));
  fs::create_symlink("loop", folder.path() / "loop");
  EXPECT_ERROR(ErrorCode::kNotFound, "too many links", CheckCanWrite(folder.File("loop")));
}

}  // namespace
}  // namespace qwen3vl
