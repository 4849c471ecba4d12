// SPDX-License-Identifier: Apache-2.0
// What AddressSanitizer and ThreadSanitizer want to be told about fibers; nothing in an ordinary build.
// QWEN3VL_EMULATOR_TSAN comes from the build, because the emulator itself is compiled without that sanitizer.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(QWEN3VL_EMULATOR_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

namespace qwen3vl::gpu {

// Everything before ReleaseTag(x) happens before what follows AcquireTag(x).
inline void ReleaseTag([[maybe_unused]] void* tag) {
#if defined(QWEN3VL_EMULATOR_TSAN)
  __tsan_release(tag);
#endif
}
inline void AcquireTag([[maybe_unused]] void* tag) {
#if defined(QWEN3VL_EMULATOR_TSAN)
  __tsan_acquire(tag);
#endif
}

// Makes an access to these bytes an error for AddressSanitizer, and undoes that.
inline void HideBytes([[maybe_unused]] void* begin, [[maybe_unused]] size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_poison_memory_region(begin, bytes);
#endif
}
inline void ShowBytes([[maybe_unused]] void* begin, [[maybe_unused]] size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(begin, bytes);
#endif
}

// The sanitizers' view of one fiber.
struct Shadow {
  [[maybe_unused]] void* fake_stack = nullptr;  // AddressSanitizer's, while it is not running
  [[maybe_unused]] const void* stack = nullptr;
  [[maybe_unused]] size_t stack_bytes = 0;
  [[maybe_unused]] void* tsan = nullptr;

  // The running context leaves for `to`; for good if it does not `return` to it.
  void Leave([[maybe_unused]] Shadow& to, [[maybe_unused]] bool for_good) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(for_good ? nullptr : &fake_stack, to.stack, to.stack_bytes);
#endif
#if defined(QWEN3VL_EMULATOR_TSAN)
    __tsan_switch_to_fiber(to.tsan, __tsan_switch_to_fiber_no_sync);
#endif
  }
  // The first thing after a switch back; `from`, where given, learns its stack.
  void Arrived([[maybe_unused]] Shadow* from = nullptr) {
#if defined(__SANITIZE_ADDRESS__)
    const void* bottom = nullptr;
    size_t bytes = 0;
    __sanitizer_finish_switch_fiber(fake_stack, &bottom, &bytes);
    if (from) from->stack = bottom, from->stack_bytes = bytes;
#endif
  }
};

// Of the context that Launch was called in.
struct SchedulerShadow : Shadow {
  char launched = 0, ended = 0;  // tags

  void PublishLaunch() {
#if defined(QWEN3VL_EMULATOR_TSAN)
    tsan = __tsan_get_current_fiber();
#endif
    ReleaseTag(&launched);
  }
  void CollectLaunch() { AcquireTag(&ended); }
  void LeaveTo(Shadow& fiber) { Leave(fiber, /*for_good=*/false); }
};

// Of a fiber that runs a CUDA thread.
struct FiberShadow : Shadow {
  void Create([[maybe_unused]] void* memory, [[maybe_unused]] size_t bytes) {
    ShowBytes(memory, bytes);  // of the fiber that had this stack before
#if defined(__SANITIZE_ADDRESS__)
    stack = memory;
    stack_bytes = bytes;
    fake_stack = nullptr;
#endif
#if defined(QWEN3VL_EMULATOR_TSAN)
    tsan = __tsan_create_fiber(0);
#endif
  }
  void Destroy() {
#if defined(QWEN3VL_EMULATOR_TSAN)
    __tsan_destroy_fiber(tsan);
#endif
  }
  void Begin(SchedulerShadow& scheduler) {
    Arrived(&scheduler);
    AcquireTag(&scheduler.launched);
  }
  void LeaveTo(SchedulerShadow& scheduler) { Leave(scheduler, /*for_good=*/false); }
  void End(SchedulerShadow& scheduler) {
    ReleaseTag(&scheduler.ended);
    Leave(scheduler, /*for_good=*/true);
  }
};

}  // namespace qwen3vl::gpu
