// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <vector>

#include "qwen3vl/unicode_tables.h"

namespace qwen3vl {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

// Length of the sequence that `lead` opens (0: no lead byte) and the bounds of its second byte, which
// exclude overlong forms, surrogates and what lies beyond U+10FFFF.
struct LeadByte {
  size_t size;
  unsigned char low, high;
};

LeadByte DecodeLead(unsigned char lead) {
  if (lead < 0x80) return {1, 0, 0};
  if (lead < 0xC2) return {0, 0, 0};
  if (lead < 0xE0) return {2, 0x80, 0xBF};
  if (lead == 0xE0) return {3, 0xA0, 0xBF};
  if (lead == 0xED) return {3, 0x80, 0x9F};
  if (lead < 0xF0) return {3, 0x80, 0xBF};
  if (lead == 0xF0) return {4, 0x90, 0xBF};
  if (lead < 0xF4) return {4, 0x80, 0xBF};
  if (lead == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

template <class Range>
const Range* FindRange(std::span<const Range> ranges, char32_t c) {
  const auto it =
      std::partition_point(ranges.begin(), ranges.end(), [c](const Range& r) { return r.last < c; });
  return it != ranges.end() && it->first <= c ? &*it : nullptr;
}

CharClass Utf8procClass(char32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return CharClass::kLetter;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return CharClass::kNumber;
    default:
      return CharClass::kOther;
  }
}

// White_Space of Unicode: has U+0085, has not U+FEFF.
bool IsSpace(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

CharClass LookUpClass(char32_t c) {
  if (IsSpace(c)) return CharClass::kSpace;
  if (const ClassRange* range = FindRange(ClassOverrides(), c)) return range->char_class;
  return Utf8procClass(c);
}

std::array<CharClass, 128> AsciiClasses() {
  std::array<CharClass, 128> classes;
  for (char32_t c = 0; c < classes.size(); ++c) classes[c] = LookUpClass(c);
  return classes;
}

// True for characters that neither change under NFC nor interact with any other of these.
bool IsPlainUnderNfc(char32_t c) {
  return c < 0x300 || (c >= 0x3000 && c < 0x302A) || (c >= 0x3030 && c < 0x3099) ||
         (c > 0x309A && c < 0xA000) || (c >= 0xAC00 && c <= 0xD7A3) || (c >= 0xFF00 && c < 0xFFF0);
}

bool IsPlainUnderNfc(std::string_view text) {
  for (size_t pos = 0; pos < text.size();)
    if (!IsPlainUnderNfc(NextCodePoint(text, &pos))) return false;
  return true;
}

// Text without inert characters, collected in canonical decomposition.
class NfcPiece {
 public:
  void Add(char32_t c) {
    // The longest canonical decomposition has 4 characters.
    std::array<utf8proc_int32_t, 8> parts;
    int boundary_class = 0;
    const auto n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts.data(), parts.size(),
                                           UTF8PROC_DECOMPOSE, &boundary_class);
    code_points_.insert(code_points_.end(), parts.begin(), parts.begin() + std::max<utf8proc_ssize_t>(n, 0));
  }

  // Appends the composed text and begins anew.
  void Flush(std::string* out) {
    SortMarks();
    const auto n =
        utf8proc_normalize_utf32(code_points_.data(), static_cast<utf8proc_ssize_t>(code_points_.size()),
                                 static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    for (utf8proc_ssize_t i = 0; i < n; ++i)
      AppendUtf8(static_cast<char32_t>(code_points_[static_cast<size_t>(i)]), out);
    code_points_.clear();
  }

 private:
  static int ClassOfMark(utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; }

  // Canonical order. Not left to utf8proc, whose exchange sort needs hours for a megabyte of marks.
  void SortMarks() {
    for (auto it = code_points_.begin(); it != code_points_.end();) {
      const auto end = std::find_if(it, code_points_.end(), [](auto c) { return ClassOfMark(c) == 0; });
      std::stable_sort(it, end, [](auto a, auto b) { return ClassOfMark(a) < ClassOfMark(b); });
      it = end == code_points_.end() ? end : std::next(end);
    }
  }

  std::vector<utf8proc_int32_t> code_points_;
};

}  // namespace

Utf8Part NextUtf8Part(std::string_view text, size_t pos) {
  const LeadByte lead = DecodeLead(static_cast<unsigned char>(text[pos]));
  if (lead.size == 0) return {1, false, false};
  for (size_t i = 1; i < lead.size; ++i) {
    if (pos + i == text.size()) return {i, false, true};
    const auto byte = static_cast<unsigned char>(text[pos + i]);
    const bool good = i == 1 ? byte >= lead.low && byte <= lead.high : (byte & 0xC0) == 0x80;
    if (!good) return {i, false, false};
  }
  return {lead.size, true, false};
}

std::string RepairUtf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  size_t copied = 0;
  for (size_t pos = 0; pos < text.size();) {
    const Utf8Part part = NextUtf8Part(text, pos);
    pos += part.size;
    if (part.valid) continue;
    out.append(text.substr(copied, pos - part.size - copied)).append(kReplacement);
    copied = pos;
  }
  return out.append(text.substr(copied));
}

char32_t NextCodePoint(std::string_view text, size_t* pos) {
  const auto lead = static_cast<unsigned char>(text[*pos]);
  if (lead < 0x80) {
    ++*pos;
    return lead;
  }
  const size_t size = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  char32_t c = lead & (0x7Fu >> size);
  for (size_t i = 1; i < size; ++i) c = (c << 6) | (static_cast<unsigned char>(text[*pos + i]) & 0x3Fu);
  *pos += size;
  return c;
}

void AppendUtf8(char32_t c, std::string* out) {
  const auto tail = [&](int shift) { out->push_back(static_cast<char>(0x80 | ((c >> shift) & 0x3F))); };
  if (c < 0x80) {
    out->push_back(static_cast<char>(c));
  } else if (c < 0x800) {
    out->push_back(static_cast<char>(0xC0 | (c >> 6)));
    tail(0);
  } else if (c < 0x10000) {
    out->push_back(static_cast<char>(0xE0 | (c >> 12)));
    tail(6);
    tail(0);
  } else {
    out->push_back(static_cast<char>(0xF0 | (c >> 18)));
    tail(12);
    tail(6);
    tail(0);
  }
}

CharClass ClassOf(char32_t c) {
  static const std::array<CharClass, 128> ascii = AsciiClasses();
  return c < ascii.size() ? ascii[c] : LookUpClass(c);
}

std::string ToNfc(std::string_view text) {
  if (IsPlainUnderNfc(text)) return std::string(text);
  std::string out;
  out.reserve(text.size());
  NfcPiece piece;
  for (size_t pos = 0; pos < text.size();) {
    const char32_t c = NextCodePoint(text, &pos);
    if (FindRange(NfcInertRanges(), c) == nullptr) {
      piece.Add(c);
    } else {
      piece.Flush(&out);
      AppendUtf8(c, &out);
    }
  }
  piece.Flush(&out);
  return out;
}

}  // namespace qwen3vl
