// SPDX-License-Identifier: Apache-2.0
#include "process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <ostream>
#include <sstream>
#include <stdexcept>

namespace qwen3vl::test {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kLongest{120};  // sanitizer builds on a busy machine

void Close(int& fd) {
  if (fd >= 0) close(fd);
  fd = -1;
}

}  // namespace

std::ostream& operator<<(std::ostream& os, const Outcome& o) {
  return os << "exit code " << o.exit_code << (o.timed_out ? " (timed out)" : "") << "\n--- stdout\n"
            << o.out << "\n--- stderr\n"
            << o.err;
}

Process::Process(const std::vector<std::string>& arguments) : Process(QWEN3VL_COMMAND, arguments) {}

Process::Process(std::string program, const std::vector<std::string>& arguments) {
  signal(SIGPIPE, SIG_IGN);  // a command that ends early must not end the tests
  int in[2], out[2], err[2];
  if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
    throw std::runtime_error("no pipes");
  std::vector<std::string> words{program};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_ = fork();
  if (pid_ < 0) throw std::runtime_error("no process");
  if (pid_ == 0) {
    signal(SIGPIPE, SIG_DFL);
    dup2(in[0], 0), dup2(out[1], 1), dup2(err[1], 2);
    execv(program.c_str(), argv.data());
    _exit(127);
  }
  close(in[0]), close(out[1]), close(err[1]);
  in_ = in[1], out_ = out[0], err_ = err[0];
}

Process::~Process() {
  Close(in_), Close(out_), Close(err_);
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

void Process::Write(const std::string& text) {
  for (size_t done = 0; done < text.size();) {
    const ssize_t n = write(in_, text.data() + done, text.size() - done);
    if (n <= 0) return;
    done += static_cast<size_t>(n);
  }
}

void Process::CloseInput() { Close(in_); }
void Process::Interrupt() const { Signal(SIGINT); }
void Process::Signal(int signal) const { kill(pid_, signal); }

bool Process::Read(Clock::time_point until) {
  pollfd fds[] = {{out_, POLLIN, 0}, {err_, POLLIN, 0}};
  if (out_ < 0 && err_ < 0) return false;
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
  if (left <= 0 || poll(fds, 2, static_cast<int>(left)) <= 0) {
    outcome_.timed_out = true;
    return false;
  }
  for (auto [fd, text] : {std::pair{&out_, &outcome_.out}, {&err_, &outcome_.err}}) {
    if (*fd < 0 || !(fds[fd == &err_].revents & (POLLIN | POLLHUP | POLLERR))) continue;
    char block[4096];
    const ssize_t n = read(*fd, block, sizeof block);
    if (n > 0) {
      text->append(block, static_cast<size_t>(n));
    } else {
      Close(*fd);
    }
  }
  return true;
}

bool Process::WaitFor(const std::string& stream, const std::string& text) {
  const auto until = Clock::now() + kLongest;
  while (stream.find(text) == std::string::npos)
    if (!Read(until)) return false;
  return true;
}

bool Process::WaitForErr(const std::string& text) { return WaitFor(outcome_.err, text); }
bool Process::WaitForOut(const std::string& text) { return WaitFor(outcome_.out, text); }

Outcome Process::Finish() {
  CloseInput();
  const auto until = Clock::now() + kLongest;
  while (Read(until)) {
  }
  if (outcome_.timed_out) kill(pid_, SIGKILL);
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  outcome_.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome_;
}

Outcome RunCommand(const std::vector<std::string>& arguments, const std::string& input) {
  Process process(arguments);
  process.Write(input);
  return process.Finish();
}

Outcome RunInShell(const std::string& script, std::vector<std::string> arguments, const std::string& input) {
  arguments.insert(arguments.begin(), {"-c", script, "sh", QWEN3VL_COMMAND});
  Process process("/bin/sh", arguments);
  process.Write(input);
  return process.Finish();
}

nlohmann::json OutJson(const Outcome& outcome) { return nlohmann::json::parse(outcome.out); }

std::vector<nlohmann::json> OutJsonLines(const Outcome& outcome) {
  std::vector<nlohmann::json> documents;
  std::istringstream lines(outcome.out);
  for (std::string line; std::getline(lines, line);) documents.push_back(nlohmann::json::parse(line));
  return documents;
}

size_t CountLines(const std::string& text) {
  return static_cast<size_t>(std::count(text.begin(), text.end(), '\n')) +
         (!text.empty() && text.back() != '\n');
}

std::string TinyModel() { return QWEN3VL_SOURCE_DIR "/models/tiny-random"; }
std::string TinyPicture() { return QWEN3VL_SOURCE_DIR "/examples/picture.jpg"; }

}  // namespace qwen3vl::test
