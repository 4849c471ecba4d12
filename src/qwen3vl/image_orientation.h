// SPDX-License-Identifier: Apache-2.0
// EXIF orientation: how the camera was held. JPEG keeps it in APP1, PNG in eXIf, WebP in an EXIF chunk; all
// of them hold the same small TIFF directory.
#pragma once

#include <cstdint>
#include <span>

#include "qwen3vl/image.h"

namespace qwen3vl {

// The orientation (1..8) in an EXIF block, with or without its "Exif\0\0" prefix; 1 when the block has none
// or is damaged, as viewers do.
int ExifOrientation(std::span<const uint8_t> block);

// Turns and mirrors the picture so that it stands upright. 1 does nothing.
RgbImage ApplyOrientation(RgbImage image, int orientation);

}  // namespace qwen3vl
