// SPDX-License-Identifier: Apache-2.0
// `qwen3vl chat` in a terminal, which changes what arrives.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string>

#include "process.h"

namespace qwen3vl::test {
namespace {

// The command with a terminal of its own for input and messages.
class TerminalProcess {
 public:
  explicit TerminalProcess(const std::string& model)
      : terminal_(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)) {
    if (terminal_ < 0 || grantpt(terminal_) || unlockpt(terminal_)) return;
    const std::string name = ptsname(terminal_);
    pid_ = fork();
    if (pid_ != 0) return;
    setsid();
    const int fd = open(name.c_str(), O_RDWR);
    for (int to : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(fd, to);
    execl(QWEN3VL_COMMAND, "qwen3vl", "chat", "-m", model.c_str(), "-n", "2", static_cast<char*>(nullptr));
    _exit(127);
  }
  ~TerminalProcess() {
    if (pid_ > 0) kill(pid_, SIGKILL), waitpid(pid_, nullptr, 0);
    if (terminal_ >= 0) close(terminal_);
  }
  TerminalProcess(const TerminalProcess&) = delete;
  TerminalProcess& operator=(const TerminalProcess&) = delete;

  bool started() const { return pid_ > 0; }
  bool Write(const std::string& text) const {
    return write(terminal_, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  }
  // False when it does not come within a minute.
  bool WaitFor(const std::string& text) {
    constexpr int kLongestMs = 60'000;
    pollfd wait{terminal_, POLLIN, 0};
    while (shown_.find(text) == std::string::npos) {
      char block[4096];
      if (poll(&wait, 1, kLongestMs) <= 0) return false;
      const ssize_t n = read(terminal_, block, sizeof block);
      if (n <= 0) return false;
      shown_.append(block, static_cast<size_t>(n));
    }
    return true;
  }

 private:
  int terminal_;
  int pid_ = -1;
  std::string shown_;
};

TEST(Terminal, ALineThatItMayHaveCutIsNotAsked) {
  TerminalProcess process(TinyModel());
  if (!process.started()) GTEST_SKIP() << "no pseudo-terminal here";
  ASSERT_TRUE(process.WaitFor("ready"));
  ASSERT_TRUE(process.Write(std::string(3000, 'a')));
  ASSERT_TRUE(process.Write(std::string(2000, 'b') + "\n"));
  EXPECT_TRUE(process.WaitFor("not asked: a terminal cuts lines at 4095 bytes"));
}

}  // namespace
}  // namespace qwen3vl::test
