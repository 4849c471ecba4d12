// SPDX-License-Identifier: Apache-2.0
#include "cuda/ptx_module.h"

#include <algorithm>
#include <bit>
#include <cctype>
#include <optional>
#include <stdexcept>

namespace qwen3vl::gpu {
namespace {

[[noreturn]] void Fail(int line, const std::string& what) {
  throw std::runtime_error("PTX line " + std::to_string(line) + ": " + what);
}

std::string_view Trim(std::string_view s) {
  while (!s.empty() && std::isspace(static_cast<unsigned char>(s.front()))) s.remove_prefix(1);
  while (!s.empty() && std::isspace(static_cast<unsigned char>(s.back()))) s.remove_suffix(1);
  return s;
}

std::vector<std::string_view> Split(std::string_view s, char separator) {
  std::vector<std::string_view> parts;
  for (size_t at; (at = s.find(separator)) != std::string_view::npos; s.remove_prefix(at + 1))
    parts.push_back(s.substr(0, at));
  parts.push_back(s);
  return parts;
}

// "a, {b, c}, [d+4]" -> "a", "{b, c}", "[d+4]"
std::vector<std::string_view> SplitOperands(std::string_view s) {
  std::vector<std::string_view> parts;
  size_t begin = 0;
  int depth = 0;
  for (size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '{') ++depth;
    if (s[i] == '}') --depth;
    if (s[i] != ',' || depth > 0) continue;
    parts.push_back(Trim(s.substr(begin, i - begin)));
    begin = i + 1;
  }
  if (!Trim(s.substr(begin)).empty()) parts.push_back(Trim(s.substr(begin)));
  return parts;
}

PtxType ParseType(std::string_view s, int line) {
  if (s == "pred") return {'p', 1};
  if (s.size() < 2 || std::string_view("busf").find(s[0]) == std::string_view::npos)
    Fail(line, "unknown type " + std::string(s));
  return {s[0], static_cast<unsigned>(std::stoul(std::string(s.substr(1))))};
}

struct Mnemonic {
  const char* name;
  PtxOp op;
};
constexpr Mnemonic kMnemonics[] = {
    {"add", PtxOp::kAdd},       {"and", PtxOp::kAnd},        {"bar", PtxOp::kBarrier},
    {"bfe", PtxOp::kBfe},       {"bfi", PtxOp::kBfi},        {"bra", PtxOp::kBranch},
    {"cvt", PtxOp::kConvert},   {"cvta", PtxOp::kMov},       {"div", PtxOp::kDiv},
    {"dp4a", PtxOp::kDp4a},     {"ex2", PtxOp::kExp2},       {"fma", PtxOp::kFma},
    {"ld", PtxOp::kLoad},       {"mad", PtxOp::kMad},        {"max", PtxOp::kMax},
    {"min", PtxOp::kMin},       {"mov", PtxOp::kMov},        {"mul", PtxOp::kMulLo},
    {"neg", PtxOp::kNeg},       {"not", PtxOp::kNot},        {"or", PtxOp::kOr},
    {"prmt", PtxOp::kPermute},  {"rcp", PtxOp::kRcp},        {"rem", PtxOp::kRem},
    {"ret", PtxOp::kReturn},    {"selp", PtxOp::kSelect},    {"setp", PtxOp::kSetPredicate},
    {"shl", PtxOp::kShiftLeft}, {"shr", PtxOp::kShiftRight}, {"sqrt", PtxOp::kSqrt},
    {"st", PtxOp::kStore},      {"sub", PtxOp::kSub},        {"xor", PtxOp::kXor},
};

// Parses the body of one kernel.
class KernelParser {
 public:
  KernelParser(const std::map<std::string, size_t>& shared, PtxKernel& kernel)
      : shared_(shared), kernel_(kernel) {}

  // One statement, without its semicolon: perhaps labels, perhaps a brace, a directive or an instruction.
  void Statement(std::string_view s, int line) {
    line_ = line;
    for (s = Trim(s); !s.empty() && (s.front() == '{' || s.front() == '}'); s = Trim(s.substr(1))) {
    }
    for (size_t colon; (colon = s.find(':')) != std::string_view::npos; s = Trim(s.substr(colon + 1)))
      labels_[std::string(Trim(s.substr(0, colon)))] = static_cast<uint32_t>(kernel_.code.size());
    while (!s.empty() && (s.front() == '{' || s.front() == '}')) s = Trim(s.substr(1));
    if (s.empty() || s.starts_with(".reg") || s.starts_with(".pragma")) return;
    if (s.front() == '.') Fail(line, "unknown directive " + std::string(s));
    Instruction(s);
  }

