// SPDX-License-Identifier: Apache-2.0
// Save and Load of the KV cache. File: header (below, little-endian), then for each layer and head all key
// rows and all value rows in natural order, then the FNV-1a hash of everything before it. The file does not
// know the layout in memory, so that may change without breaking saved sessions.
#include <bit>
#include <cstdint>
#include <cstring>
#include <istream>
#include <ostream>
#include <string>
#include <vector>

#include "attention/kv_cache_impl.h"
#include "qwen3vl/error.h"

namespace qwen3vl::attention {
namespace {

static_assert(std::endian::native == std::endian::little, "the file is written as it lies in memory");

constexpr char kMagic[8] = {'Q', '3', 'V', 'L', '-', 'K', 'V', '\n'};
constexpr uint32_t kVersion = 1;

struct Header {
  char magic[8];
  uint32_t version;
  uint32_t format;  // hw::Format
  uint64_t n_layers;
  uint64_t n_kv_heads;
  uint64_t head_dim;
  uint64_t length;  // tokens
};
static_assert(sizeof(Header) == 48);

class Hash {
 public:
  void Add(const void* data, size_t bytes) {
    for (size_t i = 0; i < bytes; ++i)
      value_ = (value_ ^ static_cast<const uint8_t*>(data)[i]) * 0x100000001b3u;
  }
  uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 0xcbf29ce484222325u;
};

[[noreturn]] void Corrupt(const std::string& message) {
  throw Error(ErrorCode::kCorruptFile, "saved KV cache: " + message + "; process the prompt again");
}

void ReadBytes(std::istream& in, void* to, size_t bytes, const char* what) {
  in.read(static_cast<char*>(to), static_cast<std::streamsize>(bytes));
  if (static_cast<size_t>(in.gcount()) != bytes) Corrupt(std::string("ends within ") + what);
}

void Expect(const char* what, uint64_t found, uint64_t wanted) {
  if (found != wanted)
    Corrupt(std::string(what) + " is " + std::to_string(found) + ", want " + std::to_string(wanted));
}

Header ReadHeader(std::istream& in, const KvCacheShape& shape) {
  Header header;
  ReadBytes(in, &header, sizeof(header), "the header");
  if (std::memcmp(header.magic, kMagic, sizeof(kMagic)) != 0) Corrupt("does not begin as one");
  Expect("version", header.version, kVersion);
  Expect("number format", header.format, static_cast<uint32_t>(shape.format));
  Expect("layer count", header.n_layers, shape.n_layers);
  Expect("key/value head count", header.n_kv_heads, shape.n_kv_heads);
  Expect("head_dim", header.head_dim, shape.head_dim);
  if (header.length > shape.capacity)
    Corrupt("holds " + std::to_string(header.length) + " tokens, room for " + std::to_string(shape.capacity));
  return header;
}

}  // namespace

void KvCache::Save(std::ostream& out) const {
  const KvCacheShape& s = impl_->shape;
  Header header{{},         kVersion, static_cast<uint32_t>(s.format), s.n_layers, s.n_kv_heads,
                s.head_dim, length()};
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  Hash hash;
  const auto write = [&](const void* data, size_t bytes) {
    hash.Add(data, bytes);
    out.write(static_cast<const char*>(data), static_cast<std::streamsize>(bytes));
  };
  write(&header, sizeof(header));
  std::vector<std::byte> row(hw::RowBytes(s.format, s.head_dim));
  for (const KvCacheLayer& layer : impl_->layers)
    for (size_t h = 0; h < s.n_kv_heads; ++h)
      for (const auto get : {&KvCacheLayer::GetK, &KvCacheLayer::GetV})
        for (size_t pos = 0; pos < header.length; ++pos) {
          (layer.*get)(h, pos, row.data());
          write(row.data(), row.size());
        }
  const uint64_t sum = hash.value();
  out.write(reinterpret_cast<const char*>(&sum), sizeof(sum));
  out.flush();
  if (!out) throw Error(ErrorCode::kInvalidArgument, "KV cache: writing failed; is there room on the disk?");
}

void KvCache::Load(std::istream& in) {
  const KvCacheShape& s = impl_->shape;
  const Header header = ReadHeader(in, s);
  Truncate(0);
  Hash hash;
  hash.Add(&header, sizeof(header));
  std::vector<std::byte> row(hw::RowBytes(s.format, s.head_dim));
  for (const KvCacheLayer& layer : impl_->layers)
    for (size_t h = 0; h < s.n_kv_heads; ++h)
      for (const auto put : {&KvCacheLayer::PutK, &KvCacheLayer::PutV})
        for (size_t pos = 0; pos < header.length; ++pos) {
          ReadBytes(in, row.data(), row.size(), "the rows");
          hash.Add(row.data(), row.size());
          (layer.*put)(h, pos, row.data());
        }
  uint64_t sum;
  ReadBytes(in, &sum, sizeof(sum), "the checksum");
  if (sum != hash.value()) Corrupt("checksum does not match its content");
  for (KvCacheLayer& layer : impl_->layers) layer.length = header.length;
}

}  // namespace qwen3vl::attention
