// SPDX-License-Identifier: Apache-2.0
// The thread pool behind ParallelFor. One atomic word says whether a loop is open, which one it is and how
// many helpers are inside; a helper enters by a compare-and-swap on it, so it can't slip into a loop that has
// closed, and the caller of a closed loop waits until the count is zero. A helper that the system did not run
// in time finds the door closed and nobody has waited for it.
#include <pthread.h>
#include <sys/types.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <new>
#include <vector>

#include "hw/parallel.h"

namespace qwen3vl::hw::internal {
namespace {

// How often a waiting thread looks before it sleeps: some 50 microseconds, more than the gap between two
// loops of a layer and less than anyone notices as load.
constexpr int kSpins = 2000;

void SpinPause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

// While it lives, this thread and those that it makes take no signal but the ones that a thread causes
// itself: an app that waits for its signals in a place of its own must not lose them to a helper.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t blocked;
    sigfillset(&blocked);
    for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) sigdelset(&blocked, own);
    pthread_sigmask(SIG_SETMASK, &blocked, &before_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

class Pool {
 public:
  Pool() = default;
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool();

  void Run(size_t n_threads, void (*work)(const void*, size_t), const void* context);

 private:
  // The word: helpers inside in bits 0 to 30, the open door in bit 31, the loop's number above.
  static constexpr uint64_t kOpen = uint64_t{1} << 31;
  static constexpr uint64_t kInside = kOpen - 1;
  static constexpr uint64_t kNextGeneration = uint64_t{1} << 32;
  static uint64_t Generation(uint64_t state) { return state & ~(kOpen | kInside); }

  void ForgetHelpersOfParent();
  void Grow(size_t n_helpers);
  static void* StartHelper(void* pool);
  void Help(size_t thread);

  alignas(64) std::atomic<uint64_t> state_{0};
  std::atomic<bool> stop_{false};
  // Written by the owner while the door is closed and nobody is inside.
  void (*work_)(const void*, size_t) = nullptr;
  const void* context_ = nullptr;
  size_t n_threads_ = 0;
  std::vector<pthread_t> helpers_;     // no std::thread: a child made by fork could not let go of it
  std::atomic<size_t> n_started_ = 0;  // helpers that took their number
  pid_t process_ = 0;                  // where the helpers live
};

Pool::~Pool() {
  ForgetHelpersOfParent();
  stop_.store(true, std::memory_order_relaxed);
  state_.fetch_add(kNextGeneration, std::memory_order_release);
  state_.notify_all();
  for (const pthread_t helper : helpers_) pthread_join(helper, nullptr);
}

// A child made by fork has the pool, but not the threads: what their handles name is, or will be, the memory
// of the child's own threads.
void Pool::ForgetHelpersOfParent() {
  const pid_t process = getpid();
  if (process == process_) return;
  helpers_.clear();
  n_started_ = 0;
  process_ = process;
}

// Where the system refuses more threads, those that are there share the tasks.
void Pool::Grow(size_t n_helpers) {
  ForgetHelpersOfParent();
  if (helpers_.size() >= n_helpers) return;
  try {
    helpers_.reserve(n_helpers);
  } catch (const std::bad_alloc&) {
    return;
  }
  const SignalsBlocked blocked;
  for (pthread_t helper;
       helpers_.size() < n_helpers && pthread_create(&helper, nullptr, StartHelper, this) == 0;)
    helpers_.push_back(helper);
}

void* Pool::StartHelper(void* pool) {
  Pool& self = *static_cast<Pool*>(pool);
  self.Help(self.n_started_.fetch_add(1, std::memory_order_relaxed) + 1);
  return nullptr;
}

void Pool::Run(size_t n_threads, void (*work)(const void*, size_t), const void* context) {
  Grow(n_threads - 1);
  work_ = work;
  context_ = context;
  n_threads_ = n_threads;
  const uint64_t generation = Generation(state_.load(std::memory_order_relaxed)) + kNextGeneration;
  state_.store(generation | kOpen, std::memory_order_release);
  state_.notify_all();
  work(context, 0);
  state_.fetch_and(~kOpen, std::memory_order_relaxed);
  int spin = 0;
  for (uint64_t state; (state = state_.load(std::memory_order_acquire)) & kInside;) {
    if (++spin < kSpins) {
      SpinPause();
    } else {
      state_.wait(state, std::memory_order_relaxed);
    }
  }
}

thread_local bool in_task = false;

void Pool::Help(size_t thread) {
  in_task = true;
  for (uint64_t seen = 0;;) {
    uint64_t state = state_.load(std::memory_order_acquire);
    for (int spin = 0; Generation(state) == seen; state = state_.load(std::memory_order_acquire)) {
      if (++spin < kSpins) {
        SpinPause();
      } else {
        state_.wait(state, std::memory_order_relaxed);
      }
    }
    if (stop_.load(std::memory_order_relaxed)) return;
    if (state & kOpen) {
      if (!state_.compare_exchange_weak(state, state + 1, std::memory_order_acquire)) continue;
      if (thread < n_threads_) work_(context_, thread);
      const uint64_t before = state_.fetch_sub(1, std::memory_order_release);
      if ((before & (kOpen | kInside)) == 1) state_.notify_all();
    }
    seen = Generation(state);
  }
}

}  // namespace

void RunOnThreads(size_t n_threads, void (*work)(const void* context, size_t thread), const void* context) {
  if (in_task) return work(context, 0);
  thread_local Pool pool;
  in_task = true;
  pool.Run(n_threads, work, context);
  in_task = false;
}

}  // namespace qwen3vl::hw::internal
