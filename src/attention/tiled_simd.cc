// SPDX-License-Identifier: Apache-2.0
// One task of tiled attention, compiled once per instruction set. The task walks over its kv rows tile by
// tile. For each tile it brings keys and values into the form that products read (unless they lie that way
// already), then takes its q rows in groups of kRowGroup: scores of the group against the part of the tile
// that it sees, softmax step, weighted sum added to the accumulators. A group is a few register blocks of
// rows that share each panel of keys and values while it is in the first cache.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>

#include "attention/tiled.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "attention/tiled_simd.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
//
#include "attention/int16_block-inl.h"
#include "attention/int16_tall-inl.h"
#include "attention/multiply_block-inl.h"
#include "attention/online_softmax-inl.h"
#include "attention/pack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace qwen3vl::attention::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

constexpr float kLog2E = 1.44269504f;
constexpr size_t kPaddedBlock = DivideUp(kRowBlock, kLanes) * kLanes;  // rows of a block in whole vectors
constexpr size_t kScaleBlock = 32;  // values of a row that share a scale in q8_0

HWY_INLINE void PrefetchForWriting(void* p) { __builtin_prefetch(p, /*rw=*/1); }

static_assert(kTallRows == kRowBlock && kMaxCodedRows <= kMaxFewRows);
// Rows of the blocks of a task: few rows in the fewest, even blocks, many in tall ones.
constexpr size_t BlockRows(size_t rows) {
  return rows <= 3 * kMaxFewRows ? DivideUp(rows, DivideUp(rows, kMaxFewRows)) : kTallRows;
}
// B of both products for one tile, as typed pointers: exactly one of the four is set.
struct Operand {
  const float* f32 = nullptr;
  const hw::F16* f16 = nullptr;
  const hw::BF16* bf16 = nullptr;
  const int8_t* q8 = nullptr;
  const hw::F16* scales = nullptr;  // of q8, as KvCacheLayer has them
  size_t stride = 0;                // elements from panel to panel, or from strip to strip

  // As a cache stores them, from element `at` on; without scales.
  void Set(hw::Format format, const std::byte* data, size_t at) {
    if (format == hw::Format::kF32) f32 = reinterpret_cast<const float*>(data) + at;
    if (format == hw::Format::kF16) f16 = reinterpret_cast<const hw::F16*>(data) + at;
    if (format == hw::Format::kBF16) bf16 = reinterpret_cast<const hw::BF16*>(data) + at;
    if (format == hw::Format::kQ8_0) q8 = reinterpret_cast<const int8_t*>(data) + at;
  }

  template <class Fn>
  void VisitFloats(const Fn& fn) const {
    if (f32) return fn(f32);
    if (f16) return fn(f16);
    fn(bf16);
  }
};

// Where the rows of a task lie in q or in the output.
template <class Byte>
struct TaskRows {
  Byte* first;
  size_t token_bytes, head_bytes;  // from one to the next
  size_t row_bytes;
};

TaskRows<const std::byte> QRows(const TiledTask& task) {
  const TensorRef& q = task.in->q;
  return {RowAddress(q, task.batch, task.first_token, task.first_head), hw::RowBytes(q.format, q.row_stride),
          hw::RowBytes(q.format, q.head_stride), hw::RowBytes(q.format, task.in->shape.head_dim)};
}

TaskRows<std::byte> OutputRows(const TiledTask& task) {
  const Shape& shape = task.in->shape;
  const hw::Format format = task.out->out_format;
  const size_t row_bytes = hw::RowBytes(format, shape.head_dim);
  return {OutputAddress(*task.in, *task.out, {task.batch, task.first_token, task.first_head}),
          hw::RowBytes(format, OutputStride(*task.in, *task.out)), row_bytes, row_bytes};
}

