// SPDX-License-Identifier: Apache-2.0
#include "attention/kv_cache.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>

#include "attention/row_codec.h"
#include "support/expect_error.h"
#include "support/near.h"
#include "support/seeded.h"

namespace qwen3vl::attention {
namespace {

using test::Seeded;

struct FormatCase {
  hw::Format format;
  float tolerance;  // largest error of a stored value of magnitude 1: half a step of the format
};
void PrintTo(const FormatCase& c, std::ostream* os) { *os << hw::Name(c.format); }

// Values are multiples of 1/128 up to 1, exact in the floats; q8_0 keeps 127 steps of the block's largest
// value, and its f16 scale adds 2^-11 of the value.
constexpr FormatCase kFormats[] = {{hw::Format::kF32, 0},
                                   {hw::Format::kF16, 0},
                                   {hw::Format::kBF16, 0},
                                   {hw::Format::kQ8_0, 0.5f / 127 + 0.0005f}};

KvCacheShape SmallShape(hw::Format format, size_t head_dim = 64) {
  return {.n_layers = 2, .n_kv_heads = 3, .head_dim = head_dim, .capacity = 37, .format = format};
}

// Rows [first, first + n) of a fixed stream; the same token has the same values however it is appended.
struct Rows {
  std::vector<float> k, v;
  size_t width, n;

  Rows(const KvCacheShape& s, size_t first, size_t count) : width(s.n_kv_heads * s.head_dim), n(count) {
    for (size_t i = first; i < first + count; ++i)
      for (size_t c = 0; c < width; ++c) {
        k.push_back(test::SeededValue(1, i * width + c));
        v.push_back(test::SeededValue(2, i * width + c));
      }
  }
  hw::MatrixView<const float> K() const { return {k.data(), n, width}; }
  hw::MatrixView<const float> V() const { return {v.data(), n, width}; }
};

void AppendAll(KvCache& cache, size_t n) {
  const Rows rows(cache.shape(), cache.length(), n);
  for (size_t l = 0; l < cache.shape().n_layers; ++l) cache.Append(l, rows.K(), rows.V());
}

std::vector<float> Contents(const KvCache& cache, size_t layer, size_t length) {
  const KvCacheShape& s = cache.shape();
  std::vector<float> all, row(s.head_dim);
  for (size_t pos = 0; pos < length; ++pos)
    for (size_t h = 0; h < s.n_kv_heads; ++h) {
      cache.ReadK(layer, h, pos, row.data());
      all.insert(all.end(), row.begin(), row.end());
      cache.ReadV(layer, h, pos, row.data());
      all.insert(all.end(), row.begin(), row.end());
    }
  return all;
}

std::vector<float> Wanted(const KvCacheShape& s, size_t length) {
  const Rows rows(s, 0, length);
  std::vector<float> all;
  for (size_t i = 0; i < length * s.n_kv_heads; ++i) {
    all.insert(all.end(), rows.k.begin() + i * s.head_dim, rows.k.begin() + (i + 1) * s.head_dim);
    all.insert(all.end(), rows.v.begin() + i * s.head_dim, rows.v.begin() + (i + 1) * s.head_dim);
  }
  return all;
}

class KvCacheFormat : public testing::TestWithParam<FormatCase> {};
INSTANTIATE_TEST_SUITE_P(Formats, KvCacheFormat, testing::ValuesIn(kFormats),
                         [](const auto& param) { return std::string(hw::Name(param.param.format)); });

TEST_P(KvCacheFormat, ReadsBackWhatWasAppended) {
  KvCache cache(SmallShape(GetParam().format));
  for (const size_t n : {1, 15, 1, 17, 3}) AppendAll(cache, n);  // ends at the capacity, crosses panels
  EXPECT_EQ(cache.length(), 37u);
  for (const size_t layer : {0, 1})
    EXPECT_TRUE(test::AllNear(Contents(cache, layer, 37), Wanted(cache.shape(), 37), GetParam().tolerance));
}

TEST_P(KvCacheFormat, ThreadsStoreTheSame) {
  KvCache one(SmallShape(GetParam().format)), many(SmallShape(GetParam().format));
  const Rows rows(one.shape(), 0, 21);
  for (const size_t layer : {0, 1}) {
    one.Append(layer, rows.K(), rows.V());
    many.Append(layer, rows.K(), rows.V(), /*n_threads=*/5);
    EXPECT_EQ(Contents(many, layer, 21), Contents(one, layer, 21));
  }
}

TEST_P(KvCacheFormat, TruncateKeepsEarlierRows) {
  KvCache cache(SmallShape(GetParam().format));
  AppendAll(cache, 30);
  cache.Truncate(18);
  EXPECT_EQ(cache.length(), 18u);
  AppendAll(cache, 10);
  EXPECT_TRUE(test::AllNear(Contents(cache, 1, 28), Wanted(cache.shape(), 28), GetParam().tolerance));
}

TEST_P(KvCacheFormat, CopyPrefixTakesExactlyThatMuch) {
  KvCache from(SmallShape(GetParam().format));
  AppendAll(from, 30);
  KvCacheShape larger = from.shape();
  larger.capacity = 100;
  KvCache to(larger);
  AppendAll(to, 50);
  to.CopyPrefix(from, 21);
  EXPECT_EQ(to.length(), 21u);
  EXPECT_EQ(Contents(to, 0, 21), Contents(from, 0, 21));
}

TEST_P(KvCacheFormat, SaveAndLoadGiveTheSameBits) {
  KvCache saved(SmallShape(GetParam().format));
  AppendAll(saved, 19);
  std::stringstream file;
  saved.Save(file);
  KvCache loaded(SmallShape(GetParam().format));
  AppendAll(loaded, 5);
  loaded.Load(file);
  EXPECT_EQ(loaded.length(), 19u);
  for (const size_t layer : {0, 1}) EXPECT_EQ(Contents(loaded, layer, 19), Contents(saved, layer, 19));
}

TEST_P(KvCacheFormat, BytesAreKnownInAdvance) {
  const KvCacheShape shape = SmallShape(GetParam().format);
  EXPECT_EQ(KvCache(shape).bytes(), KvCache::BytesFor(shape));
  // 37 tokens take the room of 48; each of the 2 layers x 3 heads starts on a cache line.
  EXPECT_EQ(KvCache::BytesFor(shape), 2 * 3 * 2 * 48 * hw::RowBytes(shape.format, 64));
}

// Loads `bytes` into a cache that holds 5 tokens and expects kCorruptFile.
void ExpectCorrupt(const std::string& bytes, size_t length_after) {
  KvCache cache(SmallShape(hw::Format::kF16));
  AppendAll(cache, 5);
  std::istringstream in(bytes);
  EXPECT_ERROR(ErrorCode::kCorruptFile, "saved KV cache: ", cache.Load(in));
  EXPECT_EQ(cache.length(), length_after);
}

std::string SavedBytes(const KvCacheShape& shape, size_t n) {
  KvCache cache(shape);
  AppendAll(cache, n);
  std::ostringstream out;
  cache.Save(out);
  return out.str();
}

TEST(KvCache, LoadRejectsTruncatedFiles) {
  const std::string good = SavedBytes(SmallShape(hw::Format::kF16), 3);
  for (const size_t size : {size_t{0}, size_t{7}, size_t{47}}) ExpectCorrupt(good.substr(0, size), 5);
  for (const size_t size : {size_t{48}, good.size() / 2, good.size() - 1})
    ExpectCorrupt(good.substr(0, size), 0);
}

TEST(KvCache, LoadRejectsAChangedByteAnywhere) {
  const std::string good = SavedBytes(SmallShape(hw::Format::kF16), 1);
  for (size_t i = 0; i < good.size(); i += i < 60 ? 1 : 101) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x40);
    KvCache cache(SmallShape(hw::Format::kF16));
    std::istringstream in(bad);
    SCOPED_TRACE("byte " + std::to_string(i));
    EXPECT_ERROR(ErrorCode::kCorruptFile, "saved KV cache: ", cache.Load(in));
  }
}

