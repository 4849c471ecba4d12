// SPDX-License-Identifier: Apache-2.0
// Describes a picture, word by word as the model says it.
// Usage: describe_image MODEL PICTURE [QUESTION]
#include <exception>
#include <iostream>
#include <string_view>

#include "qwen3vl/qwen3vl.h"

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: describe_image MODEL PICTURE [QUESTION]\n";
    return 2;
  }
  try {
    const qwen3vl::Model model = qwen3vl::Model::Load(argv[1]);
    qwen3vl::Session session(model);

    qwen3vl::GenerateOptions options;
    options.max_tokens = 64;
    options.on_text = [](std::string_view text) {
      std::cout << text << std::flush;
      return true;
    };
    const char* question = argc > 3 ? argv[3] : "Describe this picture.";
    const qwen3vl::Message message = qwen3vl::UserMessage(question, {qwen3vl::LoadPicture(argv[2])});
    const qwen3vl::Reply reply = session.Chat({message}, options);
    std::cout << '\n';
    std::cerr << reply.image_tokens << " image tokens, " << reply.ids.size() << " generated\n";
  } catch (const std::exception& e) {
    std::cerr << "describe_image: " << e.what() << '\n';
    return 1;
  }
}
