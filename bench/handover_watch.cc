// SPDX-License-Identifier: Apache-2.0
// Tells, while other programs run, where the host of a virtual machine keeps its processors 0 and 1: ten
// times a second a line with the time (seconds of the monotonic clock) and the nanoseconds that a cache line
// takes from one to the other (qwen3vl/bench/handover.h). Runs until it is killed, or for so many seconds as
// its argument says. A look takes some 50 microseconds; it comes before other work where the system lets it.
#include <sched.h>

#include <cstdio>
#include <cstdlib>
#include <thread>

#include "qwen3vl/bench/handover.h"

namespace {

using Clock = std::chrono::steady_clock;  // the monotonic clock of POSIX, with GCC

constexpr std::chrono::milliseconds kEvery{100}, kPatience{3};

bool MoveTo(int cpu) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  CPU_SET(cpu, &mask);
  if (sched_setaffinity(0, sizeof mask, &mask) != 0) return false;
  const sched_param first{.sched_priority = 1};
  sched_setscheduler(0, SCHED_FIFO, &first);  // refused to most users: then a look may come late, or fail
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  char* end = nullptr;
  const double seconds = argc > 1 ? std::strtod(argv[1], &end) : 1e9;
  if (argc > 2 || (end && (end == argv[1] || *end != '\0')) || !(seconds > 0)) {
    std::fprintf(stderr, "handover_watch: found %s, want no argument, or a number of seconds above 0\n",
                 argc > 2 ? "more than one argument" : argv[1]);
    return 2;
  }
  if (!MoveTo(1) || !MoveTo(0)) {
    std::fputs("handover_watch: may not run on processors 0 and 1\n", stderr);
    return 1;
  }
  qwen3vl::bench::SharedLine line;
  const Clock::time_point start = Clock::now();
  const auto watch = [&](int side) {
    MoveTo(side);
    for (Clock::time_point due = start + kEvery; due - start <= std::chrono::duration<double>(seconds);
         due += kEvery) {
      if (Clock::now() > due) continue;  // by a machine that slept: both sides skip what is over
      std::this_thread::sleep_until(due);
      const std::optional<double> ns = line.Pass(side, kPatience);
      if (side != 0 || !ns) continue;
      std::printf("%.3f %.1f\n", std::chrono::duration<double>(Clock::now().time_since_epoch()).count(), *ns);
      std::fflush(stdout);
    }
  };
  std::thread other(watch, 1);
  watch(0);
  other.join();
}
