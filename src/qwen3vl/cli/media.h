// SPDX-License-Identifier: Apache-2.0
// Pictures and clips named on the command line, decoded.
#pragma once

#include <string>
#include <vector>

#include "qwen3vl/cli/options.h"
#include "qwen3vl/qwen3vl.h"

namespace qwen3vl::cli {

struct Medium {
  std::string name;  // as given, for messages
  Part part;         // a picture or a clip
};

// Throws Error or Failure naming the file.
Medium LoadMedium(const MediaArgument& argument, const MediaOptions& options);
// Throws CLI::ValidationError where more than one picture, or one and the text, would come from stdin.
void CheckStdinReadOnce(const std::vector<MediaArgument>& arguments, bool by_text);
std::vector<Medium> LoadMedia(const std::vector<MediaArgument>& arguments, const MediaOptions& options);

// How the clips among `arguments` are sampled: as the files of the model say, which is not loaded yet.
ClipSampling SamplingFor(const std::vector<MediaArgument>& arguments, const CommonOptions& options);

// The frame files that "F1,F2" or one file names; empty when `value` is a folder.
std::vector<std::string> FrameFiles(const std::string& value);

struct MediumSize {
  size_t width = 0, height = 0, frames = 1;

  size_t Bytes() const { return 3 * width * height * frames; }  // as it was decoded
};

// The largest picture and the largest clip of `media`, where there are any, as squares of the same area: what
// memory is estimated for. (Shapes that a model refuses are refused later, by name.)
std::vector<MediumSize> LargestMedia(const std::vector<Medium>& media);

// Memory that `media` hold until the answer is there.
size_t DecodedBytes(const std::vector<Medium>& media);

// A user turn: the media in order, then the text.
Message UserTurn(const std::vector<Medium>& media, const std::string& text);

}  // namespace qwen3vl::cli
