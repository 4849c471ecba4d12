// SPDX-License-Identifier: Apache-2.0
// How --help looks: descriptions of options and subcommands in a column of their own, broken between words.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace qwen3vl::cli {

class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter() { column_width(30); }

  std::string make_option_desc(const CLI::Option* option) const override {
    return Broken(CLI::Formatter::make_option_desc(option));
  }

  std::string make_subcommand(const CLI::App* sub) const override {
    std::ostringstream out;
    CLI::detail::format_help(out, sub->get_display_name(true), Broken(sub->get_description()),
                             get_column_width());
    return out.str();
  }

 private:
  static constexpr size_t kWidth = 110;  // of a whole line, a little less than the examples below have

  // Into lines; the base class indents those after the first.
  std::string Broken(std::string text) const {
    const size_t width = kWidth - get_column_width();
    for (size_t begin = 0; text.size() - begin > width;) {
      const size_t blank = text.rfind(' ', begin + width);
      if (blank == std::string::npos || blank <= begin) break;
      text[blank] = '\n';
      begin = blank + 1;
    }
    return text;
  }
};

}  // namespace qwen3vl::cli