class TaskRun {
 public:
  explicit TaskRun(const TiledTask& task)
      : task_(task),
        in_(*task.in),
        head_dim_(in_.shape.head_dim),
        dim_(DivideUp(head_dim_, kStripCols) * kStripCols),
        rows_(task.rows()),
        height_(task.int16 ? kTallRows : BlockRows(rows_)),
        n_blocks_(DivideUp(rows_, height_)),
        bits_(ScratchOf(rows_, task.tile, head_dim_)),
        q_(QRows(task)),
        out_(OutputRows(task)),
        coded_(IsCoded(in_)) {
    const float scale = in_.scale != 0 ? in_.scale : 1.0f / std::sqrt(static_cast<float>(head_dim_));
    if (in_.softcap > 0) {
      q_scale_ = scale / in_.softcap;
    } else if (in_.mask.bias) {
      q_scale_ = scale * kLog2E;
    } else {
      q_scale_ = scale < 0 ? -1.0f : 1.0f;  // the rest of the scale is in score_factor_
    }
    score_factor_ = ScoreFactor(in_);
    needs_every_score_ = in_.softcap > 0 || in_.mask.bias || in_.mask.allowed;
  }

  void Run() {
    const KvRange all = FindRanges();
    const size_t unit = KvUnit(in_, task_.int16, task_.tile);
    const size_t start = all.begin / unit * unit;
    // Later groups of rows are asked for while the one before them is at work.
    for (size_t row = 0; row < HWY_MIN(rows_, kRowGroup); ++row) PrefetchQ(row);
    for (size_t first = start; first < all.end; first += task_.tile)
      RunTile(Intersect(all, {first, first + task_.tile}), first,
              Intersect(all, {first + task_.tile, first + 2 * task_.tile}));
    for (size_t block = 0; block < n_blocks_; ++block)
      if (Ranges(block).any.empty()) {
        BeginBlock(block);
        FinishBlock(block);
      }
  }

 private:
  // A block of rows at work on a tile: the kv rows it sees, counted from the start of the tile.
  struct Work {
    size_t block;
    KvRange seen;
    bool is_first, is_last;  // of the tiles that the block sees
    float* scores;           // [tile / 16][height][16]
    float alpha[kPaddedBlock];
    float weight_scales[kPaddedBlock];  // with int16: of the weights' codes, which replace the scores
  };

  // What is asked for while scores are computed: kv rows of the next tile, and rows of the task whose q is
  // about to be read or whose result is about to be written.
  struct Ahead {
    KvRange kv, q, out;
  };

  float* Floats(size_t offset) const { return reinterpret_cast<float*>(task_.scratch + offset); }
  float* Q(size_t block) const { return Floats(bits_.q) + block * height_ * dim_; }
  float* Acc(size_t block) const { return Floats(bits_.acc) + block * height_ * dim_; }
  float* RowMax(size_t row) const { return Floats(bits_.row_max) + row; }
  float* RowSum(size_t row) const { return Floats(bits_.row_sum) + row * kMaxLanes; }
  KvRange& Seen(size_t row) const { return reinterpret_cast<KvRange*>(task_.scratch + bits_.seen)[row]; }
  BlockRanges& Ranges(size_t block) const {
    return reinterpret_cast<BlockRanges*>(task_.scratch + bits_.blocks)[block];
  }
  size_t Token(size_t row) const { return task_.first_token + row / task_.n_heads; }
  size_t Head(size_t row) const { return task_.first_head + row % task_.n_heads; }
  // In 32 bits: rows are few, and 64-bit divisions are slow on the processors this is for.
  template <class Byte>
  Byte* AddressOf(const TaskRows<Byte>& rows, size_t row) const {
    const uint32_t n_heads = static_cast<uint32_t>(task_.n_heads);
    const uint32_t token = static_cast<uint32_t>(row) / n_heads;
    return rows.first + token * rows.token_bytes +
           (static_cast<uint32_t>(row) - token * n_heads) * rows.head_bytes;
  }
  size_t RowsOf(size_t block) const { return HWY_MIN(height_, rows_ - block * height_); }

  // Pieces of 16 of one row in what its block owns.
  float* Piece(float* block, size_t row_in_block, size_t piece) const {
    return block + (piece * height_ + row_in_block) * kPanelRows;
  }

  // Fills the ranges; returns the kv rows that any q row sees.
  KvRange FindRanges() const {
    KvRange all;
    for (size_t block = 0; block < n_blocks_; ++block) {
      KvRange any, every{0, SIZE_MAX};
      for (size_t i = 0; i < RowsOf(block); ++i) {
        const size_t row = block * height_ + i;
        Seen(row) =
            row % task_.n_heads != 0
                ? Seen(row - 1)  // of the same token
                : Intersect(VisibleRange(in_.shape, in_.mask, task_.batch, Token(row)), task_.kv_rows);
        any = Union(any, Seen(row));
        every = Intersect(every, Seen(row));
      }
      Ranges(block) = {any, every};
      all = Union(all, any);
    }
    return all;
  }

