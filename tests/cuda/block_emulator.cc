// SPDX-License-Identifier: Apache-2.0
// Compiled without ThreadSanitizer's instrumentation (tests/cuda/CMakeLists.txt): the scheduler's own data
// are no part of what is checked.
#include "cuda/block_emulator.h"

#include <ucontext.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/fiber_sanitizers.h"

namespace qwen3vl::gpu {
namespace {

constexpr unsigned kLanes = 32;
constexpr size_t kStackBytes = size_t{128} << 10;
constexpr size_t kSharedBytes = 48 * 1024;  // the most a block of compute capability 6.1 can have

enum class State { kReady, kShuffle, kBarrier, kDone };

struct Fiber {
  ucontext_t context;
  std::unique_ptr<std::byte[]> stack = std::make_unique_for_overwrite<std::byte[]>(kStackBytes);
  FiberShadow shadow;
  State state = State::kDone;
  int line = 0;         // where it waits
  float value = 0;      // what it offers in a shuffle; afterwards what it got
  unsigned source = 0;  // the lane it asks
};

class Block {
 public:
  Block(Grid grid, unsigned threads, const std::function<void()>& kernel, ThreadOrder order)
      : grid_(grid), kernel_(kernel), fibers_(threads), order_(threads), phases_(threads / kLanes + 1) {
    std::iota(order_.begin(), order_.end(), 0u);
    if (order == ThreadOrder::kReverse) std::ranges::reverse(order_);
    if (order == ThreadOrder::kShuffled) std::ranges::shuffle(order_, std::mt19937(7));
  }

  void Run(Grid index) {
    index_ = index;
    ShowBytes(shared_.get(), kSharedBytes);
    std::memset(shared_.get(), 0xff, kSharedBytes);
    shadow_.PublishLaunch();
    for (Fiber& fiber : fibers_) Prepare(fiber);
    try {
      RunFibers();
    } catch (...) {
      Abandon();
      throw;
    }
    for (Fiber& fiber : fibers_) fiber.shadow.Destroy();
    shadow_.CollectLaunch();
  }

  unsigned thread() const { return running_; }
  Grid index() const { return index_; }
  Grid grid() const { return grid_; }

  // The last of them, so that what is read past their end is read past the heap block.
  void* SharedBytes(size_t bytes) {
    if (bytes > kSharedBytes)
      throw std::runtime_error(std::to_string(bytes) + " bytes of shared memory, a block has " +
                               std::to_string(kSharedBytes));
    HideBytes(shared_.get(), kSharedBytes - bytes);
    return shared_.get() + (kSharedBytes - bytes);
  }

  void WaitAtBarrier(int line) { Park(State::kBarrier, line, phases_.size() - 1); }

  float Shuffle(float value, unsigned source, int line) {
    Fiber& fiber = fibers_[running_];
    fiber.value = value;
    fiber.source = source;
    const unsigned self = running_;
    Park(State::kShuffle, line, self / kLanes);
    return fibers_[self].value;
  }

 private:
  struct Abandoned {};  // thrown in a thread that will not be released any more

  void RunFibers() {
    while (!std::ranges::all_of(fibers_, [](const Fiber& f) { return f.state == State::kDone; })) {
      bool moved = false;
      for (unsigned t : order_)
        if (fibers_[t].state == State::kReady) {
          Resume(t);
          if (failure_) std::rethrow_exception(failure_);
          moved = true;
        }
      for (unsigned first = 0; first < fibers_.size(); first += kLanes) moved |= ReleaseWarp(first);
      if (!moved && !ReleaseBlock()) throw std::runtime_error(WhyStuck());
    }
  }

  // Lets the threads that wait somewhere leave the kernel, so that what they own is freed.
  void Abandon() {
    abandoned_ = true;
    for (unsigned t = 0; t < fibers_.size(); ++t)
      if (fibers_[t].state != State::kDone) Resume(t);
    for (Fiber& fiber : fibers_) fiber.shadow.Destroy();
    shadow_.CollectLaunch();
  }

  // Makes `fiber` ready to run the kernel from its start.
  void Prepare(Fiber& fiber) {
    fiber.shadow.Create(fiber.stack.get(), kStackBytes);
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStackBytes;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, &Block::Start, 0);
    fiber.state = State::kReady;
  }

  static void Start();

  void Resume(unsigned thread) {
    running_ = thread;
    Fiber& fiber = fibers_[thread];
    shadow_.LeaveTo(fiber.shadow);
    swapcontext(&scheduler_, &fiber.context);
    shadow_.Arrived();
  }

  // Back to the scheduler until it releases this fiber. `phase` is the warp, or the block past them.
  void Park(State state, int line, size_t phase) {
    Fiber& fiber = fibers_[running_];
    Phase& p = phases_[phase];
    char* tag = &p.tags[p.generation % 2];
    ReleaseTag(tag);
    fiber.state = state;
    fiber.line = line;
    fiber.shadow.LeaveTo(shadow_);
    swapcontext(&fiber.context, &scheduler_);
    fiber.shadow.Arrived();
    if (abandoned_) throw Abandoned{};
    AcquireTag(tag);
  }

