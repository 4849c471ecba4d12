// SPDX-License-Identifier: Apache-2.0
// `qwen3vl chat` in a terminal, which changes what arrives.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <string>

#include "process.h"

namespace qwen3vl::test {
namespace {

// The command with a terminal of its own for input and messages.
class TerminalProcess {
 public:
  // `kind`: what TERM says it is; null: nothing.
  explicit TerminalProcess(const char* kind, unsigned short columns = 80)
      : terminal_(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)) {
    if (terminal_ < 0 || grantpt(terminal_) || unlockpt(terminal_)) return;
    const winsize size{.ws_row = 24, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
    ioctl(terminal_, TIOCSWINSZ, &size);
    const std::string name = ptsname(terminal_), model = TinyModel();
    pid_ = fork();
    if (pid_ != 0) return;
    setsid();
    const int fd = open(name.c_str(), O_RDWR);
    for (int to : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(fd, to);
    kind ? setenv("TERM", kind, /*overwrite=*/1) : unsetenv("TERM");
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
  // What came before is forgotten. False when it does not come within a minute.
  bool WaitFor(const std::string& text) {
    constexpr int kLongestMs = 60'000;
    pollfd wait{terminal_, POLLIN, 0};
    while (shown_.find(text) == std::string::npos) {
      char block[4096];
      if (poll(&wait, 1, kLongestMs) <= 0) return false;
      const ssize_t n = read(terminal_, block, sizeof block);
      if (n <= 0) return false;
      shown_.append(block, static_cast<size_t>(n));
      transcript_.append(block, static_cast<size_t>(n));
    }
    shown_.erase(0, shown_.find(text) + text.size());
    return true;
  }
  void Signal(int signal) const { kill(pid_, signal); }
  // All that came from the start.
  const std::string& transcript() const { return transcript_; }
  // Stops it as Ctrl-Z does, and lets it go on in a terminal that echoes, as shells leave it.
  void StopAndContinue() const {
    kill(pid_, SIGSTOP);
    int status = 0;
    waitpid(pid_, &status, WUNTRACED);
    termios mode{};
    tcgetattr(terminal_, &mode);
    mode.c_lflag |= ICANON | ECHO;
    tcsetattr(terminal_, TCSANOW, &mode);
    kill(pid_, SIGCONT);
  }
  int ExitCode() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  int terminal_;
  int pid_ = -1;
  std::string shown_, transcript_;
};

constexpr const char* kLeft = "\x1b[D";
constexpr const char* kUp = "\x1b[A";
constexpr const char* kBackspace = "\x7f";
constexpr const char* kCtrlC = "\x03";
constexpr const char* kCtrlD = "\x04";

class Terminal : public testing::Test {
 protected:
  void SetUp() override {
    if (!process_.started()) GTEST_SKIP() << "no pseudo-terminal here";
    ASSERT_TRUE(process_.WaitFor("leaves"));
    ASSERT_TRUE(process_.WaitFor("> "));
  }
  TerminalProcess process_{"xterm"};
};

TEST_F(Terminal, LinesCanBeEditedAndComeBack) {
  ASSERT_TRUE(process_.Write(std::string("/fy") + kLeft + "l\n"));
  EXPECT_TRUE(process_.WaitFor("/fly: unknown"));
  ASSERT_TRUE(process_.WaitFor("> "));
  ASSERT_TRUE(process_.Write(std::string(kUp) + "2\n"));
  EXPECT_TRUE(process_.WaitFor("/fly2: unknown"));
}

TEST_F(Terminal, BackspaceTakesAWholeCharacter) {
  ASSERT_TRUE(process_.Write(std::string("/e\u00e4\u5b57") + kBackspace + kBackspace + "nd\n"));
  EXPECT_TRUE(process_.WaitFor("/end: unknown"));
}

TEST_F(Terminal, LongLinesAreTakenWhole) {
  ASSERT_TRUE(process_.Write("/" + std::string(3000, 'a')));
  ASSERT_TRUE(process_.Write(std::string(2000, 'b') + "\n"));
  EXPECT_TRUE(process_.WaitFor(std::string(3000, 'a') + std::string(2000, 'b') + ": unknown"));
}

TEST_F(Terminal, TheSecondCtrlCLeaves) {
  ASSERT_TRUE(process_.Write(std::string("half a line") + kCtrlC));
  ASSERT_TRUE(process_.WaitFor("Ctrl-C again"));
  ASSERT_TRUE(process_.WaitFor("> "));
  ASSERT_TRUE(process_.Write(kCtrlC));
  EXPECT_EQ(process_.ExitCode(), 130);
}

TEST_F(Terminal, TheSignalToEndLeavesAtOnce) {
  ASSERT_TRUE(process_.Write("half a line"));
  process_.Signal(SIGTERM);
  EXPECT_EQ(process_.ExitCode(), 143);
}

TEST_F(Terminal, CtrlDLeaves) {
  ASSERT_TRUE(process_.Write(kCtrlD));
  EXPECT_EQ(process_.ExitCode(), 0);
}

TEST_F(Terminal, EditingGoesOnAfterAStop) {
  process_.StopAndContinue();
  ASSERT_TRUE(process_.WaitFor("> "));  // drawn again
  ASSERT_TRUE(process_.Write(std::string("/fy") + kLeft + "l\n"));
  EXPECT_TRUE(process_.WaitFor("/fly: unknown"));
}

// Loading shows its progress: every bar begins by erasing the line.
size_t WidestBar(const std::string& transcript) {
  const std::string erase = "\r\x1b[K";
  size_t widest = 0;
  for (size_t at = 0; (at = transcript.find(erase, at)) != std::string::npos;) {
    at += erase.size();
    widest = std::max(widest, std::min(transcript.find_first_of("\r\n", at), transcript.size()) - at);
  }
  return widest;
}

TEST(ProgressBar, IsNoWiderThanTheTerminalAndForThoseThatMoveTheirCursor) {
  struct Case {
    const char* kind;
    unsigned short columns;
    size_t least, most;
  };
  for (const Case& c : {Case{"xterm", 80, 30, 79}, Case{"xterm", 20, 19, 19}, Case{"dumb", 80, 0, 0},
                        Case{nullptr, 80, 0, 0}}) {
    TerminalProcess process(c.kind, c.columns);
    if (!process.started()) GTEST_SKIP() << "no pseudo-terminal here";
    ASSERT_TRUE(process.WaitFor("leaves"));
    ASSERT_TRUE(process.WaitFor("> "));
    const std::string loading = process.transcript().substr(0, process.transcript().find("attention:"));
    EXPECT_GE(WidestBar(loading), c.least) << loading;
    EXPECT_LE(WidestBar(loading), c.most) << loading;
  }
}

TEST(PlainTerminal, ALineThatItMayHaveCutIsNotAsked) {
  TerminalProcess process("dumb");
  if (!process.started()) GTEST_SKIP() << "no pseudo-terminal here";
  ASSERT_TRUE(process.WaitFor("> "));
  ASSERT_TRUE(process.Write(std::string(3000, 'a')));
  ASSERT_TRUE(process.Write(std::string(2000, 'b') + "\n"));
  EXPECT_TRUE(process.WaitFor("not asked: a terminal cuts lines at 4095 bytes"));
}

}  // namespace
}  // namespace qwen3vl::test