  // Fills q and the start values of a block. The first product writes the accumulators.
  void BeginBlock(size_t block) const {
    const size_t first = block * height_;
    if (RowsOf(block) < height_ || (task_.int16 && head_dim_ < dim_))
      std::memset(Q(block), 0, height_ * dim_ * sizeof(float));
    std::memset(RowSum(first), 0, height_ * kMaxLanes * sizeof(float));
    std::fill_n(RowMax(first), height_, kHidden);
    for (size_t i = 0; i < RowsOf(block); ++i) LoadQ(first + i, block, i);
    if (coded_) CodeRows({Q(block), height_, head_dim_}, kCodeLimits, QCodes(), QScales());
    if (task_.int16)
      CodeRows({Q(block), height_, head_dim_}, kNormLimits, BlockCodes(block), BlockScales(block));
  }

  void FinishBlock(size_t block) const {
    constexpr size_t kRowsAhead = 2;  // from the second cache, where they were asked for long before
    for (size_t row = block * height_; row < block * height_ + RowsOf(block); ++row) {
      if (row + kRowsAhead < rows_)
        ForOutputLines(row + kRowsAhead, [](std::byte* line) { PrefetchForWriting(line); });
      Finish(row);
    }
  }

  void PrefetchQ(size_t row) const {
    const std::byte* q = AddressOf(q_, row);
    for (size_t byte = 0; byte < q_.row_bytes; byte += 64) hw::PrefetchFar(q + byte);
  }

  template <class Fn>
  HWY_INLINE void ForOutputLines(size_t row, const Fn& fn) const {
    if (task_.partial) return;
    std::byte* to = AddressOf(out_, row);
    for (size_t byte = 0; byte < out_.row_bytes; byte += 64) fn(to + byte);
  }

  // One of `steps` even parts of what lies ahead, which becomes shorter by it.
  void PrefetchPart(Ahead& ahead, size_t steps) const {
    const auto take = [steps](KvRange& rest) {
      const KvRange part{rest.begin, rest.begin + DivideUp(rest.size(), steps)};
      rest.begin = part.end;
      return part;
    };
    PrefetchRows(take(ahead.kv));
    const KvRange q = take(ahead.q), out = take(ahead.out);
    for (size_t row = q.begin; row < q.end; ++row) PrefetchQ(row);
    for (size_t row = out.begin; row < out.end; ++row)
      ForOutputLines(row, [](std::byte* line) { hw::PrefetchFar(line); });
  }

  void LoadQ(size_t row, size_t block, size_t row_in_block) const {
    const float* from = FloatRow(in_.q.format, AddressOf(q_, row), head_dim_, Floats(bits_.staging));
    const FloatVec scale = hn::Set(FloatTag(), q_scale_);
    size_t d = 0;
    for (; d + kLanes <= head_dim_; d += kLanes)
      hn::StoreU(hn::Mul(LoadFloats(from + d), scale), FloatTag(),
                 Piece(Q(block), row_in_block, d / kPanelRows) + d % kPanelRows);
    for (; d < head_dim_; ++d)
      Piece(Q(block), row_in_block, d / kPanelRows)[d % kPanelRows] = from[d] * q_scale_;
  }

  // With int16, codes take the place of a block's q, and their scales follow them.
  int16_t* BlockCodes(size_t block) const { return reinterpret_cast<int16_t*>(Q(block)); }
  float* BlockScales(size_t block) const { return Q(block) + height_ * dim_ / 2; }

  int16_t* CodesInPlace(const Work& w) const {
    return reinterpret_cast<int16_t*>(Piece(w.scores, 0, PanelsOf(w).begin));
  }

  // Keys and values that are read as they are stored leave their scratch to the rows in whole numbers.
  int16_t* QCodes() const { return reinterpret_cast<int16_t*>(task_.scratch + bits_.k); }
  float* QScales() const { return Floats(bits_.k) + height_ * dim_ / 2; }
  int16_t* WeightCodes() const { return reinterpret_cast<int16_t*>(task_.scratch + bits_.v); }
  float* WeightScales() const { return Floats(bits_.v) + height_ * task_.tile / 2; }
  float* ValueScales() const { return WeightScales() + kPaddedBlock; }

