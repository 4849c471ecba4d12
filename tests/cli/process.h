// SPDX-License-Identifier: Apache-2.0
// Runs the command as its own process, as a shell would, and gives back all it said.
#pragma once

#include <chrono>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace qwen3vl::test {

struct Outcome {
  int exit_code = -1;  // 128 + signal when a signal ended it, as in a shell
  bool timed_out = false;
  std::string out, err;
};

// For failure texts: exit code and both streams.
std::ostream& operator<<(std::ostream& os, const Outcome& outcome);

// The command with its two output pipes and its input pipe. Killed when the object ends before it does.
class Process {
 public:
  explicit Process(const std::vector<std::string>& arguments);
  Process(std::string program, const std::vector<std::string>& arguments);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void Write(const std::string& text);
  void CloseInput();
  void Interrupt() const;  // SIGINT
  void Signal(int signal) const;
  // Reads until that stream holds `text`; false when the process ends or the time is over before.
  bool WaitForErr(const std::string& text);
  bool WaitForOut(const std::string& text);
  // Reads to the end of both streams and of the process.
  Outcome Finish();

 private:
  bool Read(std::chrono::steady_clock::time_point until);  // false: both streams ended, or no time left
  bool WaitFor(const std::string& stream, const std::string& text);

  int pid_ = -1;
  int in_ = -1, out_ = -1, err_ = -1;
  Outcome outcome_;
};

// Runs to the end with that text on stdin.
Outcome RunCommand(const std::vector<std::string>& arguments, const std::string& input = "");

// The same from a shell, of which `script` is a line with the command and its arguments as "$@":
// ulimit -f 8; exec "$@" 2>&-
Outcome RunInShell(const std::string& script, std::vector<std::string> arguments,
                   const std::string& input = "");

// Lets commands find NVIDIA's driver library in a folder; an empty name: nowhere else than usual.
class DriverFolder {
 public:
  explicit DriverFolder(const std::string& folder) {
    if (!folder.empty()) setenv("LD_LIBRARY_PATH", folder.c_str(), /*overwrite=*/1);
  }
  ~DriverFolder() { unsetenv("LD_LIBRARY_PATH"); }
};

// The JSON document that is all of stdout; throws when it is not one.
nlohmann::json OutJson(const Outcome& outcome);
// One document a line.
std::vector<nlohmann::json> OutJsonLines(const Outcome& outcome);

// How many lines the text has; a last one without its end counts.
size_t CountLines(const std::string& text);

// The tiny model with tokenizer and vision part, and the picture, that come with the sources.
std::string TinyModel();
std::string TinyPicture();

}  // namespace qwen3vl::test
