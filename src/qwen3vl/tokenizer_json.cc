// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/tokenizer_json.h"

#include "qwen3vl/error.h"
#include "qwen3vl/file_tensor.h"
#include "qwen3vl/json_view.h"
#include "qwen3vl/unicode.h"

namespace qwen3vl {
namespace {

constexpr size_t kMaxDepth = 64;    // real files reach 6
constexpr size_t kMaxPath = 256;    // of a container; real ones stay below 60 bytes
constexpr size_t kMaxReason = 120;  // the parser quotes what it read last, be it megabytes

// The event receiver that nlohmann::json::sax_parse wants.
class Reader {
 public:
  using number_integer_t = nlohmann::json::number_integer_t;
  using number_unsigned_t = nlohmann::json::number_unsigned_t;
  using number_float_t = nlohmann::json::number_float_t;
  using string_t = nlohmann::json::string_t;
  using binary_t = nlohmann::json::binary_t;

  Reader(std::string file, std::string_view vocab_path, std::string_view merges_path,
         std::function<bool(std::string_view)> keep)
      : file_(std::move(file)), vocab_path_(vocab_path), merges_path_(merges_path), keep_(std::move(keep)) {}

  TokenizerJson Take() { return std::move(out_); }

  bool null() { return Scalar(nullptr); }
  bool boolean(bool value) { return Scalar(value); }
  bool number_integer(number_integer_t value) { return Integer(value); }
  bool number_unsigned(number_unsigned_t value) { return Integer(static_cast<int64_t>(value)); }
  bool number_float(number_float_t value, const string_t&) { return Scalar(value); }
  bool binary(binary_t&) { return false; }

  bool string(string_t& value) {
    if (section_ != Section::kMerges) return Scalar(std::move(value));
    if (frames_.size() == section_depth_) {
      out_.merges.push_back(SplitMerge(value, Where()));
    } else {
      pair_.push_back(std::move(value));
    }
    Next();
    return true;
  }

  bool start_object(std::size_t) {
    if (section_ != Section::kNone) Fail("an object, want none here");
    Enter(/*is_array=*/false);
    if (section_ == Section::kNone && path_ == vocab_path_) Begin(Section::kVocab);
    return true;
  }

  bool start_array(std::size_t) {
    const bool pair = section_ == Section::kMerges && frames_.size() == section_depth_;
    if (section_ != Section::kNone && !pair) Fail("an array, want none here");
    Enter(/*is_array=*/true);
    if (section_ == Section::kNone && path_ == merges_path_) Begin(Section::kMerges);
    return true;
  }

  bool key(string_t& value) {
    frames_.back().key = std::move(value);
    return true;
  }

  bool end_object() { return Leave(); }

  bool end_array() {
    if (section_ == Section::kMerges && frames_.size() == section_depth_ + 1) {
      if (pair_.size() != 2) Fail(std::to_string(pair_.size()) + " parts, want 2");
      out_.merges.emplace_back(std::move(pair_[0]), std::move(pair_[1]));
      pair_.clear();
    }
    return Leave();
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception& e) {
    std::string reason = e.what();
    if (const size_t colon = reason.find(": "); colon != std::string::npos) reason.erase(0, colon + 2);
    if (reason.size() > kMaxReason) reason = RepairUtf8(reason.substr(0, kMaxReason)) + "...";
    throw Error(ErrorCode::kCorruptFile,
                file_ + ": not valid JSON at byte " + std::to_string(position) + ": " + reason);
  }

 private:
  enum class Section { kNone, kVocab, kMerges };

  struct Frame {
    bool is_array = false;
    size_t index = 0;      // of the next element of an array
    std::string key;       // of the next value of an object
    size_t path_size = 0;  // of the path outside
  };

  [[noreturn]] void Fail(const std::string& what) const {
    throw Error(ErrorCode::kCorruptFile, Where() + ": found " + what);
  }

  std::string Where() const {
    const std::string path = Quoted(ValuePath());
    return file_ + ": " + path.substr(1, path.size() - 2);
  }

  std::string ValuePath() const {
    if (frames_.empty()) return path_;
    const Frame& frame = section_ == Section::kNone ? frames_.back() : frames_[section_depth_ - 1];
    const std::string name = frame.is_array ? std::to_string(frame.index) : frame.key;
    return path_.empty() ? name : path_ + "/" + name;
  }

  void Next() {
    if (!frames_.empty()) ++frames_.back().index;
  }

  // Paths are built outside the sections only: there it would cost more than the parsing.
  void Enter(bool is_array) {
    if (frames_.size() == kMaxDepth) Fail("more than " + std::to_string(kMaxDepth) + " levels of nesting");
    Frame frame{.is_array = is_array, .index = 0, .key = {}, .path_size = path_.size()};
    if (section_ == Section::kNone) path_ = ValuePath();
    if (path_.size() > kMaxPath) Fail("a path of " + std::to_string(path_.size()) + " bytes, want less");
    frames_.push_back(std::move(frame));
  }

  bool Leave() {
    if (section_ != Section::kNone && frames_.size() == section_depth_) section_ = Section::kNone;
    if (path_ == "added_tokens") out_.n_added = frames_.back().index;
    path_.resize(frames_.back().path_size);
    frames_.pop_back();
    Next();
    return true;
  }

  void Begin(Section section) {
    section_ = section;
    section_depth_ = frames_.size();
  }

  bool Integer(int64_t value) {
    if (section_ != Section::kVocab) return Scalar(value);
    out_.vocab.emplace_back(std::move(frames_.back().key), value);
    return true;
  }

  bool Scalar(nlohmann::json value) {
    if (section_ == Section::kVocab) Fail(Brief(value) + ", want an integer id");
    if (section_ == Section::kMerges) Fail(Brief(value) + ", want a pair of strings");
    if (keep_) {
      std::string path = ValuePath();
      if (keep_(path)) out_.scalars[std::move(path)] = std::move(value);
    }
    Next();
    return true;
  }

  std::string file_, vocab_path_, merges_path_;
  std::function<bool(std::string_view)> keep_;
  TokenizerJson out_;
  std::vector<Frame> frames_;
  std::string path_;  // of the innermost container
  Section section_ = Section::kNone;
  size_t section_depth_ = 0;
  std::vector<std::string> pair_;
};

}  // namespace

TokenizerJson ParseTokenizerJson(std::string_view text, const std::string& file, std::string_view vocab_path,
                                 std::string_view merges_path,
                                 std::function<bool(std::string_view path)> keep) {
  Reader reader(file, vocab_path, merges_path, std::move(keep));
  nlohmann::json::sax_parse(text.begin(), text.end(), &reader);
  return reader.Take();
}

std::pair<std::string, std::string> SplitMerge(std::string_view line, const std::string& where) {
  const size_t space = line.find(' ');
  if (space == 0 || space == std::string_view::npos || space + 1 == line.size() || line.rfind(' ') != space)
    throw Error(ErrorCode::kCorruptFile, where + ": want two pieces with one space between");
  return {std::string(line.substr(0, space)), std::string(line.substr(space + 1))};
}

}  // namespace qwen3vl