  // kv rows `tile` of the tile that starts at `first` (a multiple of kPanelRows). While they are at work, the
  // rows `next` are brought closer.
  void RunTile(KvRange tile, size_t first, KvRange next) const {
    Operand k, v;
    bool ready = false;
    const size_t group_blocks = kRowGroup / height_;
    for (size_t block = 0; block < n_blocks_; block += group_blocks) {
      const size_t end = HWY_MIN(n_blocks_, block + group_blocks);
      Work work[kRowGroup];
      Ahead ahead;
      ahead.kv = {next.begin + next.size() * block / n_blocks_, next.begin + next.size() * end / n_blocks_};
      size_t count = 0;
      for (size_t b = block; b < end; ++b) {
        const KvRange any = Ranges(b).any;
        const KvRange seen = Intersect(any, tile);
        if (seen.empty()) continue;
        Work& w = work[count];
        w.block = b;
        w.seen = {seen.begin - first, seen.end - first};
        w.is_first = any.begin >= tile.begin;
        w.is_last = any.end <= tile.end;
        w.scores = Floats(bits_.scores) + count * height_ * task_.tile;
        ++count;
        const KvRange rows{b * height_, b * height_ + RowsOf(b)};
        if (w.is_last) ahead.out = Union(ahead.out, rows);
      }
      if (count == 0) continue;
      if (!ready) {
        k = Keys(tile, first);
        v = Values(tile, first);
        ready = true;
      }
      for (const Work& w : std::span(work, count))
        if (w.is_first) BeginBlock(w.block);
      if (work[0].is_first) ahead.q = {end * height_, HWY_MIN(rows_, (end + group_blocks) * height_)};
      RunGroup({work, count}, first, k, v, ahead, next.empty());
      for (const Work& w : std::span(work, count))
        if (w.is_last) FinishBlock(w.block);
    }
  }

  // Asks for rows of plain keys and values: no hardware sees a pattern in rows that lie a page or more apart.
  void PrefetchRows(KvRange rows) const {
    const KvHead& kv = task_.kv;
    if (kv.is_cache) return;
    for (size_t row = rows.begin; row < rows.end; ++row)
      for (size_t byte = 0; byte < hw::RowBytes(kv.k_format, head_dim_); byte += 64) {
        hw::PrefetchFar(kv.k + row * kv.k_row_bytes + byte);
        hw::PrefetchFar(kv.v + row * kv.v_row_bytes + byte);
      }
  }

  // The keys of the tile. Panels are counted from `first`.
  Operand Keys(KvRange tile, size_t first) const {
    const KvHead& kv = task_.kv;
    const size_t panel = head_dim_ * kPanelRows;
    const size_t first_panel = first / kPanelRows;
    Operand b;
    b.stride = panel;
    if (ReadsInPlace()) {
      b.Set(kv.k_format, kv.k, first_panel * panel);
      if (b.q8) b.scales = AsF16(kv.k_scales) + first_panel * panel / kScaleBlock;
      return b;
    }
    float* to = Floats(bits_.k);
    b.f32 = to;
    const size_t skip = (tile.begin - first) / kPanelRows;
    const size_t begin = first + skip * kPanelRows;
    if (kv.is_cache)
      PackCacheKeys(kv, head_dim_, first_panel + skip, DivideUp(tile.end - begin, kPanelRows),
                    to + skip * panel);
    else
      PackPlainKeys(kv, head_dim_, begin, tile.end - begin, Floats(bits_.staging), to + skip * panel);
    if (task_.int16)
      for (size_t i = skip; i < DivideUp(tile.end - first, kPanelRows); ++i)
        CodePanel(to + i * panel, head_dim_, {0, head_dim_});
    return b;
  }

