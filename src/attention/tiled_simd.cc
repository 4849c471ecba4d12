// SPDX-License-Identifier: Apache-2.0
// One task of tiled attention, compiled once per instruction set. The task walks over its kv rows tile by
// tile. For each tile it brings keys and values into the form that products read (unless they lie that way
// already), then takes its q rows in blocks of kRowBlock: scores of the block against the part of the tile
// that the block sees, softmax step, weighted sum added to the accumulators. Everything a block touches fits
// the first two caches.
#include "attention/tiled.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "attention/tiled_simd.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
//
#include "attention/multiply_block-inl.h"
#include "attention/online_softmax-inl.h"
#include "attention/pack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace qwen3vl::attention::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

constexpr float kLog2E = 1.44269504f;

// B of both products for one tile, as typed pointers: exactly one of the three is set.
struct Operand {
  const float* f32 = nullptr;
  const hw::F16* f16 = nullptr;
  const hw::BF16* bf16 = nullptr;
  size_t stride = 0;  // elements from panel to panel, or from strip to strip
};

class TaskRun {
 public:
  explicit TaskRun(const TiledTask& task)
      : task_(task),
        in_(*task.in),
        head_dim_(in_.shape.head_dim),
        dim_(DivideUp(head_dim_, kStripCols) * kStripCols),
        rows_(task.rows()),
        bits_(ScratchOf(rows_, task.tile, head_dim_)) {
    const float scale = in_.scale != 0 ? in_.scale : 1.0f / std::sqrt(static_cast<float>(head_dim_));
    if (in_.softcap > 0) {
      q_scale_ = scale / in_.softcap;
    } else if (in_.mask.bias) {
      q_scale_ = scale * kLog2E;
    } else {
      q_scale_ = scale < 0 ? -1.0f : 1.0f;  // the rest of the scale is in score_factor_
    }
    score_factor_ = ScoreFactor(in_);
  }

  void Run() {
    const KvRange all = Prepare();
    const size_t start = all.begin / kPanelRows * kPanelRows;
    for (size_t first = start; first < all.end; first += task_.tile)
      RunTile(Intersect(all, {first, first + task_.tile}), first);
    if (task_.partial)
      WritePartial();
    else
      WriteResult();
  }

 private:
  float* Floats(size_t offset) const { return reinterpret_cast<float*>(task_.scratch + offset); }
  float* Q(size_t row) const { return Floats(bits_.q) + row * head_dim_; }
  float* Acc(size_t row) const { return Floats(bits_.acc) + row * dim_; }
  float* Scores(size_t row_in_block) const { return Floats(bits_.scores) + row_in_block * task_.tile; }
  float* RowMax() const { return Floats(bits_.row_max); }
  float* RowSum(size_t row) const { return Floats(bits_.row_sum) + row * kMaxLanes; }
  KvRange& Seen(size_t row) const { return reinterpret_cast<KvRange*>(task_.scratch + bits_.seen)[row]; }
  size_t Token(size_t row) const { return task_.first_token + row / task_.n_heads; }
  size_t Head(size_t row) const { return task_.first_head + row % task_.n_heads; }

  // Fills q, the ranges and the start values of the accumulators; returns the kv rows that any q row sees.
  KvRange Prepare() const {
    KvRange all;
    for (size_t r = 0; r < rows_; ++r) {
      DecodeRow(in_.q.format, RowAddress(in_.q, task_.batch, Token(r), Head(r)), head_dim_, Q(r));
      for (size_t d = 0; d < head_dim_; ++d) Q(r)[d] *= q_scale_;
      Seen(r) = Intersect(VisibleRange(in_.shape, in_.mask, task_.batch, Token(r)), task_.kv_rows);
      all = Union(all, Seen(r));
      RowMax()[r] = kHidden;
    }
    std::memset(Floats(bits_.acc), 0, rows_ * dim_ * sizeof(float));
    std::memset(Floats(bits_.row_sum), 0, rows_ * kMaxLanes * sizeof(float));
    return all;
  }

  KvRange SeenByBlock(size_t row, size_t count, KvRange tile) const {
    KvRange seen;
    for (size_t r = row; r < row + count; ++r) seen = Union(seen, Intersect(Seen(r), tile));
    return seen;
  }

