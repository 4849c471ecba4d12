// SPDX-License-Identifier: Apache-2.0
#include "hw/device_code.h"

#include <zlib.h>

#include <algorithm>
#include <new>

#include "qwen3vl/error.h"

namespace qwen3vl::hw {

std::string PtxText(const DeviceCode& code) {
  constexpr int kGzipFormat = 16;  // added to the window's bits
  std::string text(code.bytes, '\0');
  z_stream stream{};
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(code.gzip.data()));
  stream.avail_in = static_cast<uInt>(code.gzip.size());
  stream.next_out = reinterpret_cast<Bytef*>(text.data());
  stream.avail_out = static_cast<uInt>(text.size());
  int status = inflateInit2(&stream, MAX_WBITS + kGzipFormat);
  if (status == Z_OK) status = inflate(&stream, Z_FINISH);
  const std::string said = stream.msg ? stream.msg : zError(status);
  inflateEnd(&stream);
  if (status == Z_MEM_ERROR) throw std::bad_alloc();
  if (status == Z_STREAM_END && stream.avail_in == 0 && stream.avail_out == 0) return text;
  throw Error(ErrorCode::kCorruptFile, "device code " + std::string(code.module) +
                                           " in this program is damaged (" + said + " after " +
                                           std::to_string(stream.total_out) + " of " +
                                           std::to_string(code.bytes) + " bytes): install it again");
}

DeviceFunctions LoadFunctions(const CudaDevice& device, std::span<const DeviceCode> code,
                              const std::string& module, std::span<const std::string> names) {
  const GpuInfo& gpu = device.info();
  const unsigned compute = static_cast<unsigned>(gpu.compute_major * 10 + gpu.compute_minor);
  DeviceFunctions found;
  found.failure = "no device code for " + module;
  for (const DeviceCode& c : code) {
    if (c.compute > compute || c.module != module) continue;
    try {
      found.module = device.Module(module + " " + std::to_string(c.compute), [&] { return PtxText(c); });
    } catch (const Error& e) {
      if (e.code() == ErrorCode::kOutOfMemory) throw;
      found.failure = e.what();
      continue;
    }
    found.entries.clear();
    for (const std::string& name : names) found.entries.push_back(found.module->Find(name));
    if (std::ranges::count(found.entries, nullptr) != 0) continue;
    found.failure.clear();
    return found;
  }
  found.entries.clear();
  return found;
}

}  // namespace qwen3vl::hw