  // The values of the tile. Rows are counted from `first`.
  Operand Values(KvRange tile, size_t first) const {
    const KvHead& kv = task_.kv;
    Operand b;
    if (ReadsInPlace()) {
      b.stride = kv.padded_length * kStripCols;
      b.Set(kv.v_format, kv.v, first * kStripCols);
      if (b.q8) b.scales = AsF16(kv.v_scales) + first;
      return b;
    }
    b.f32 = Floats(bits_.v);
    b.stride = task_.tile * kStripCols;
    // Coded values share a scale with all of the tile, whichever of them this task sees: else another cut of
    // the problem would round them another way.
    if (task_.int16)
      tile = Intersect(ExistingRange(in_.shape, in_.mask, task_.batch), {first, first + task_.tile});
    // Rows of a cache may lie in pairs.
    const size_t begin = kv.is_cache ? tile.begin / 2 * 2 : tile.begin;
    float* to = Floats(bits_.v) + (begin - first) * kStripCols;
    if (kv.is_cache)
      PackCacheValues(kv, head_dim_, begin, tile.end - begin, to, b.stride);
    else
      PackPlainValues(kv, head_dim_, begin, tile.end - begin, Floats(bits_.staging), to, b.stride);
    if (task_.int16)
      for (size_t strip = 0; strip < dim_ / kStripCols; ++strip)
        CodePanel(Floats(bits_.v) + strip * b.stride, task_.tile, {tile.begin - first, tile.end - first});
    return b;
  }

  void RunGroup(std::span<Work> group, size_t first, const Operand& k, const Operand& v, const Ahead& ahead,
                bool is_last) const {
    const size_t next = is_last ? 0 : first + task_.tile;
    if (task_.int16)
      ScoresOfInt16(group, k, ahead);
    else if (k.q8)
      for (const Work& w : group) ScoresOfCodes(w, k, first);
    else
      k.VisitFloats([&](const auto* panels) { Scores(group, panels, k.stride, first, ahead); });
    for (Work& w : group) Softmax(w, first);
    if (task_.int16)
      AddWeightedInt16(group, v);
    else if (v.q8)
      for (const Work& w : group) AddWeightedCodes(w, v, next);
    else
      v.VisitFloats([&](const auto* strips) { AddWeighted(group, strips, v.stride, next); });
  }

  // Whether products read keys and values where a cache stores them: few rows use each value once, so they
  // convert it in the product.
  bool ReadsInPlace() const {
    const hw::Format f = task_.kv.k_format;
    const bool is_half = f == hw::Format::kF16 || f == hw::Format::kBF16;
    if (coded_ || !task_.kv.is_cache || task_.int16) return coded_;
    return f == hw::Format::kF32 || (is_half && rows_ <= kMaxFewRows);
  }

  TilePieces PiecesOf(const Work& w, size_t element_bytes) const {
    const KvRange panels = PanelsOf(w);
    return {.panel_bytes = head_dim_ * kPanelRows * element_bytes,
            .n_panels = panels.end,
            .strip_bytes = panels.size() * kPanelRows * kStripCols * element_bytes,
            .n_strips = dim_ / kStripCols,
            .at_once = DivideUp(4, kPanelVecs)};
  }

  // For the keys of the tile that begins at kv row `first`.
  ReadAhead AfterKeys(const Work& w, size_t first, size_t element_bytes) const {
    if (!ReadsInPlace()) return {};
    const size_t row = kStripCols * element_bytes;
    return AheadOfKeys(PiecesOf(w, element_bytes),
                       task_.kv.v + (first + PanelsOf(w).begin * kPanelRows) * row,
                       task_.kv.padded_length * row);
  }

  // For the values of the tile before the one that begins at kv row `next`; 0: there is none.
  ReadAhead AfterValues(const Work& w, size_t next, size_t element_bytes) const {
    if (!ReadsInPlace()) return {};
    return AheadOfValues(PiecesOf(w, element_bytes),
                         next ? task_.kv.k + next * head_dim_ * element_bytes : nullptr);
  }

  // Vectors, of `left`, that all blocks of a group take before the next ones.
  size_t SharedVecs(std::span<const Work> group, size_t left) const {
    if (group.size() == 1) return left;
    return height_ == kTallRows ? TallVecs(left) : std::min(std::max<size_t>(kPanelVecs, 2), left);
  }

  template <class Stored>
  void Scores(std::span<const Work> group, const Stored* k, size_t stride, size_t first, Ahead ahead) const {
    KvRange panels;
    for (const Work& w : group) panels = Union(panels, PanelsOf(w));
    Product<Stored> p{nullptr, 0, head_dim_, k, stride, nullptr, nullptr};
    const size_t end = panels.end * kPanelVecs;
    for (size_t vec = panels.begin * kPanelVecs, step; vec < end; vec += step) {
      step = SharedVecs(group, end - vec);
      PrefetchPart(ahead, DivideUp(end - vec, step));
      for (const Work& w : group) {
        const size_t from = HWY_MAX(vec, PanelsOf(w).begin * kPanelVecs);
        const size_t to = HWY_MIN(vec + step, PanelsOf(w).end * kPanelVecs);
        if (from >= to) continue;
        p.a = Q(w.block);
        p.c = w.scores;
        if (height_ < kTallRows) p.ahead = AfterKeys(w, first, sizeof(Stored));
        Multiply(p, height_, from, to);
      }
    }
  }

