// SPDX-License-Identifier: Apache-2.0
// Character classes and NFC against the recorded answers of the reference library for every code point;
// repair of bad UTF-8 against the Unicode standard's examples.
#include "qwen3vl/unicode.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "support/golden.h"

namespace qwen3vl {
namespace {

constexpr char32_t kCodePoints = 0x110000;

bool IsSurrogate(char32_t c) { return c >= 0xD800 && c <= 0xDFFF; }

char32_t Hex(const nlohmann::json& digits) {
  return static_cast<char32_t>(std::stoul(digits.get<std::string>(), nullptr, 16));
}

std::string Encode(const std::vector<char32_t>& code_points) {
  std::string text;
  for (const char32_t c : code_points) AppendUtf8(c, &text);
  return text;
}

// NFC by the book over the recorded tables (Unicode Standard Annex 15), without thought for speed.
class ReferenceNfc {
 public:
  ReferenceNfc() {
    const nlohmann::json tables = test::ReadJson("tokenizer/nfc_tables.json");
    for (const auto& row : tables["ccc"])
      for (char32_t c = Hex(row[0]); c <= Hex(row[1]); ++c) mark_class_[c] = row[2];
    for (const auto& row : tables["decomposition"])
      for (size_t i = 1; i < row.size(); ++i) decomposition_[Hex(row[0])].push_back(Hex(row[i]));
    for (const auto& row : tables["composition"]) composition_[{Hex(row[0]), Hex(row[1])}] = Hex(row[2]);
  }

  std::string operator()(const std::vector<char32_t>& text) const {
    std::vector<char32_t> parts;
    for (const char32_t c : text) Decompose(c, &parts);
    for (auto it = parts.begin(); it != parts.end();) {
      const auto end = std::find_if(it, parts.end(), [&](char32_t c) { return MarkClass(c) == 0; });
      std::stable_sort(it, end, [&](char32_t a, char32_t b) { return MarkClass(a) < MarkClass(b); });
      it = end == parts.end() ? end : end + 1;
    }
    return Encode(Compose(parts));
  }

  // Everything that the tables mention, and Hangul.
  std::vector<char32_t> Interesting() const {
    std::vector<char32_t> out = {'a', 'e', ' ', 0x1100, 0x1161, 0x11A8, 0x11A7, 0xAC00, 0xAC01, 0xD7A3};
    for (const auto& [c, mark_class] : mark_class_) out.push_back(c);
    for (const auto& [c, parts] : decomposition_) out.push_back(c);
    for (const auto& [pair, c] : composition_) out.insert(out.end(), {pair.first, pair.second});
    return out;
  }

 private:
  int MarkClass(char32_t c) const {
    const auto it = mark_class_.find(c);
    return it == mark_class_.end() ? 0 : it->second;
  }

  void Decompose(char32_t c, std::vector<char32_t>* out) const {
    if (c >= 0xAC00 && c <= 0xD7A3) {
      const char32_t s = c - 0xAC00;
      out->insert(out->end(), {0x1100 + s / 588, 0x1161 + s % 588 / 28});
      if (s % 28 != 0) out->push_back(0x11A7 + s % 28);
    } else if (const auto it = decomposition_.find(c); it != decomposition_.end()) {
      out->insert(out->end(), it->second.begin(), it->second.end());
    } else {
      out->push_back(c);
    }
  }

  // 0: none.
  char32_t Pair(char32_t a, char32_t b) const {
    if (a >= 0x1100 && a < 0x1113 && b >= 0x1161 && b < 0x1176)
      return 0xAC00 + (a - 0x1100) * 588 + (b - 0x1161) * 28;
    if (a >= 0xAC00 && a <= 0xD7A3 && (a - 0xAC00) % 28 == 0 && b > 0x11A7 && b < 0x11C3)
      return a + (b - 0x11A7);
    const auto it = composition_.find({a, b});
    return it == composition_.end() ? 0 : it->second;
  }

  std::vector<char32_t> Compose(const std::vector<char32_t>& parts) const {
    std::vector<char32_t> out;
    size_t starter = SIZE_MAX;
    int last_class = -1;  // of what stands between the starter and here; -1: nothing
    for (const char32_t c : parts) {
      const int mark_class = MarkClass(c);
      const bool blocked = last_class != -1 && last_class >= mark_class;
      const char32_t pair = starter == SIZE_MAX || blocked ? 0 : Pair(out[starter], c);
      if (pair != 0) {
        out[starter] = pair;
        continue;
      }
      if (mark_class == 0) starter = out.size();
      last_class = mark_class == 0 ? -1 : mark_class;
      out.push_back(c);
    }
    return out;
  }

