// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cli/save_boxes.h"

#include <cctype>
#include <filesystem>
#include <system_error>

#include "qwen3vl/boxes.h"
#include "qwen3vl/cli/failure.h"
#include "qwen3vl/cli/text_format.h"
#include "qwen3vl/image.h"
#include "qwen3vl/whole_file.h"

namespace qwen3vl::cli {

void CheckBoxesPath(const std::string& path, const std::string& picture) {
  namespace fs = std::filesystem;
  const fs::path file(path);
  std::string extension = file.extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (extension != ".png")
    throw Failure(kBadUsage, "--draw-boxes: '" + path + "', want a name that ends in .png");
  std::error_code problem;
  if (fs::equivalent(file, picture, problem))
    throw Failure(kBadUsage, "--draw-boxes: '" + path + "' is the picture itself, want another name");
  CheckCanWrite(path);
}

void SaveBoxes(const std::string& answer, const Picture& picture, const std::string& path, Console& console) {
  const std::vector<Box> boxes = FindBoxes(answer);
  if (boxes.empty())
    throw Failure(kRuntimeError, path + ": not written, the answer has no box; ask where something is");
  const Picture drawn = DrawBoxes(picture, boxes);
  const std::vector<uint8_t> png = EncodePng({drawn.width, drawn.height, drawn.pixels});
  WriteWholeFile(path, {reinterpret_cast<const char*>(png.data()), png.size()});
  std::string line = path + ": " + std::to_string(boxes.size()) + (boxes.size() == 1 ? " box" : " boxes");
  for (size_t i = 0; i < boxes.size(); ++i)
    line += (i ? ", " : ": ") + (boxes[i].label.empty() ? "no label" : OneLine(boxes[i].label)) + " (" +
            PenOfBox(i).name + ")";
  console.Note(line);
}

}  // namespace qwen3vl::cli