  template <class Stored>
  void AddWeighted(std::span<const Work> group, const Stored* v, size_t stride, size_t next) const {
    Product<Stored> p{nullptr, 0, 0, v, stride, nullptr, nullptr};
    const size_t n_vecs = DivideUp(head_dim_, kLanes);
    for (size_t vec = 0, step; vec < n_vecs; vec += step) {
      step = SharedVecs(group, n_vecs - vec);
      for (const Work& w : group) {
        p.a = w.scores;
        p.begin = w.seen.begin;
        p.end = w.seen.end;
        p.c = Acc(w.block);
        p.alpha = w.is_first ? nullptr : w.alpha;
        if (height_ < kTallRows) p.ahead = AfterValues(w, next, sizeof(Stored));
        Multiply(p, height_, vec, vec + step);
      }
    }
  }

  void ScoresOfInt16(std::span<const Work> group, const Operand& k, Ahead ahead) const {
    KvRange panels;
    for (const Work& w : group) panels = Union(panels, PanelsOf(w));
    for (size_t panel = panels.begin; panel < panels.end; ++panel) {
      PrefetchPart(ahead, panels.end - panel);
      for (const Work& w : group)
        if (PanelsOf(w).begin <= panel && panel < PanelsOf(w).end)
          MultiplyInt16({BlockCodes(w.block), BlockScales(w.block)}, {0, head_dim_}, k.f32 + panel * k.stride,
                        head_dim_, nullptr, Piece(w.scores, 0, panel));
    }
  }

  void AddWeightedInt16(std::span<const Work> group, const Operand& v) const {
    for (size_t strip = 0; strip < dim_ / kStripCols; ++strip)
      for (const Work& w : group) {
        const KvRange panels = PanelsOf(w);
        MultiplyInt16({CodesInPlace(w), w.weight_scales},
                      {panels.begin * kPanelRows, panels.end * kPanelRows}, v.f32 + strip * v.stride,
                      task_.tile, w.is_first ? nullptr : w.alpha, Piece(Acc(w.block), 0, strip));
      }
  }

  // Panel or strip i of b, from byte `skip` of it on.
  static CodeStream Stream(const ReadAhead& ahead, const Operand& b, size_t i, size_t skip) {
    const int8_t* at = b.q8 + i * b.stride + skip;
    return {at, ahead.Address(reinterpret_cast<const std::byte*>(at), i, b.stride)};
  }

  // Scores against q8_0 keys as they are stored.
  void ScoresOfCodes(const Work& w, const Operand& k, size_t first) const {
    const KvRange panels = PanelsOf(w);
    const ReadAhead ahead = AfterKeys(w, first, 1);
    ForFewRows(height_, [&](auto rows) {
      for (size_t panel = panels.begin; panel < panels.end; ++panel)
        ScorePanel<rows>({QCodes(), QScales()}, Stream(ahead, k, panel, 0),
                         k.scales + panel * k.stride / kScaleBlock, head_dim_, Piece(w.scores, 0, panel));
    });
  }

  // The weighted sum of q8_0 values as they are stored. Values of a row have a scale for 32 dimensions, which
  // goes into the weights.
  void AddWeightedCodes(const Work& w, const Operand& v, size_t next) const {
    const KvRange panels = PanelsOf(w);
    const ReadAhead ahead = AfterValues(w, next, 1);
    float largest[kPaddedBlock];
    for (size_t r = 0; r < height_; ++r) largest[r] = LargestOf(FloatTag(), ScoresOf(w, r));
    for (size_t d = 0; d < head_dim_; d += kScaleBlock) {
      CodeWeights(w, v.scales + d / kScaleBlock * task_.kv.padded_length, largest);
      ForFewRows(height_, [&](auto rows) {
        for (size_t strip = d / kStripCols; strip < (d + kScaleBlock) / kStripCols; ++strip)
          AddStrip<rows>({WeightCodes(), WeightScales()},
                         Stream(ahead, v, strip, panels.begin * kPanelRows * kStripCols), panels.size(),
                         w.is_first ? nullptr : w.alpha, Piece(Acc(w.block), 0, strip));
      });
    }
  }

