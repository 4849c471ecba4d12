// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cli/save_boxes.h"

#include <fstream>

#include "qwen3vl/boxes.h"
#include "qwen3vl/cli/failure.h"
#include "qwen3vl/cli/text_format.h"
#include "qwen3vl/image.h"

namespace qwen3vl::cli {

void SaveBoxes(const std::string& answer, const Picture& picture, const std::string& path, Console& console) {
  const std::vector<Box> boxes = FindBoxes(answer);
  if (boxes.empty())
    throw Failure(kRuntimeError, path + ": not written, the answer has no box; ask where something is");
  const Picture drawn = DrawBoxes(picture, boxes);
  const std::vector<uint8_t> png = EncodePng({drawn.width, drawn.height, drawn.pixels});
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(png.data()), static_cast<std::streamsize>(png.size()));
  file.close();
  if (!file) throw Failure(kRuntimeError, path + ": cannot be written; is the folder there and writable?");
  std::string line = path + ": " + std::to_string(boxes.size()) + (boxes.size() == 1 ? " box" : " boxes");
  for (size_t i = 0; i < boxes.size(); ++i)
    line += (i ? ", " : ": ") + (boxes[i].label.empty() ? "no label" : OneLine(boxes[i].label)) + " (" +
            PenOfBox(i).name + ")";
  console.Note(line);
}

}  // namespace qwen3vl::cli
