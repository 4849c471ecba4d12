// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/repack.h"

#include <memory>
#include <new>
#include <vector>

#include "hw/checked.h"
#include "hw/cpu_info.h"
#include "hw/huge_pages.h"
#include "qwen3vl/error.h"
#include "qwen3vl/interleave.h"

namespace qwen3vl {
namespace {

// For keys, values and activations, of which nothing is known yet.
constexpr size_t kRoomBytes = size_t{1} << 30;

std::vector<Weight*> Repackable(TextWeights& text) {
  std::vector<Weight*> found;
  if (!HasInterleavedProducts()) return found;
  const auto add = [&](Weight& w) {
    if (w.data && CanInterleave(w)) found.push_back(&w);
  };
  for (TextLayerWeights& l : text.layers) {
    for (Weight* w : {&l.q, &l.k, &l.v, &l.o, &l.gate, &l.up, &l.down, &l.router}) add(*w);
    for (std::vector<Weight>* experts : {&l.expert_gate, &l.expert_up, &l.expert_down})
      for (Weight& w : *experts) add(w);
  }
  add(text.output);
  return found;
}

}  // namespace

bool MakesCopies(RepackChoice choice, size_t copy_bytes, size_t weight_bytes, size_t free_bytes) {
  if (choice == RepackChoice::kOff || copy_bytes == 0) return false;
  if (choice == RepackChoice::kOn) return true;
  return free_bytes >= kRoomBytes && free_bytes - kRoomBytes >= weight_bytes &&
         free_bytes - kRoomBytes - weight_bytes >= copy_bytes;
}

size_t Repack(ModelFiles& files, RepackChoice choice, hw::Threads threads,
              const std::function<void()>& between) {
  if (choice == RepackChoice::kOff) return 0;
  const std::vector<Weight*> matrices = Repackable(files.text);
  size_t copies = 0, weights = 0;
  for (const Weight* w : matrices) copies = hw::CheckedAdd(copies, w->bytes(), "repacked weights");
  for (const TensorEntry& t : files.tensors) weights += t.bytes;
  if (!MakesCopies(choice, copies, weights, hw::ProbeCpu().memory_available_bytes)) return 0;
  std::shared_ptr<hw::AlignedBuffer<std::byte>> buffer;
  try {
    buffer = std::make_shared<hw::AlignedBuffer<std::byte>>(copies);
  } catch (const std::bad_alloc&) {
    if (choice == RepackChoice::kAuto) return 0;
    throw Error(ErrorCode::kOutOfMemory, "repacked weights: no " + std::to_string(copies) +
                                             " bytes of memory: load the model without repacking");
  }
  hw::AdviseHugePages(buffer->data(), copies);
  std::byte* out = buffer->data();
  for (Weight* w : matrices) {
    between();
    InterleaveRows(*w, out, threads);
    w->interleaved = out;
    out += w->bytes();
  }
  files.owners.push_back(std::move(buffer));
  return copies;
}

}  // namespace qwen3vl
