// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cli/interrupt.h"

#include <poll.h>
#include <time.h>
#include <unistd.h>

#include <csignal>

#include "qwen3vl/cli/failure.h"

namespace qwen3vl::cli {
namespace {

constexpr long kDeadlineNs = 150'000'000;

std::atomic<bool> g_interrupted{false};
std::atomic<int> g_signal{SIGINT};  // the last that came
std::atomic<bool> g_end_asked{false};
std::atomic<bool> g_deadline{true};
std::atomic<bool> g_continued{false};  // after a stop
std::atomic<Session*> g_session{nullptr};
timer_t g_timer;
bool g_has_timer = false;

static_assert(std::atomic<Session*>::is_always_lock_free && std::atomic<bool>::is_always_lock_free &&
                  std::atomic<int>::is_always_lock_free,
              "used in signal handlers");

void Arm(long nanoseconds) {
  if (!g_has_timer) return;
  itimerspec when{};
  when.it_value.tv_nsec = nanoseconds;
  timer_settime(g_timer, 0, &when, nullptr);
}

constexpr int kInterrupts[] = {SIGINT, SIGTERM, SIGHUP};

void OnInterrupt(int signal) {
  // Ctrl-C after SIGTERM does not make it a Ctrl-C.
  if (signal != SIGINT) g_end_asked.store(true);
  if (signal != SIGINT || !g_end_asked.load()) g_signal.store(signal);
  g_interrupted.store(true);
  if (Session* session = g_session.load()) session->Cancel();
  if (g_deadline.load()) Arm(kDeadlineNs);
}

void OnDeadline(int) {
  if (g_deadline.load()) _exit(InterruptExitCode());
}

void Handle(int signal, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, nullptr);  // without SA_RESTART: a read at the chat prompt must come back
}

}  // namespace

void CatchInterrupts() {
  Handle(SIGALRM, OnDeadline);
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGALRM;
  g_has_timer = timer_create(CLOCK_MONOTONIC, &event, &g_timer) == 0;
  for (const int signal : kInterrupts) {
    struct sigaction before {};
    if (sigaction(signal, nullptr, &before) == 0 && before.sa_handler == SIG_IGN) continue;
    Handle(signal, OnInterrupt);
  }
}

bool Interrupted() { return g_interrupted.load(std::memory_order_relaxed); }
const std::atomic<bool>& InterruptFlag() { return g_interrupted; }

void ForgetInterrupt() {
  Arm(0);
  g_interrupted = false;
  if (g_end_asked.load()) g_interrupted = true;  // looked at last: it may have come meanwhile
}

bool EndAsked() { return g_end_asked.load(); }

int InterruptExitCode() { return 128 + g_signal.load(); }

bool WaitForInput() {
  // Held back until the wait itself: a signal just before it would be slept over.
  sigset_t held, before;
  sigemptyset(&held);
  for (const int signal : kInterrupts) sigaddset(&held, signal);
  sigaddset(&held, SIGCONT);
  pthread_sigmask(SIG_BLOCK, &held, &before);
  pollfd input{STDIN_FILENO, POLLIN, 0};
  const bool ready = !Interrupted() && !g_continued.load() && ppoll(&input, 1, nullptr, &before) > 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return ready;
}

void CatchContinue() {
  Handle(SIGCONT, [](int) { g_continued.store(true); });
}

bool TakeContinued() { return g_continued.exchange(false); }

void SetInterruptDeadline(bool on) {
  g_deadline = on;
  if (!on) Arm(0);
}

CancelOnInterrupt::CancelOnInterrupt(Session& session) { g_session = &session; }
CancelOnInterrupt::~CancelOnInterrupt() { g_session = nullptr; }

void CheckInterrupted() {
  if (Interrupted()) throw Error(ErrorCode::kCancelled, "interrupted");
}

}  // namespace qwen3vl::cli