  // Weights times the scales of the values they go with; largest: of each row of weights.
  void CodeWeights(const Work& w, const hw::F16* scales, const float* largest) const {
    const KvRange panels = PanelsOf(w);
    float* const seen_scales = ValueScales();
    FloatVec most = hn::Zero(FloatTag()), lost = most;
    for (size_t i = 0; i < panels.size() * kPanelRows; i += kLanes) {
      const size_t row = panels.begin * kPanelRows + i;
      // Rows that are not seen may hold anything.
      const FloatVec scale = hn::IfThenElseZero(AreWithin(FloatTag(), row, w.seen), LoadFloats(scales + row));
      hn::StoreU(scale, FloatTag(), seen_scales + i);
      most = hn::Max(most, hn::Abs(scale));
      lost = hn::MulAdd(scale, hn::Zero(FloatTag()), lost);  // NaN when a scale is not finite
    }
    const float top = hn::GetLane(hn::MaxOfLanes(FloatTag(), most));
    const float lost_sum = hn::GetLane(hn::SumOfLanes(FloatTag(), lost));
    for (size_t r = 0; r < height_; ++r) {
      WeightScales()[r] = largest[r] * top / kLargestCode + lost_sum;
      const FloatVec factor = hn::Set(FloatTag(), CodeFactor(largest[r] * top));
      CodeProducts(ScoresOf(w, r), seen_scales, factor, WeightCodes() + r * kPanelRows);
    }
  }

  static KvRange PanelsOf(const Work& w) {
    return {w.seen.begin / kPanelRows, DivideUp(w.seen.end, kPanelRows)};
  }

  RowPanels ScoresOf(const Work& w, size_t row_in_block) const {
    const KvRange panels = PanelsOf(w);
    return {Piece(w.scores, row_in_block, panels.begin), panels.size(), height_ * kPanelRows};
  }

  // Turns a block's scores into weights.
  void Softmax(Work& w, size_t first) const {
    const size_t row = w.block * height_;
    const BlockRanges& ranges = Ranges(w.block);
    const KvRange panels = PanelsOf(w);
    if (needs_every_score_ || first + panels.begin * kPanelRows < ranges.every.begin ||
        first + panels.end * kPanelRows > ranges.every.end)
      for (size_t r = 0; r < RowsOf(w.block); ++r) {
        if (needs_every_score_) ChangeScores(row + r, ScoresOf(w, r), panels, first);
        HideUnseen(row + r, ScoresOf(w, r), panels, first);
      }
    float row_max[kPaddedBlock], base[kPaddedBlock];
    std::fill_n(row_max, kPaddedBlock, kHidden);
    std::fill_n(base, kPaddedBlock, kHidden);
    std::copy_n(RowMax(row), height_, row_max);
    for (size_t r = 0; r < height_; ++r) base[r] = LargestOf(FloatTag(), ScoresOf(w, r));
    UpdateMaxima(FloatTag(), height_, score_factor_, {row_max, base, w.alpha});
    std::copy_n(row_max, height_, RowMax(row));
    for (size_t r = 0; r < height_; ++r)
      ScoresToWeights(FloatTag(), ScoresOf(w, r), score_factor_, base[r], w.alpha[r], RowSum(row + r));
    if (task_.int16)
      CodeRows({Piece(w.scores, 0, panels.begin), height_, panels.size() * kPanelRows}, kNormLimits,
               CodesInPlace(w), w.weight_scales);
  }

