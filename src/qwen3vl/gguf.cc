// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <type_traits>

#include "hw/checked.h"
#include "qwen3vl/error.h"
#include "qwen3vl/gguf_types.h"

namespace qwen3vl {
namespace {

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr size_t kDefaultAlignment = 32;
constexpr size_t kMaxAlignment = size_t{1} << 20;
constexpr size_t kMaxDims = 4;
constexpr int kMaxArrayDepth = 8;
static_assert(std::endian::native == std::endian::little, "GGUF is read as it lies in memory");

// Bytes of one value; the least possible for those of no fixed size.
size_t MinBytes(GgufValueType type) {
  switch (type) {
    case GgufValueType::kU8:
    case GgufValueType::kI8:
    case GgufValueType::kBool:
      return 1;
    case GgufValueType::kU16:
    case GgufValueType::kI16:
      return 2;
    case GgufValueType::kU32:
    case GgufValueType::kI32:
    case GgufValueType::kF32:
      return 4;
    case GgufValueType::kArray:
      return 12;
    case GgufValueType::kString:
    case GgufValueType::kU64:
    case GgufValueType::kI64:
    case GgufValueType::kF64:
      return 8;
  }
  return 0;
}

}  // namespace

// Walks the header once, front to back.
class GgufFile::Parser {
 public:
  explicit Parser(GgufFile& out) : out_(out), file_(*out.mapping_) {}

  void Run() {
    ReadVersion();
    const uint64_t n_tensors = Read<uint64_t>("tensor count");
    const uint64_t n_values = Read<uint64_t>("key count");
    for (uint64_t i = 0; i < n_values; ++i) ReadKey();
    ReadDirectory(n_tensors);
  }

 private:
  struct Pending {
    const GgufTensorType* type;
    uint64_t offset;
  };

  size_t left() const { return file_.size() - offset_; }

  [[noreturn]] void Corrupt(const std::string& what) const {
    throw Error(ErrorCode::kCorruptFile, file_.path() + ": " + what);
  }
  [[noreturn]] void CutShort(const std::string& what, const std::string& wanted) const {
    Corrupt(what + " needs " + wanted + " at byte " + std::to_string(offset_) + ", the file has " +
            std::to_string(left()) + " bytes left: it is cut short or damaged, fetch it again");
  }

  template <class T>
  T Read(const std::string& what) {
    if (left() < sizeof(T)) CutShort(what, std::to_string(sizeof(T)) + " bytes");
    T value;
    std::memcpy(&value, file_.data() + offset_, sizeof(T));
    offset_ += sizeof(T);
    return value;
  }

  std::string_view ReadString(const std::string& what) {
    const uint64_t length = Read<uint64_t>(what);
    if (length > left()) CutShort(what, std::to_string(length) + " bytes");
    const std::string_view text(reinterpret_cast<const char*>(file_.data()) + offset_, length);
    offset_ += length;
    return text;
  }

  GgufValueType ReadType(const std::string& what) {
    const uint32_t type = Read<uint32_t>(what);
    if (type > static_cast<uint32_t>(GgufValueType::kF64))
      Corrupt(what + " has value type " + std::to_string(type) + ", want 0 to 12");
    return static_cast<GgufValueType>(type);
  }

  void ReadVersion() {
    const uint32_t magic = left() < 4 ? 0 : Read<uint32_t>("magic");
    if (magic != kMagic) Corrupt("does not begin with \"GGUF\": is this a GGUF model?");
    const uint32_t version = Read<uint32_t>("version");
    if (version == 2 || version == 3) return;
    const bool swapped = version != 0 && version % 0x10000 == 0;
    throw Error(ErrorCode::kUnsupported, file_.path() + ": GGUF version " +
                                             (swapped ? "of a big-endian machine" : std::to_string(version)) +
                                             ", want 3 or 2, little-endian: convert the model again");
  }

  void SkipElements(GgufValueType type, uint64_t count, const std::string& what, int depth) {
    if (count > left() / MinBytes(type)) CutShort(what, std::to_string(count) + " elements");
    if (type == GgufValueType::kString) {
      for (uint64_t i = 0; i < count; ++i) ReadString(what);
    } else if (type == GgufValueType::kArray) {
      if (depth == kMaxArrayDepth) Corrupt(what + " is an array nested too deep");
      for (uint64_t i = 0; i < count; ++i) {
        const GgufValueType inner = ReadType(what);
        SkipElements(inner, Read<uint64_t>(what), what, depth + 1);
      }
    } else {
      offset_ += count * MinBytes(type);
    }
  }

  void ReadKey() {
    const std::string key(ReadString("a key"));
    const std::string what = "key " + Quoted(key);
    Value value;
    value.type = ReadType(what);
    if (value.type == GgufValueType::kArray) {
      value.is_array = true;
      value.type = ReadType(what);
      value.count = Read<uint64_t>(what);
    }
    value.offset = offset_;
    SkipElements(value.type, value.count, what, 0);
    if (!out_.values_.emplace(key, value).second) Corrupt(what + " occurs twice, want it once");
  }

