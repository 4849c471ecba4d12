// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cli/save_boxes.h"

#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "qwen3vl/boxes.h"
#include "qwen3vl/cli/failure.h"
#include "qwen3vl/cli/text_format.h"
#include "qwen3vl/image.h"

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
  if (fs::is_directory(file, problem)) throw Failure(kBadFile, path + ": is a folder, want a file");
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  if (access(fs::exists(file, problem) ? file.c_str() : folder.c_str(), W_OK) != 0)
    throw Failure(kBadFile, path + ": cannot be written: " + std::generic_category().message(errno));
}

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
