// SPDX-License-Identifier: Apache-2.0
// The thread pool behind ParallelFor. One atomic word says whether a loop is open, which one it is and how
// many helpers are inside; a helper enters by a compare-and-swap on it, so it can't slip into a loop that has
// closed, and the caller of a closed loop waits until the count is zero. A helper that the system did not run
// in time finds the door closed and nobody has waited for it.
#include <sys/types.h>
#include <unistd.h>

#include <cstdint>
#include <new>
#include <system_error>
#include <thread>
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
  void Help(size_t thread);

  alignas(64) std::atomic<uint64_t> state_{0};
  std::atomic<bool> stop_{false};
  // Written by the owner while the door is closed and nobody is inside.
  void (*work_)(const void*, size_t) = nullptr;
  const void* context_ = nullptr;
  size_t n_threads_ = 0;
  std::vector<std::thread> helpers_;
  pid_t process_ = 0;  // where the helpers live
};

Pool::~Pool() {
  ForgetHelpersOfParent();
  stop_.store(true, std::memory_order_relaxed);
  state_.fetch_add(kNextGeneration, std::memory_order_release);
  state_.notify_all();
  for (std::thread& helper : helpers_) helper.join();
}

// A child made by fork has the pool, but not the threads.
void Pool::ForgetHelpersOfParent() {
  const pid_t process = getpid();
  if (process == process_) return;
  for (std::thread& helper : helpers_) helper.detach();
  helpers_.clear();
  process_ = process;
}

// Where the system refuses more threads, those that are there share the tasks.
void Pool::Grow(size_t n_helpers) {
  ForgetHelpersOfParent();
  if (helpers_.size() >= n_helpers) return;
  try {
    while (helpers_.size() < n_helpers) {
      const size_t thread = helpers_.size() + 1;
      helpers_.emplace_back([this, thread] { Help(thread); });
    }
  } catch (const std::system_error&) {
  } catch (const std::bad_alloc&) {
  }
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