  // Softcap, bias and the boolean mask on one row of scores; its panels are counted from kv row `first`.
  void ChangeScores(size_t row, RowPanels scores, KvRange panels, size_t first) const {
    const float* bias = BiasRow(in_.shape, in_.mask, Head(row), Token(row));
    const uint8_t* allowed = AllowedRow(in_.shape, in_.mask, Token(row));
    const FloatVec cap = hn::Set(FloatTag(), in_.softcap * kLog2E);
    for (size_t i = 0; i < scores.count; ++i) {
      float* panel = scores.at + i * scores.stride;
      const size_t at = first + (panels.begin + i) * kPanelRows;  // kv row of the panel's first score
      const KvRange seen = Intersect(Seen(row), {at, at + kPanelRows});
      if (in_.softcap > 0)
        for (size_t lane = 0; lane < kPanelRows; lane += kLanes)
          hn::StoreU(hn::Mul(cap, Tanh(FloatTag(), LoadFloats(panel + lane))), FloatTag(), panel + lane);
      if (bias)
        for (size_t kv = seen.begin; kv < seen.end; ++kv) panel[kv - at] += bias[kv] * kLog2E;
      if (allowed)
        for (size_t kv = seen.begin; kv < seen.end; ++kv)
          if (!allowed[kv]) panel[kv - at] = kHidden;
    }
  }

  // Hides the scores of a row outside of what it sees: whole panels at both ends and parts of the next ones.
  void HideUnseen(size_t row, RowPanels scores, KvRange panels, size_t first) const {
    const size_t start = first + panels.begin * kPanelRows;  // kv row of the first score
    const KvRange seen = Intersect(Seen(row), {start, start + scores.count * kPanelRows});
    const KvRange shown{seen.begin - start, seen.end - start};
    const KvRange whole{DivideUp(shown.begin, kPanelRows), shown.end / kPanelRows};
    for (size_t i = 0; i < scores.count; ++i) {
      if (i == whole.begin && !whole.empty()) i = whole.end;
      if (i < scores.count) HidePart(FloatTag(), scores.at + i * scores.stride, i * kPanelRows, shown);
    }
  }

  float SumOfRow(size_t row) const {
    return hn::GetLane(hn::SumOfLanes(FloatTag(), LoadFloats(RowSum(row))));
  }

  // The weighted sum of a row, times `factor`, in its natural order.
  void CopyAcc(size_t row, float factor, float* to) const {
    // Divided once: the compiler cannot know that `to` is not height_, and divisions of 64 bits are slow.
    const size_t block = row / height_, stride = height_ * kPanelRows, head_dim = head_dim_;
    const float* acc = Piece(Acc(block), row - block * height_, 0);
    const FloatVec scale = hn::Set(FloatTag(), factor);
    size_t d = 0;
    for (; d + kLanes <= head_dim; d += kLanes)
      hn::StoreU(hn::Mul(LoadFloats(acc + d / kPanelRows * stride + d % kPanelRows), scale), FloatTag(),
                 to + d);
    for (; d < head_dim; ++d) to[d] = acc[d / kPanelRows * stride + d % kPanelRows] * factor;
  }

  // Writes the result of a row, or its share of one.
  void Finish(size_t row) const {
    const float sum = SumOfRow(row);
    if (task_.partial) {
      float* to = task_.partial + row * (head_dim_ + 2);
      if (sum == 0)  // a row that saw nothing has no weighted sum either
        std::fill_n(to, head_dim_, 0.0f);
      else
        CopyAcc(row, 1.0f, to);
      to[head_dim_] = *RowMax(row);
      to[head_dim_ + 1] = sum;
      return;
    }
    std::byte* to = AddressOf(out_, row);
    const hw::Format format = task_.out->out_format;
    const bool in_place = format == hw::Format::kF32 && reinterpret_cast<uintptr_t>(to) % alignof(float) == 0;
    float* values = in_place ? reinterpret_cast<float*>(to) : Floats(bits_.staging);
    if (sum == 0)
      std::fill_n(values, head_dim_, 0.0f);
    else
      CopyAcc(row, 1.0f / sum, values);
    if (!in_place) EncodeRow(format, values, head_dim_, to);
    if (task_.out->lse)
      WriteLogSumExp(in_, *task_.out, {task_.batch, Token(row), Head(row)}, *RowMax(row), sum);
  }

  const TiledTask& task_;
  const Inputs& in_;
  size_t head_dim_;
  size_t dim_;  // head_dim rounded up to whole strips
  size_t rows_;
  size_t height_;  // rows of a block; the last block may be filled up with rows of zeros
  size_t n_blocks_;
  TaskScratch bits_;
  TaskRows<const std::byte> q_;
  TaskRows<std::byte> out_;
  float q_scale_;
  float score_factor_;
  bool coded_;  // q and weights become whole numbers, and q8_0 keys and values stay as they are stored
  bool needs_every_score_;  // softcap, bias or holes: masks are not a matter of ranges alone
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
