// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "qwen3vl/image.h"
#include "support/expect_error.h"
#include "support/golden.h"
#include "support/temp_dir.h"

namespace {
int entries_until_failure = -1;  // -1: none fails
}

// In place of the C library's: no folder on a sound disk can be made to fail after its first entries.
extern "C" [[gnu::visibility("default")]] dirent* readdir(DIR* folder) {
  if (entries_until_failure == 0) {
    errno = EIO;
    return nullptr;
  }
  if (entries_until_failure > 0) --entries_until_failure;
  static const auto real = reinterpret_cast<dirent* (*)(DIR*)>(dlsym(RTLD_NEXT, "readdir"));
  return real(folder);
}

namespace qwen3vl {
namespace {

using nlohmann::json;

TEST(SampleFrames, MatchesEveryRecordedClip) {
  const json all = test::ReadJson("modules/prompt_expand.json")["sample_frames"];
  for (const json& c : all["cases"]) {
    const json& asked = c["requested"];
    const ClipSampling sampling{.fps = asked.value("fps", all["default_fps"].get<double>()),
                                .min_frames = all["min_frames"],
                                .max_frames = all["max_frames"]};
    const size_t total = c["total_num_frames"];
    const std::vector<size_t> found = asked.contains("num_frames")
                                          ? EvenFrames(total, asked["num_frames"])
                                          : SampleFrames(total, c["video_fps"], sampling);
    ASSERT_EQ(found.size(), c["n"].get<size_t>()) << c;
    if (!c["indices"].is_null()) {
      EXPECT_EQ(found, c["indices"].get<std::vector<size_t>>()) << c;
    }
    const auto first = c["first"].get<std::vector<size_t>>(), last = c["last"].get<std::vector<size_t>>();
    EXPECT_TRUE(std::equal(first.begin(), first.end(), found.begin())) << c;
    EXPECT_TRUE(std::equal(last.rbegin(), last.rend(), found.rbegin())) << c;
    EXPECT_EQ(std::accumulate(found.begin(), found.end(), size_t{0}), c["sum"].get<size_t>()) << c;
  }
}

TEST(SampleFrames, TakesTwoASecond) {
  EXPECT_THAT(SampleFrames(300, 30, {}), testing::ElementsAre(0, 16, 31, 47, 63, 79, 94, 110, 126, 142, 157,
                                                              173, 189, 205, 220, 236, 252, 268, 283, 299));
}

TEST(SampleFrames, AssumesARateOf24) { EXPECT_EQ(SampleFrames(100, 0, {}), SampleFrames(100, 24, {})); }

TEST(SampleFrames, RejectsNonsense) {
  EXPECT_THROW(SampleFrames(0, 30, {}), Error);
  EXPECT_THROW(SampleFrames(10, -1, {}), Error);
  EXPECT_THROW(SampleFrames(10, std::numeric_limits<double>::quiet_NaN(), {}), Error);
  EXPECT_THROW(SampleFrames(10, 30, {.fps = std::numeric_limits<double>::quiet_NaN()}), Error);
  EXPECT_THROW(SampleFrames(10, 30, {.fps = 0}), Error);
  EXPECT_THROW(EvenFrames(10, 11), Error);
  EXPECT_EQ(SampleFrames(10, 1e-300, {}).size(), 10u);  // an absurd rate asks for all there are
}

TEST(GroupSeconds, MatchesEveryRecordedClip) {
  const json all = test::ReadJson("modules/prompt_expand.json")["timestamps"];
  ASSERT_FALSE(all.empty());
  for (const json& c : all) {
    auto seconds = c["frames_indices"].get<std::vector<double>>();
    for (double& s : seconds) s /= c["fps"].get<double>();
    EXPECT_EQ(GroupSeconds(seconds, 2), c["timestamps"].get<std::vector<double>>()) << c;
  }
}

TEST(ListFrames, SortsNumbersByValue) {
  const test::TempDir folder;
  for (const char* name : {"frame10.png", "frame2.png", "frame02.png", "frame1b.PNG", "frame1.jpeg", "a.webp",
                           "notes.txt", ".hidden.png", "frame99999999999999999999999.gif"})
    folder.Write(name, "x");
  folder.Write("no_extension", "\x89PNG\r\n\x1A\n and so on");
  folder.Write("folder.png/inside.png", "x");
  std::vector<std::string> want;
  for (const char* name : {"a.webp", "frame1.jpeg", "frame1b.PNG", "frame02.png", "frame2.png", "frame10.png",
                           "frame99999999999999999999999.gif", "no_extension"})
    want.push_back(folder.File(name));
  EXPECT_EQ(ListFrames(folder.path().string()), want);
}

TEST(ListFrames, SaysWhatIsWrongWithAFolder) {
  const test::TempDir folder;
  const std::string path = folder.path().string(), missing = folder.File("missing"),
                    file = folder.Write("readme.txt", "no picture");
  EXPECT_ERROR(ErrorCode::kNotFound, path, ListFrames(path));
  EXPECT_ERROR(ErrorCode::kNotFound, missing, ListFrames(missing));
  EXPECT_ERROR(ErrorCode::kInvalidArgument, file, ListFrames(file));
}

TEST(ListFrames, AFolderThatFailsHalfWayIsAnError) {
  const test::TempDir folder;
  for (const char* name : {"1.png", "2.png", "3.png"}) folder.Write(name, "x");
  const std::string path = folder.path().string();
  const auto fails = [&](const auto& read) {
    entries_until_failure = 3;  // ".", ".." and one more
    EXPECT_ERROR(ErrorCode::kInvalidArgument, path + ": Input/output error", read());
    entries_until_failure = -1;
  };
  fails([&] { LoadClip(path); });
  fails([&] { TextCodec::Load(path); });
  fails([&] { Model::Load(path); });
}

}  // namespace
}  // namespace qwen3vl