  void Finish() {
    for (const auto& [at, label] : branches_) {
      const auto found = labels_.find(label);
      if (found == labels_.end()) Fail(kernel_.code[at].line, "no label " + label);
      kernel_.code[at].target = found->second;
    }
    kernel_.n_registers = registers_.size();
  }

 private:
  void Instruction(std::string_view s) {
    PtxInstruction i;
    i.line = line_;
    if (s.front() == '@') {
      i.guarded = true;
      i.guard_negated = s[1] == '!';
      const size_t end = s.find_first_of(" \t");
      i.guard = Register(s.substr(i.guard_negated ? 2 : 1, end - (i.guard_negated ? 2 : 1)));
      s = Trim(s.substr(end));
    }
    const size_t end = std::min(s.find_first_of(" \t"), s.size());
    const std::vector<std::string_view> words = Split(s.substr(0, end), '.');
    const std::vector<std::string_view> operands = SplitOperands(s.substr(end));
    Opcode(words, i);
    if (i.op == PtxOp::kBranch)
      branches_.emplace_back(kernel_.code.size(), std::string(operands.at(0)));
    else if (i.op != PtxOp::kReturn)
      Operands(operands, i);
    kernel_.code.push_back(std::move(i));
  }

  void Opcode(const std::vector<std::string_view>& words, PtxInstruction& i) const {
    if (words[0] == "shfl") {
      i.op = words.at(2) == "bfly" ? PtxOp::kShuffleXor : PtxOp::kShuffleFrom;
      if (words.at(1) != "sync" || (words[2] != "bfly" && words[2] != "idx")) Fail(line_, "unknown shuffle");
      return;
    }
    const auto known =
        std::ranges::find_if(kMnemonics, [&](const Mnemonic& m) { return words[0] == m.name; });
    if (known == std::end(kMnemonics)) Fail(line_, "unknown instruction " + std::string(words[0]));
    i.op = known->op;
    if (i.op == PtxOp::kReturn || i.op == PtxOp::kBranch || i.op == PtxOp::kBarrier) return;
    i.type = ParseType(words.back(), line_);
    for (std::string_view word : words) Modifier(word, i);
    if (i.op == PtxOp::kConvert) {
      i.from = i.type;
      i.type = ParseType(words.at(words.size() - 2), line_);
    }
  }

  // What a word between the mnemonic and the type changes. Rounding is to nearest everywhere.
  static void Modifier(std::string_view word, PtxInstruction& i) {
    static constexpr std::string_view kCompares[] = {"eq", "ne", "lt", "le", "gt", "ge"};
    static constexpr std::string_view kSpaces[] = {"param", "shared", "global"};
    if (i.op == PtxOp::kMulLo && word == "hi") i.op = PtxOp::kMulHi;
    if (i.op == PtxOp::kMulLo && word == "wide") i.op = PtxOp::kMulWide;
    if (i.op == PtxOp::kSetPredicate && word.size() == 3 && word.ends_with('u')) {
      i.unordered = true;
      word.remove_suffix(1);
    }
    if (const auto at = std::ranges::find(kCompares, word); at != std::end(kCompares))
      i.compare = static_cast<PtxCompare>(at - std::begin(kCompares));
    if (const auto at = std::ranges::find(kSpaces, word); at != std::end(kSpaces))
      i.space = static_cast<PtxSpace>(at - std::begin(kSpaces));
  }

  void Operands(const std::vector<std::string_view>& operands, PtxInstruction& i) {
    for (size_t n = 0; n < operands.size(); ++n) {
      const bool is_target = n == 0 && i.op != PtxOp::kBarrier;
      for (std::string_view name : Names(operands[n]))
        (is_target ? i.to : i.sources).push_back(Operand(name, i));
    }
  }

  static std::vector<std::string_view> Names(std::string_view operand) {
    if (operand.front() == '{') return SplitOperands(operand.substr(1, operand.size() - 2));
    if (operand.front() == '[') return {operand.substr(1, operand.size() - 2)};
    return {operand};
  }

