// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/gguf_types.h"

namespace qwen3vl {
namespace {

constexpr GgufTensorType Supported(uint32_t id, hw::Format format) {
  const hw::FormatInfo& info = hw::Info(format);
  return {id, info.name, info.block_elements, info.block_bytes, format};
}
constexpr GgufTensorType Plain(uint32_t id, std::string_view name, size_t bytes) {
  return {id, name, 1, bytes, std::nullopt};
}
constexpr GgufTensorType NameOnly(uint32_t id, std::string_view name) {
  return {id, name, 0, 0, std::nullopt};
}

constexpr GgufTensorType kTypes[] = {
    Supported(0, hw::Format::kF32),
    Supported(1, hw::Format::kF16),
    Supported(2, hw::Format::kQ4_0),
    Supported(3, hw::Format::kQ4_1),
    Supported(6, hw::Format::kQ5_0),
    Supported(7, hw::Format::kQ5_1),
    Supported(8, hw::Format::kQ8_0),
    Supported(10, hw::Format::kQ2_K),
    Supported(11, hw::Format::kQ3_K),
    Supported(12, hw::Format::kQ4_K),
    Supported(13, hw::Format::kQ5_K),
    Supported(14, hw::Format::kQ6_K),
    Supported(20, hw::Format::kIQ4_NL),
    Supported(23, hw::Format::kIQ4_XS),
    Supported(30, hw::Format::kBF16),
    Supported(39, hw::Format::kMXFP4),
    Plain(24, "i8", 1),
    Plain(25, "i16", 2),
    Plain(26, "i32", 4),
    Plain(27, "i64", 8),
    Plain(28, "F64", 8),
    NameOnly(9, "q8_1"),
    NameOnly(15, "q8_K"),
    NameOnly(16, "iq2_xxs"),
    NameOnly(17, "iq2_xs"),
    NameOnly(18, "iq3_xxs"),
    NameOnly(19, "iq1_s"),
    NameOnly(21, "iq3_s"),
    NameOnly(22, "iq2_s"),
    NameOnly(29, "iq1_m"),
    NameOnly(34, "tq1_0"),
    NameOnly(35, "tq2_0"),
    NameOnly(40, "nvfp4"),
    NameOnly(41, "q1_0"),
    NameOnly(42, "q2_0"),
};

}  // namespace

const GgufTensorType* FindGgufTensorType(uint32_t id) {
  for (const GgufTensorType& type : kTypes)
    if (type.id == id) return &type;
  return nullptr;
}

}  // namespace qwen3vl