TEST(KvCache, LoadRejectsAnotherShape) {
  ExpectCorrupt(SavedBytes(SmallShape(hw::Format::kF16, 32), 3), 5);
  ExpectCorrupt(SavedBytes(SmallShape(hw::Format::kF32), 3), 5);
  KvCacheShape longer = SmallShape(hw::Format::kF16);
  longer.capacity = 38;
  ExpectCorrupt(SavedBytes(longer, 38), 5);
}

TEST(KvCache, SaveReportsAFullDisk) {
  KvCache cache(SmallShape(hw::Format::kF16));
  AppendAll(cache, 3);
  std::ostringstream out;
  out.setstate(std::ios::badbit);
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "writing failed", cache.Save(out));
}

// Whether the system was asked for huge pages for the memory at `address`.
bool AsksForHugePages(const void* address) {
  std::ifstream maps("/proc/self/smaps");
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    uintptr_t begin = 0, end = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2)
      inside = begin <= reinterpret_cast<uintptr_t>(address) && reinterpret_cast<uintptr_t>(address) < end;
    else if (inside && line.starts_with("VmFlags:"))
      return line.find(" hg") != std::string::npos;
  }
  return false;
}

TEST(KvCache, AsksForHugePagesWhereHalfOfItIsExpected) {
  if (!std::filesystem::exists("/sys/kernel/mm/transparent_hugepage"))
    GTEST_SKIP() << "this kernel has no huge pages";
  const KvCacheShape shape{.n_layers = 1, .n_kv_heads = 2, .head_dim = 64, .capacity = 8191};  // 4 MiB
  KvCache cache(shape);
  const std::byte* middle = cache.layer(0).data + cache.bytes() / 2;
  AppendAll(cache, 10);
  cache.Expect(4095);
  EXPECT_FALSE(AsksForHugePages(middle));
  cache.Expect(4096);
  EXPECT_TRUE(AsksForHugePages(middle));
  AppendAll(cache, 10);
  EXPECT_EQ(Contents(cache, 0, 20), Wanted(shape, 20));
}