  PtxOperand Operand(std::string_view name, const PtxInstruction& i) {
    static constexpr std::string_view kSpecial[] = {"%tid.x", "%ctaid.x", "%ctaid.y", "%ctaid.z",
                                                    "%nctaid.x"};
    uint64_t offset = 0;
    if (const size_t plus = name.find('+'); plus != std::string_view::npos) {
      offset = static_cast<uint64_t>(std::stoll(std::string(name.substr(plus + 1))));
      name = Trim(name.substr(0, plus));
    }
    if (const auto at = std::ranges::find(kSpecial, name); at != std::end(kSpecial))
      return {PtxOperand::Kind::kSpecial, static_cast<uint32_t>(at - std::begin(kSpecial)), 0};
    if (const auto constant = Constant(name, i)) return {PtxOperand::Kind::kConstant, 0, *constant + offset};
    return {PtxOperand::Kind::kRegister, Register(name), offset};
  }

  std::optional<uint64_t> Constant(std::string_view name, const PtxInstruction& i) {
    if (name.starts_with("0f")) return std::stoul(std::string(name.substr(2)), nullptr, 16);
    if (std::isdigit(static_cast<unsigned char>(name[0])) || name[0] == '-')
      return static_cast<uint64_t>(std::stoll(std::string(name), nullptr, 0));
    if (name.starts_with(kernel_.name + "_param_")) return 0;
    const auto shared = shared_.find(std::string(name));
    if (shared == shared_.end()) return std::nullopt;
    if (kernel_.shared_bytes != 0 && kernel_.shared_bytes != shared->second)
      Fail(i.line, "a second array in shared memory");
    kernel_.shared_bytes = shared->second;
    return 0;
  }

  uint32_t Register(std::string_view name) {
    return registers_.emplace(std::string(name), static_cast<uint32_t>(registers_.size())).first->second;
  }

  const std::map<std::string, size_t>& shared_;
  PtxKernel& kernel_;
  int line_ = 0;
  std::map<std::string, uint32_t> registers_, labels_;
  std::vector<std::pair<size_t, std::string>> branches_;
};

// The number between the brackets at the end of "... name[28416]".
size_t BracketedNumber(std::string_view s) {
  const size_t open = s.rfind('[');
  return open == std::string_view::npos ? 0 : std::stoul(std::string(s.substr(open + 1)));
}

// Reads a module line by line; directives stand on lines of their own, and so do the braces of a kernel.
class ModuleParser {
 public:
  std::map<std::string, PtxKernel> Parse(std::string_view text) {
    int number = 0;
    for (std::string_view line : Split(text, '\n')) {
      ++number;
      line = Trim(line.substr(0, line.find("//")));
      if (!line.empty()) Line(line, number);
    }
    return std::move(kernels_);
  }

 private:
  void Line(std::string_view line, int number) {
    if (line.find(".shared ") != std::string_view::npos && line.find('[') != std::string_view::npos &&
        line.find(".b8 ") != std::string_view::npos) {
      const std::string_view name = line.substr(line.rfind(' ') + 1);
      shared_[std::string(name.substr(0, name.find('[')))] = BracketedNumber(line);
    } else if (const size_t entry = line.find(".entry "); entry != std::string_view::npos) {
      const std::string_view rest = line.substr(entry + 7);
      current_ = &kernels_[std::string(rest.substr(0, rest.find('(')))];
      current_->name = rest.substr(0, rest.find('('));
    } else if (current_ && line.starts_with(".param")) {
      current_->parameter_bytes = BracketedNumber(line);
    } else if (current_ && !parser_ && line == "{") {
      parser_.emplace(shared_, *current_);
      depth_ = 1;
    } else if (parser_) {
      Body(line, number);
    }
  }

  void Body(std::string_view line, int number) {
    depth_ +=
        static_cast<int>(std::ranges::count(line, '{')) - static_cast<int>(std::ranges::count(line, '}'));
    if (depth_ > 0) {
      for (std::string_view statement : Split(line, ';')) parser_->Statement(statement, number);
      return;
    }
    parser_->Finish();
    parser_.reset();
    current_ = nullptr;
  }

  std::map<std::string, PtxKernel> kernels_;
  std::map<std::string, size_t> shared_;  // arrays of the module, bytes
  PtxKernel* current_ = nullptr;
  std::optional<KernelParser> parser_;
  int depth_ = 0;
};

}  // namespace

std::map<std::string, PtxKernel> ParsePtx(std::string_view text) { return ModuleParser().Parse(text); }

}  // namespace qwen3vl::gpu