  std::map<char32_t, int> mark_class_;
  std::map<char32_t, std::vector<char32_t>> decomposition_;
  std::map<std::pair<char32_t, char32_t>, char32_t> composition_;
};

TEST(Unicode, ClassesAreTheReferencesForEveryCodePoint) {
  const nlohmann::json ranges = test::ReadJson("tokenizer/unicode_classes.json");
  std::vector<CharClass> want(kCodePoints, CharClass::kOther);
  const std::pair<const char*, CharClass> kNames[] = {
      {"L", CharClass::kLetter}, {"N", CharClass::kNumber}, {"S", CharClass::kSpace}};
  for (const auto& [name, char_class] : kNames)
    for (const auto& range : ranges[name])
      for (char32_t c = Hex(range[0]); c <= Hex(range[1]); ++c) want[c] = char_class;
  for (char32_t c = 0; c < kCodePoints; ++c)
    ASSERT_EQ(ClassOf(c), want[c]) << "U+" << std::hex << static_cast<uint32_t>(c);
}

TEST(Unicode, NfcIsTheReferencesForEveryCodePoint) {
  const ReferenceNfc reference;
  for (char32_t c = 0; c < kCodePoints; ++c) {
    if (IsSurrogate(c)) continue;
    ASSERT_EQ(ToNfc(Encode({c})), reference({c})) << "U+" << std::hex << static_cast<uint32_t>(c);
    // Behind a letter and a mark: would it move or compose?
    ASSERT_EQ(ToNfc(Encode({'a', 0x345, c})), reference({'a', 0x345, c}))
        << "U+" << std::hex << static_cast<uint32_t>(c);
  }
}

TEST(Unicode, NfcOfRandomTextIsTheReferences) {
  const ReferenceNfc reference;
  const std::vector<char32_t> alphabet = reference.Interesting();
  std::mt19937 random(7);
  for (int round = 0; round < 50000; ++round) {
    std::vector<char32_t> text(1 + random() % 8);
    for (char32_t& c : text)
      c = random() % 16 == 0 ? 0x80 + random() % 0xD000 : alphabet[random() % alphabet.size()];
    ASSERT_EQ(ToNfc(Encode(text)), reference(text)) << testing::PrintToString(text);
  }
}

TEST(Unicode, NfcTakesNewBrahmicVowelsApartAsTheReferenceDoes) {
  // U+11935 + U+11930 compose since Unicode 13, which the reference does not know.
  const std::string pair = Encode({0x11935, 0x11930});
  EXPECT_EQ(ToNfc(pair), pair);
}

TEST(Unicode, NfcSortsALongRunOfMarks) {
  constexpr size_t kMarks = 200000;
  std::string mixed = "x", sorted = "x";
  for (size_t i = 0; i < kMarks; ++i) AppendUtf8(i % 2 == 0 ? 0x30D : 0x323, &mixed);
  for (size_t i = 0; i < kMarks; ++i) AppendUtf8(i < kMarks / 2 ? 0x323 : 0x30D, &sorted);
  EXPECT_EQ(ToNfc(mixed), sorted);
}

TEST(Unicode, RepairReplacesEachMaximalBadPartOnce) {
  // Unicode 16, tables 3-8 to 3-11.
  EXPECT_EQ(RepairUtf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"),
            "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\x41");
  EXPECT_EQ(RepairUtf8("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"),
            "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\x41");
  EXPECT_EQ(RepairUtf8("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"),
            "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\x41\uFFFD\uFFFD\x42");
  EXPECT_EQ(RepairUtf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), "\uFFFD\uFFFD\uFFFD\uFFFD\x41");
  EXPECT_EQ(RepairUtf8("caf\xC3"), "caf\uFFFD");
  EXPECT_EQ(RepairUtf8(""), "");
}

TEST(Unicode, EveryCodePointSurvivesEncodingAndDecoding) {
  for (char32_t c = 0; c < kCodePoints; ++c) {
    if (IsSurrogate(c)) continue;
    const std::string text = Encode({c});
    ASSERT_EQ(RepairUtf8(text), text);
    size_t pos = 0;
    ASSERT_EQ(NextCodePoint(text, &pos), c);
    ASSERT_EQ(pos, text.size());
  }
}

}  // namespace
}  // namespace qwen3vl