  bool ReleaseWarp(unsigned first) {
    const auto begin = fibers_.begin() + first, end = begin + kLanes;
    if (!std::all_of(begin, end, [](const Fiber& f) { return f.state == State::kShuffle; })) return false;
    if (const auto other = std::find_if(begin, end, [&](const Fiber& f) { return f.line != begin->line; });
        other != end)
      throw std::runtime_error("warp split over two shuffles, lines " + std::to_string(begin->line) +
                               " and " + std::to_string(other->line));
    float offered[kLanes];
    for (unsigned lane = 0; lane < kLanes; ++lane) offered[lane] = begin[lane].value;
    for (unsigned lane = 0; lane < kLanes; ++lane) {
      begin[lane].value = offered[begin[lane].source % kLanes];
      begin[lane].state = State::kReady;
    }
    ++phases_[first / kLanes].generation;
    return true;
  }

  bool ReleaseBlock() {
    const int line = fibers_.front().line;
    if (!std::ranges::all_of(fibers_, [](const Fiber& f) { return f.state == State::kBarrier; }))
      return false;
    for (const Fiber& f : fibers_)
      if (f.line != line)
        throw std::runtime_error("block split over two barriers, lines " + std::to_string(line) + " and " +
                                 std::to_string(f.line));
    for (Fiber& f : fibers_) f.state = State::kReady;
    ++phases_.back().generation;
    return true;
  }

  // Names one thread of each way to wait.
  std::string WhyStuck() const {
    std::string text = "block stuck:";
    std::vector<std::pair<State, int>> said;
    for (size_t t = 0; t < fibers_.size(); ++t) {
      const Fiber& f = fibers_[t];
      const std::pair<State, int> where{f.state, f.state == State::kDone ? 0 : f.line};
      if (std::ranges::find(said, where) != said.end()) continue;
      said.push_back(where);
      text +=
          " thread " + std::to_string(t) +
          (f.state == State::kDone      ? " has ended;"
           : f.state == State::kBarrier ? " waits at the barrier in line " + std::to_string(f.line) + ";"
                                        : " waits in the shuffle in line " + std::to_string(f.line) + ";");
    }
    return text;
  }

  // What orders the threads of a warp or of the block. Two tags, so that a thread that wakes late does not
  // also see what a fast one did before the next meeting.
  struct Phase {
    char tags[2] = {};
    unsigned generation = 0;
  };

  Grid grid_, index_;
  const std::function<void()>& kernel_;
  std::vector<Fiber> fibers_;
  std::vector<unsigned> order_;
  std::vector<Phase> phases_;  // of each warp, then of the block
  // There before any thread runs, as on a device: were it one of the threads that takes it, that thread's
  // writing to it would race with the others'.
  std::unique_ptr<std::byte[]> shared_ = std::make_unique_for_overwrite<std::byte[]>(kSharedBytes);
  ucontext_t scheduler_;
  SchedulerShadow shadow_;
  unsigned running_ = 0;
  std::exception_ptr failure_;  // what a thread has thrown
  bool abandoned_ = false;
};

thread_local Block* current = nullptr;

void Block::Start() {
  Block& block = *current;
  Fiber& fiber = block.fibers_[block.running_];
  fiber.shadow.Begin(block.shadow_);
  try {
    if (!block.abandoned_) block.kernel_();
  } catch (const Abandoned&) {
    // There is nothing to say: the block has failed already.
  } catch (...) {
    block.failure_ = std::current_exception();
  }
  fiber.state = State::kDone;
  fiber.shadow.End(block.shadow_);
  setcontext(&block.scheduler_);
}

}  // namespace

void Launch(Grid grid, unsigned threads, const std::function<void()>& kernel, ThreadOrder order) {
  if (threads == 0 || threads % kLanes != 0)
    throw std::runtime_error("a block of " + std::to_string(threads) +
                             " threads is no whole number of warps");
  Block block(grid, threads, kernel, order);
  current = &block;
  try {
    for (unsigned z = 0; z < grid.z; ++z)
      for (unsigned y = 0; y < grid.y; ++y)
        for (unsigned x = 0; x < grid.x; ++x) block.Run({x, y, z});
  } catch (...) {
    current = nullptr;
    throw;
  }
  current = nullptr;
}

unsigned ThreadIndex() { return current->thread(); }
unsigned BlockX() { return current->index().x; }
unsigned BlockY() { return current->index().y; }
unsigned BlockZ() { return current->index().z; }
unsigned GridX() { return current->grid().x; }
void Barrier(int line) { current->WaitAtBarrier(line); }
float ShuffleXor(float value, unsigned mask, int line) {
  return current->Shuffle(value, current->thread() % kLanes ^ mask, line);
}
float ShuffleFrom(float value, unsigned source, int line) { return current->Shuffle(value, source, line); }
void* SharedBytes(size_t bytes) { return current->SharedBytes(bytes); }

}  // namespace qwen3vl::gpu