  Pending ReadTensor() {
    FileTensor t;
    t.name = ReadString("a tensor name");
    t.file = file_.path();
    const std::string what = "tensor " + Quoted(t.name);
    const uint32_t n_dims = Read<uint32_t>(what);
    if (n_dims < 1 || n_dims > kMaxDims)
      Corrupt(what + " has " + std::to_string(n_dims) + " dimensions, want 1 to 4");
    for (uint32_t i = 0; i < n_dims; ++i) t.shape.push_back(Read<uint64_t>(what));
    std::reverse(t.shape.begin(), t.shape.end());
    const uint32_t id = Read<uint32_t>(what);
    const GgufTensorType* type = FindGgufTensorType(id);
    if (!type || type->block_elements == 0)
      throw Error(ErrorCode::kUnsupported,
                  file_.path() + ": " + what + " has type " + std::to_string(id) + " (" +
                      std::string(type ? type->name : "unknown") +
                      "), which is not supported: use another quantisation, such as Q4_K_M or Q8_0");
    t.type = type->name;
    t.format = type->format;
    t.bytes = TensorBytes(t, *type, what);
    const uint64_t offset = Read<uint64_t>(what);
    if (!out_.index_.emplace(t.name, out_.tensors_.size()).second)
      Corrupt(what + " is listed twice, want it once");
    out_.tensors_.push_back(std::move(t));
    return {type, offset};
  }

  size_t TensorBytes(const FileTensor& t, const GgufTensorType& type, const std::string& what) const {
    const size_t count = ElementCount(t.shape, file_.path() + ": " + what);
    if (count == 0) Corrupt(what + " has shape " + ShapeText(t.shape) + ", want no dimension of 0");
    if (t.shape.back() % type.block_elements != 0)
      Corrupt(what + " has rows of " + std::to_string(t.shape.back()) + " elements, want a multiple of " +
              std::to_string(type.block_elements) + " for " + t.type);
    size_t bytes;
    if (__builtin_mul_overflow(count / type.block_elements, type.block_bytes, &bytes))
      Corrupt(what + " has shape " + ShapeText(t.shape) + ", which is too large");
    return bytes;
  }

  size_t Alignment() const {
    if (!out_.Has("general.alignment")) return kDefaultAlignment;
    const size_t alignment = out_.Size("general.alignment");
    if (!std::has_single_bit(alignment) || alignment > kMaxAlignment)
      Corrupt("general.alignment is " + std::to_string(alignment) + ", want a power of two up to 1048576");
    return alignment;
  }

  void ReadDirectory(uint64_t n_tensors) {
    std::vector<Pending> pending;
    for (uint64_t i = 0; i < n_tensors; ++i) pending.push_back(ReadTensor());
    if (n_tensors == 0) return;
    const size_t alignment = Alignment();
    const size_t begin = (offset_ + alignment - 1) / alignment * alignment;
    if (begin > file_.size()) CutShort("the tensor data", "padding");
    size_t end = begin;
    for (size_t i = 0; i < pending.size(); ++i) {
      Place(out_.tensors_[i], pending[i].offset, begin, alignment);
      end = std::max(end, static_cast<size_t>(out_.tensors_[i].data - file_.data()) + out_.tensors_[i].bytes);
    }
    CheckNoOverlap(out_.tensors_);
    const size_t padded = (end + alignment - 1) / alignment * alignment;
    out_.trailing_bytes_ = file_.size() > padded ? file_.size() - padded : 0;
  }

  void Place(FileTensor& t, uint64_t offset, size_t begin, size_t alignment) const {
    const std::string what = "tensor " + Quoted(t.name);
    if (offset % alignment != 0)
      Corrupt(what + " begins at offset " + std::to_string(offset) + ", want a multiple of " +
              std::to_string(alignment));
    const size_t data_bytes = file_.size() - begin;
    if (offset > data_bytes || t.bytes > data_bytes - offset)
      Corrupt(what + " needs " + std::to_string(t.bytes) + " bytes at offset " + std::to_string(offset) +
              " of the data, which has " + std::to_string(data_bytes) +
              ": the file is cut short, fetch it again");
    t.data = file_.data() + begin + offset;
  }

  GgufFile& out_;
  const hw::MappedFile& file_;
  size_t offset_ = 0;
};

GgufFile GgufFile::Open(const std::string& path) {
  GgufFile out;
  out.mapping_ = std::make_shared<hw::MappedFile>(hw::MappedFile::Open(path));
  RejectLfsPointer(out.mapping_->data(), out.mapping_->size(), path);
  Parser(out).Run();
  return out;
}

const FileTensor* GgufFile::Find(const std::string& name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

}  // namespace qwen3vl