TEST(KvCache, LengthIsThatOfTheShortestLayer) {
  KvCache cache(SmallShape(hw::Format::kF32));
  AppendAll(cache, 4);
  const Rows rows(cache.shape(), 4, 2);
  cache.Append(0, rows.K(), rows.V());
  EXPECT_EQ(cache.length(), 4u);
  EXPECT_EQ(cache.layer(0).length, 6u);
  cache.Truncate(4);
  EXPECT_EQ(cache.layer(0).length, 4u);
}

TEST(KvCache, AppendTakesStridedRows) {
  const KvCacheShape shape{
      .n_layers = 1, .n_kv_heads = 2, .head_dim = 24, .capacity = 4, .format = hw::Format::kF32};
  const std::vector<float> k = Seeded(5, 3 * 100), v = Seeded(6, 3 * 77);
  KvCache cache(shape);
  cache.Append(0, {k.data(), 3, 48, 100}, {v.data(), 3, 48, 77});
  std::vector<float> row(24);
  cache.ReadK(0, 1, 2, row.data());
  EXPECT_EQ(row, std::vector<float>(k.begin() + 2 * 100 + 24, k.begin() + 2 * 100 + 48));
  cache.ReadV(0, 1, 2, row.data());
  EXPECT_EQ(row, std::vector<float>(v.begin() + 2 * 77 + 24, v.begin() + 2 * 77 + 48));
}

TEST(KvCache, FullCacheRefusesAndStaysAsItWas) {
  KvCache cache(SmallShape(hw::Format::kF32));
  AppendAll(cache, 30);
  const Rows rows(cache.shape(), 30, 8);
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "30 + 8 tokens, room for 37",
               cache.Append(0, rows.K(), rows.V()));
  EXPECT_EQ(cache.layer(0).length, 30u);
}

TEST(KvCache, RejectsWrongWidthLayerAndUnevenRows) {
  KvCache cache(SmallShape(hw::Format::kF32));
  const Rows rows(cache.shape(), 0, 2);
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "layer 2, want one below 2", cache.Append(2, rows.K(), rows.V()));
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "keys [2, 64] and values [2, 192], want [n, 192] both",
               cache.Append(0, rows.K().Cols(0, 64), rows.V()));
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "keys [2, 192] and values [1, 192]",
               cache.Append(0, rows.K(), rows.V().Rows(0, 1)));
}

TEST(KvCache, RejectsImpossibleShapes) {
  EXPECT_ERROR(ErrorCode::kUnsupported, "multiple of 32, this model has 72",
               KvCache(SmallShape(hw::Format::kQ8_0, 72)));
  EXPECT_ERROR(ErrorCode::kUnsupported, "want f32, f16, bf16 or q8_0",
               KvCache(SmallShape(hw::Format::kQ4_K, 256)));
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "empty shape", KvCache(SmallShape(hw::Format::kF16, 0)));
  KvCacheShape shape = SmallShape(hw::Format::kF16);
  shape.capacity = std::numeric_limits<size_t>::max() / 64;
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "KV cache: size overflows", KvCache::BytesFor(shape));
}

TEST(KvCache, OutOfMemoryNamesTheBytes) {
  KvCacheShape shape = SmallShape(hw::Format::kF32);
  shape.capacity = size_t{1} << 46;
  EXPECT_ERROR(ErrorCode::kOutOfMemory, std::to_string(KvCache::BytesFor(shape)), KvCache(shape));
}

TEST(KvCache, CopyPrefixRejectsOtherShapesAndLengths) {
  KvCache from(SmallShape(hw::Format::kF16)), to(SmallShape(hw::Format::kF32)),
      same(SmallShape(hw::Format::kF16));
  AppendAll(from, 4);
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "cannot copy from a cache of", to.CopyPrefix(from, 4));
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "copy of 5 tokens from a cache that holds 4",
               same.CopyPrefix(from, 5));
}

TEST(RowCodec, Q8KeepsInfinitiesNonFinite) {
  std::vector<float> row(32, 1.0f), back(32);
  row[3] = std::numeric_limits<float>::infinity();
  std::byte stored[sizeof(hw::BlockQ8_0)];
  EncodeRow(hw::Format::kQ8_0, row.data(), 32, stored);
  DecodeRow(hw::Format::kQ8_0, stored, 32, back.data());
  EXPECT_FALSE(std::isfinite(back[3]));
}

}  // namespace
}  // namespace qwen3vl::attention
