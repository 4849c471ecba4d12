// SPDX-License-Identifier: Apache-2.0
// Ctrl-C, and SIGTERM and SIGHUP, which end what runs in the same order: a flag everybody can look at, the
// session it cancels, and a deadline after which the process ends even where nobody looks (a decoder in a
// foreign library, a slow disk).
#pragma once

#include <atomic>

#include "qwen3vl/qwen3vl.h"

namespace qwen3vl::cli {

// From now on these signals raise the flag and cancel the registered session instead of killing the process.
// What the parent had ignored, as a shell does with SIGINT for jobs in the background and nohup with SIGHUP,
// stays so.
void CatchInterrupts();

bool Interrupted();
const std::atomic<bool>& InterruptFlag();
// Of Ctrl-C alone: nothing takes SIGTERM and SIGHUP back.
void ForgetInterrupt();
// Whether SIGTERM or SIGHUP came, after which a chat ends too.
bool EndAsked();
// What a shell makes of the signal that came last: 130, 143 or 129.
int InterruptExitCode();

// Rests until stdin has something to read, or has ended. False when a signal came first, or Ctrl-C or a stop
// before.
bool WaitForInput();
// From now on the end of a stop (Ctrl-Z, fg) is noticed: once for each.
void CatchContinue();
bool TakeContinued();

// With the deadline on (the default), the process ends when it still runs 150 ms after the signal. Off: while
// files are put in their place, and in a chat, where SIGINT stops the answer only.
void SetInterruptDeadline(bool on);

// While it lives, an interrupt cancels this session. One at a time.
class CancelOnInterrupt {
 public:
  explicit CancelOnInterrupt(Session& session);
  ~CancelOnInterrupt();
  CancelOnInterrupt(const CancelOnInterrupt&) = delete;
  CancelOnInterrupt& operator=(const CancelOnInterrupt&) = delete;
};

// Throws Error(kCancelled) when the flag is up.
void CheckInterrupted();

}  // namespace qwen3vl::cli