  // kv rows `tile` of the tile that starts at `first` (a multiple of kPanelRows).
  void RunTile(KvRange tile, size_t first) const {
    Operand k, v;
    bool ready = false;
    for (size_t row = 0; row < rows_; row += kRowBlock) {
      const size_t count = HWY_MIN(kRowBlock, rows_ - row);
      const KvRange seen = SeenByBlock(row, count, tile);
      if (seen.empty()) continue;
      if (!ready) {
        k = Keys(tile, first);
        v = Values(tile, first);
        ready = true;
      }
      RunBlock(row, count, {seen.begin - first, seen.end - first}, first, k, v);
    }
  }

  // The keys of the tile. Panels are counted from `first`.
  Operand Keys(KvRange tile, size_t first) const {
    const KvHead& kv = task_.kv;
    const size_t panel = head_dim_ * kPanelRows;
    const size_t first_panel = first / kPanelRows;
    Operand b;
    b.stride = panel;
    const bool few_rows = rows_ <= kMaxBlockRows;  // then each value is used once: convert in the product
    if (kv.is_cache && kv.k_format == hw::Format::kF32) {
      b.f32 = reinterpret_cast<const float*>(kv.k) + first_panel * panel;
    } else if (kv.is_cache && few_rows && kv.k_format == hw::Format::kF16) {
      b.f16 = reinterpret_cast<const hw::F16*>(kv.k) + first_panel * panel;
    } else if (kv.is_cache && few_rows && kv.k_format == hw::Format::kBF16) {
      b.bf16 = reinterpret_cast<const hw::BF16*>(kv.k) + first_panel * panel;
    } else {
      float* to = Floats(bits_.k);
      b.f32 = to;
      const size_t skip = (tile.begin - first) / kPanelRows;
      const size_t begin = first + skip * kPanelRows;
      if (kv.is_cache)
        PackCacheKeys(kv, head_dim_, first_panel + skip, DivideUp(tile.end - begin, kPanelRows),
                      to + skip * panel);
      else
        PackPlainKeys(kv, head_dim_, begin, tile.end - begin, Floats(bits_.staging), to + skip * panel);
    }
    return b;
  }

  // The values of the tile. Rows are counted from `first`.
  Operand Values(KvRange tile, size_t first) const {
    const KvHead& kv = task_.kv;
    Operand b;
    b.stride = kv.padded_length * kStripCols;
    const bool few_rows = rows_ <= kMaxBlockRows;
    if (kv.is_cache && kv.v_format == hw::Format::kF32) {
      b.f32 = reinterpret_cast<const float*>(kv.v) + first * kStripCols;
    } else if (kv.is_cache && few_rows && kv.v_format == hw::Format::kF16) {
      b.f16 = reinterpret_cast<const hw::F16*>(kv.v) + first * kStripCols;
    } else if (kv.is_cache && few_rows && kv.v_format == hw::Format::kBF16) {
      b.bf16 = reinterpret_cast<const hw::BF16*>(kv.v) + first * kStripCols;
    } else {
      b.f32 = Floats(bits_.v);
      b.stride = task_.tile * kStripCols;
      float* to = Floats(bits_.v) + (tile.begin - first) * kStripCols;
      if (kv.is_cache)
        PackCacheValues(kv, head_dim_, tile.begin, tile.size(), to, b.stride);
      else
        PackPlainValues(kv, head_dim_, tile.begin, tile.size(), Floats(bits_.staging), to, b.stride);
    }
    return b;
  }

  // C = [alpha C +] A B, with B's panels from `panel` on and its inner rows from `inner_begin` on.
  void MultiplyBy(const Operand& b, size_t panel, size_t inner_begin, Product<float> p, size_t rows,
                  size_t n_vecs) const {
    const size_t at = panel * b.stride + inner_begin * kPanelWidth;
    if (b.f32) {
      p.b = b.f32 + at;
      p.b_stride = b.stride;
      Multiply(p, rows, n_vecs);
    } else if (b.f16) {
      Multiply(Product<hw::F16>{p.a, p.a_stride, p.inner, b.f16 + at, b.stride, p.c, p.c_stride, p.alpha},
               rows, n_vecs);
    } else {
      Multiply(Product<hw::BF16>{p.a, p.a_stride, p.inner, b.bf16 + at, b.stride, p.c, p.c_stride, p.alpha},
               rows, n_vecs);
    }
  }

