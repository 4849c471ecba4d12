// SPDX-License-Identifier: Apache-2.0
// The recorded attention cases (tests/data/modules/attention.json): float64 results, most of them checked
// against the Hugging Face code. Limits: Tolerances in tests/data/README.md.
#include <gtest/gtest.h>

#include "attention/attention.h"
#include "hw/cpu_info.h"
#include "support/golden.h"
#include "support/isa.h"
#include "support/near.h"
#include "support/seeded.h"

namespace qwen3vl::attention {
namespace {

using nlohmann::json;

// A recorded case with its generated tensors; q, k, v are [heads, len, head_dim].
struct Recorded {
  json c;
  Inputs in;
  std::vector<float> q, k, v, bias;
  std::vector<uint8_t> allowed;
  std::vector<size_t> segments;

  explicit Recorded(const json& which) : c(which) {
    const uint64_t seed = c["seed"];
    Shape& s = in.shape;
    s = {.batch = 1,
         .q_len = c["q_len"],
         .kv_len = c["kv_len"],
         .n_heads = c["q_heads"],
         .n_kv_heads = c["kv_heads"],
         .head_dim = c["head_dim"]};
    q = test::Seeded(seed, s.n_heads * s.q_len * s.head_dim, c["q_amp"]);
    k = test::Seeded(seed + 1, s.n_kv_heads * s.kv_len * s.head_dim, c["k_amp"]);
    v = test::Seeded(seed + 2, s.n_kv_heads * s.kv_len * s.head_dim, c["v_amp"]);
    in.scale = c["scale"];
    if (!c["softcap"].is_null()) in.softcap = c["softcap"];
    in.q = {.data = q.data(), .row_stride = s.head_dim, .head_stride = s.q_len * s.head_dim};
    in.k = {.data = k.data(), .row_stride = s.head_dim, .head_stride = s.kv_len * s.head_dim};
    in.v = {.data = v.data(), .row_stride = s.head_dim, .head_stride = s.kv_len * s.head_dim};
    AddMasks(seed);
  }
  Recorded(const Recorded&) = delete;

  void AddMasks(uint64_t seed) {
    const Shape& s = in.shape;
    in.mask.causal = c["causal"];
    if (!c["valid_range"].is_null()) {
      in.mask.kv_begin = c["valid_range"][0];
      in.mask.kv_end = c["valid_range"][1];
    }
    if (!c["segments"].is_null()) {
      segments = c["segments"].get<std::vector<size_t>>();
      in.mask.segments = segments;
    }
    if (!c["bias"].is_null()) {
      in.mask.bias_heads = c["bias"]["heads"];
      bias = test::Seeded(seed + 3, in.mask.bias_heads * s.q_len * s.kv_len, c["bias"]["amp"]);
      in.mask.bias = bias.data();
    }
    if (c["bool_mask"].is_null()) return;
    const std::vector<float> draw = test::Seeded(seed + 4, s.q_len * s.kv_len);
    const float threshold = c["bool_mask"]["threshold"];
    for (float x : draw) allowed.push_back(x < threshold);
    if (c["bool_mask"].contains("empty_rows"))
      for (size_t row : c["bool_mask"]["empty_rows"])
        std::fill_n(allowed.begin() + static_cast<std::ptrdiff_t>(row * s.kv_len), s.kv_len, 0);
    in.mask.allowed = allowed.data();
  }

  // [q_heads, q_len, head_dim], the recordings' order.
  std::vector<float> Run(PathRequest request, size_t tile, size_t threads) const {
    const Shape& s = in.shape;
    std::vector<float> rows(q.size()), out(q.size());
    Options options;
    options.request = request;
    options.plan.tile = tile;
    options.plan.threads = threads;
    Outputs to;
    to.out = rows.data();
    Workspace workspace;
    const AttentionReport report = Attend(in, to, options, workspace);
    EXPECT_EQ(report.cause, FallbackCause::kNone) << report.sentence;
    for (size_t i = 0; i < s.q_len; ++i)
      for (size_t h = 0; h < s.n_heads; ++h)
        std::copy_n(&rows[(i * s.n_heads + h) * s.head_dim], s.head_dim,
                    &out[(h * s.q_len + i) * s.head_dim]);
    return out;
  }
};

void ExpectRecorded(const Recorded& r, const std::vector<float>& found, const test::GoldenFile& file) {
  const std::string id = r.c["id"];
  const std::vector<double> wanted = file[id + ".out"].Doubles();
  const size_t dim = r.in.shape.head_dim;
  std::vector<float> rows = found;
  if (file.Has(id + ".rows")) {
    rows.clear();
    const std::vector<int32_t> at = file[id + ".rows"].Ints();
    for (size_t i = 0; i < at.size(); i += 2) {
      const size_t row = static_cast<size_t>(at[i]) * r.in.shape.q_len + static_cast<size_t>(at[i + 1]);
      rows.insert(rows.end(), &found[row * dim], &found[row * dim] + dim);
    }
  }
  EXPECT_TRUE(test::AllNear(rows, wanted, test::ToleranceOfAttention(r.c)));
}

TEST(GoldenAttention, EveryCaseOnBothPathsAndEveryIsa) {
  const json recorded = test::ReadJson("modules/attention.json");
  const test::GoldenFile file("modules/attention.safetensors");
  ASSERT_GE(recorded["cases"].size(), 130u);
  for (const json& c : recorded["cases"]) {
    SCOPED_TRACE(c["name"].get<std::string>());
    const Recorded r(c);
    ExpectRecorded(r, r.Run(PathRequest::kStandard, 256, 2), file);
    const double work = static_cast<double>(r.q.size()) * static_cast<double>(r.in.shape.kv_len);
    test::OnEveryIsa([&] {
      // Minutes of portable code; the case table has its sizes smaller.
      if (work > 3e7 && hw::SelectedIsa() < hw::Isa::kAvx2) return;
      ExpectRecorded(r, r.Run(PathRequest::kTiled, 64, 2), file);
    });
    ExpectRecorded(r, r.Run(PathRequest::kTiled, 256, 1), file);
  }
}

}  // namespace
}  // namespace qwen3vl::attention
