// SPDX-License-Identifier: Apache-2.0
// The order of asking against the order of reading, on a picture of a cache whose bytes count how often they
// were asked for.
#include "attention/read_ahead.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace qwen3vl::attention {
namespace {

constexpr size_t kLine = 64;
constexpr size_t kTiles = 3;

// A head of kTiles tiles: keys, then strips that run through all tiles.
class AskedHead {
 public:
  explicit AskedHead(const TilePieces& tile)
      : tile_(tile),
        tile_keys_(tile.n_panels * tile.panel_bytes),
        strip_stride_(kTiles * tile.strip_bytes),
        keys_bytes_(kTiles * tile_keys_),
        memory_(keys_bytes_ + tile.n_strips * strip_stride_),
        asked_(memory_.size() / kLine),
        read_(asked_.size()) {}

  void ReadAll() {
    for (size_t t = 0; t < kTiles; ++t) {
      const ReadAhead after_keys = AheadOfKeys(tile_, Address(Value(0, t)), strip_stride_);
      for (size_t i = 0; i < tile_.n_panels; ++i)
        Read(after_keys, Key(t) + i * tile_.panel_bytes, i, tile_.panel_bytes, tile_.panel_bytes);
      const ReadAhead after_values = AheadOfValues(tile_, t + 1 < kTiles ? Address(Key(t + 1)) : nullptr);
      for (size_t i = 0; i < tile_.n_strips; ++i)
        Read(after_values, Value(i, t), i, strip_stride_, tile_.strip_bytes);
    }
  }

  size_t Key(size_t tile) const { return tile * tile_keys_; }
  size_t Value(size_t strip, size_t tile) const {
    return keys_bytes_ + strip * strip_stride_ + tile * tile_.strip_bytes;
  }
  // How often the line of a byte was asked for before it was read.
  int AskedFor(size_t byte) const { return asked_[byte / kLine]; }
  size_t bytes() const { return memory_.size(); }

 private:
  const std::byte* Address(size_t byte) const { return memory_.data() + byte; }

  void Read(const ReadAhead& ahead, size_t at, size_t i, size_t stride, size_t bytes) {
    const std::byte* from = ahead.Address(Address(at), i, stride);
    for (size_t byte = 0; byte < bytes; byte += kLine) {
      read_[(at + byte) / kLine] = true;
      if (from == Address(at)) continue;  // nothing follows
      const size_t line = static_cast<size_t>(from + byte - memory_.data()) / kLine;
      ASSERT_LT(line, asked_.size()) << "outside of the head";
      ASSERT_FALSE(read_[line]) << "too late";
      ++asked_[line];
    }
  }

  TilePieces tile_;
  size_t tile_keys_, strip_stride_, keys_bytes_;
  std::vector<std::byte> memory_;
  std::vector<int> asked_;
  std::vector<bool> read_;
};

struct Case {
  const char* name;
  TilePieces tile;
};

class ReadAheadTest : public testing::TestWithParam<Case> {};

// All of it but the first keys, which are read before anything could ask for them.
TEST_P(ReadAheadTest, AsksForEveryLineOnceAndForNothingElse) {
  const TilePieces& tile = GetParam().tile;
  AskedHead head(tile);
  head.ReadAll();
  const size_t first = tile.StripsAhead() * tile.strip_bytes;
  ASSERT_GE(first, hw::kStreamAheadBytes);
  for (size_t byte = 0; byte < head.bytes(); byte += kLine)
    ASSERT_EQ(head.AskedFor(byte), byte < first ? 0 : 1) << "byte " << byte;
}

INSTANTIATE_TEST_SUITE_P(
    Tiles, ReadAheadTest,
    testing::Values(
        Case{"F16Tile256Avx2",
             {.panel_bytes = 4096, .n_panels = 16, .strip_bytes = 8192, .n_strips = 8, .at_once = 2}},
        Case{"F16Tile256Avx512",
             {.panel_bytes = 4096, .n_panels = 16, .strip_bytes = 8192, .n_strips = 8, .at_once = 4}},
        Case{"Q8Tile256",
             {.panel_bytes = 2048, .n_panels = 16, .strip_bytes = 4096, .n_strips = 8, .at_once = 2}},
        Case{"F32Tile256",
             {.panel_bytes = 8192, .n_panels = 16, .strip_bytes = 16384, .n_strips = 8, .at_once = 1}},
        Case{"F16Tile128",
             {.panel_bytes = 4096, .n_panels = 8, .strip_bytes = 4096, .n_strips = 8, .at_once = 2}},
        Case{"F16Heads64",
             {.panel_bytes = 2048, .n_panels = 16, .strip_bytes = 8192, .n_strips = 4, .at_once = 2}}),
    [](const auto& param_info) { return std::string(param_info.param.name); });

TEST(ReadAhead, ShortStripsAskForTheirOwnNextPart) {
  const TilePieces tile{.panel_bytes = 4096, .n_panels = 4, .strip_bytes = 2048, .n_strips = 8, .at_once = 2};
  const std::vector<std::byte> memory(1 << 16);
  for (const ReadAhead& ahead : {AheadOfKeys(tile, memory.data(), 4096), AheadOfValues(tile, memory.data())})
    EXPECT_EQ(ahead.Address(memory.data() + 64, 3, 4096), memory.data() + 64 + hw::kStreamAheadBytes);
}

TEST(ReadAhead, NothingIsAskedForBehindTheLastTile) {
  const TilePieces tile{
      .panel_bytes = 4096, .n_panels = 16, .strip_bytes = 8192, .n_strips = 8, .at_once = 2};
  const std::vector<std::byte> memory(1 << 16);
  const ReadAhead ahead = AheadOfValues(tile, nullptr);
  EXPECT_EQ(ahead.Address(memory.data(), 5, 8192), memory.data() + 2 * 8192);
  EXPECT_EQ(ahead.Address(memory.data(), 6, 8192), memory.data());
}

}  // namespace
}  // namespace qwen3vl::attention