  // q rows row .. row + count - 1 against the kv rows `seen`, both counted from the start of the tile.
  void RunBlock(size_t row, size_t count, KvRange seen, size_t first, const Operand& k,
                const Operand& v) const {
    const size_t first_panel = seen.begin / kPanelRows;
    const size_t n_panels = DivideUp(seen.end, kPanelRows) - first_panel;
    const KvRange computed{first_panel * kPanelRows, (first_panel + n_panels) * kPanelRows};
    Product<float> scores{};
    scores.a = Q(row);
    scores.a_stride = scores.inner = head_dim_;
    scores.c = Scores(0) + computed.begin;
    scores.c_stride = task_.tile;
    MultiplyBy(k, first_panel, 0, scores, count, n_panels * (kPanelWidth / kLanes));

    float alpha[kRowBlock];
    for (size_t r = 0; r < count; ++r) {
      MaskRow(row + r, Scores(r), computed, first);
      alpha[r] = SoftmaxStep(FloatTag(), Scores(r) + computed.begin, computed.size(), score_factor_,
                             {RowMax() + row + r, RowSum(row + r)});
    }

    Product<float> sum{};
    sum.a = Scores(0) + seen.begin;
    sum.a_stride = task_.tile;
    sum.inner = seen.size();
    sum.c = Acc(row);
    sum.c_stride = dim_;
    sum.alpha = alpha;
    MultiplyBy(v, 0, seen.begin, sum, count, DivideUp(head_dim_, kLanes));
  }

  // Softcap, bias and masks on the computed part of one row of scores, which starts at kv row `first`.
  void MaskRow(size_t row, float* scores, KvRange computed, size_t first) const {
    if (in_.softcap > 0) {
      const FloatVec cap = hn::Set(FloatTag(), in_.softcap * kLog2E);
      for (size_t i = computed.begin; i < computed.end; i += kLanes)
        hn::StoreU(hn::Mul(cap, Tanh(FloatTag(), LoadFloats(scores + i))), FloatTag(), scores + i);
    }
    const KvRange absolute = Intersect(Seen(row), {first + computed.begin, first + computed.end});
    const KvRange seen = absolute.empty() ? KvRange{computed.begin, computed.begin}
                                          : KvRange{absolute.begin - first, absolute.end - first};
    if (const float* bias = BiasRow(in_.shape, in_.mask, Head(row), Token(row)))
      AddBias(bias + first, seen, scores);
    if (const uint8_t* allowed = AllowedRow(in_.shape, in_.mask, Token(row)))
      for (size_t i = seen.begin; i < seen.end; ++i)
        if (!allowed[first + i]) scores[i] = kHidden;
    for (size_t i = computed.begin; i < seen.begin; ++i) scores[i] = kHidden;
    for (size_t i = seen.end; i < computed.end; ++i) scores[i] = kHidden;
  }

  static void AddBias(const float* bias, KvRange range, float* scores) {
    const FloatVec log2e = hn::Set(FloatTag(), kLog2E);
    size_t i = range.begin;
    for (; i + kLanes <= range.end; i += kLanes)
      hn::StoreU(hn::MulAdd(LoadFloats(bias + i), log2e, LoadFloats(scores + i)), FloatTag(), scores + i);
    for (; i < range.end; ++i) scores[i] += bias[i] * kLog2E;
  }

  float SumOfRow(size_t row) const {
    return hn::GetLane(hn::SumOfLanes(FloatTag(), LoadFloats(RowSum(row))));
  }

  void WritePartial() const {
    for (size_t r = 0; r < rows_; ++r) {
      float* to = task_.partial + r * (head_dim_ + 2);
      std::memcpy(to, Acc(r), head_dim_ * sizeof(float));
      to[head_dim_] = RowMax()[r];
      to[head_dim_ + 1] = SumOfRow(r);
    }
  }

  void WriteResult() const {
    for (size_t r = 0; r < rows_; ++r)
      WriteOutputRow(in_, *task_.out, {task_.batch, Token(r), Head(r)}, RowMax()[r], SumOfRow(r), Acc(r));
  }

  const TiledTask& task_;
  const Inputs& in_;
  size_t head_dim_;
  size_t dim_;  // head_dim rounded up to whole strips
  size_t rows_;
  TaskScratch bits_;
  float q_scale_;
  float score_factor_;
};

}  // namespace

void RunTask(const TiledTask& task) { TaskRun(task).Run(); }

}  // namespace qwen3vl::attention::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace qwen3vl::attention {

HWY_EXPORT(RunTask);
void RunTiledTask(const TiledTask& task) noexcept { HWY_DYNAMIC_DISPATCH(RunTask)(task); }

}  // namespace qwen3vl::attention
#endif  // HWY_ONCE
