// SPDX-License-Identifier: Apache-2.0
// Streams an answer while it looks for stop strings: text that might be the beginning of one is held back
// until it is clear.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace qwen3vl {

class StopText {
 public:
  explicit StopText(std::vector<std::string> stops);

  // Takes new text and returns what may be shown now. After a stop string was met, `stopped` is true and
  // nothing more comes out.
  std::string Push(std::string_view text);
  // What was held back, at the end of the answer.
  std::string Finish();
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace qwen3vl
