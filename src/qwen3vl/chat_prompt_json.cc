// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/chat_prompt_json.h"

#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "qwen3vl/error.h"

namespace qwen3vl {
namespace {

// repr(float): the shortest digits that read back the same, positional from 1e-4 up to 1e16.
std::string PythonFloat(double value) {
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  std::array<char, 400> buffer;
  const auto print = [&](std::chars_format format) {
    const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, format).ptr;
    return std::string(buffer.data(), end);
  };
  const double size = std::abs(value);
  if (value != 0 && (size < 1e-4 || size >= 1e16)) return print(std::chars_format::scientific);
  std::string text = print(std::chars_format::fixed);
  return text.find('.') == std::string::npos ? text + ".0" : text;
}

void AppendQuoted(std::string_view text, std::string* out) {
  constexpr std::string_view kHex = "0123456789abcdef";
  constexpr std::string_view kEscaped = "\"\\\n\r\t\f\b", kLetters = "\"\\nrtfb";
  out->push_back('"');
  for (const char c : text) {
    if (const size_t at = kEscaped.find(c); at != std::string_view::npos) {
      out->push_back('\\');
      out->push_back(kLetters[at]);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out->append("\\u00");
      out->push_back(kHex[static_cast<size_t>(c) >> 4]);
      out->push_back(kHex[static_cast<size_t>(c) & 15]);
    } else {
      out->push_back(c);
    }
  }
  out->push_back('"');
}

// The event receiver that nlohmann::json::sax_parse wants. Printing from events keeps the order of keys,
// needs no recursion and sees the digits of integers of any length.
class Printer {
 public:
  using json = nlohmann::json;

  explicit Printer(std::string what) : what_(std::move(what)) {}
  std::string Take() { return std::move(out_); }

  bool null() { return Value("null"); }
  bool boolean(bool value) { return Value(value ? "true" : "false"); }
  bool number_integer(json::number_integer_t value) { return Value(std::to_string(value)); }
  bool number_unsigned(json::number_unsigned_t value) { return Value(std::to_string(value)); }
  bool number_float(json::number_float_t value, const std::string& digits) {
    const bool integer = digits.find_first_of(".eE") == std::string::npos;
    return Value(integer ? digits : PythonFloat(value));
  }
  bool binary(json::binary_t&) { return false; }
  bool string(std::string& value) {
    Separate();
    AppendQuoted(value, &out_);
    return true;
  }
  bool key(std::string& value) {
    Separate();
    AppendQuoted(value, &out_);
    out_ += ": ";
    after_key_ = true;
    return true;
  }
  bool start_object(std::size_t) { return Open('{'); }
  bool start_array(std::size_t) { return Open('['); }
  bool end_object() { return Close('}'); }
  bool end_array() { return Close(']'); }
  bool parse_error(std::size_t position, const std::string&, const json::exception&) {
    throw Error(ErrorCode::kInvalidArgument, what_ + ": not valid JSON at byte " + std::to_string(position));
  }

 private:
  void Separate() {
    if (!after_key_ && !first_.empty()) {
      if (!first_.back()) out_ += ", ";
      first_.back() = false;
    }
    after_key_ = false;
  }
  bool Value(std::string_view text) {
    Separate();
    out_ += text;
    return true;
  }
  bool Open(char bracket) {
    Separate();
    out_ += bracket;
    first_.push_back(true);
    return true;
  }
  bool Close(char bracket) {
    out_ += bracket;
    first_.pop_back();
    return true;
  }

  std::string what_, out_;
  std::vector<bool> first_;  // for each open bracket: nothing printed inside yet
  bool after_key_ = false;
};

}  // namespace

std::string PythonJson(std::string_view json, const std::string& what) {
  Printer printer(what);
  nlohmann::json::sax_parse(json.begin(), json.end(), &printer);
  return printer.Take();
}

}  // namespace qwen3vl
