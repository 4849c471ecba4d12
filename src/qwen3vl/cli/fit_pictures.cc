// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cli/fit_pictures.h"

#include <algorithm>

namespace qwen3vl::cli {

size_t ContextTokens(const SessionOptions& session, const ModelInfo& model) {
  return session.context ? session.context : std::min(kDefaultContext, model.max_seq_len);
}

size_t FitPictures(CommonOptions& options, const ModelInfo& model) {
  SessionOptions& session = options.session;
  if (options.pictures_to_fit == 0 || session.max_image_tokens != 0) return 0;
  const size_t share = ContextTokens(session, model) / 2 / options.pictures_to_fit;
  const size_t limit = std::max({share, session.min_image_tokens, size_t{1}});
  if (limit >= model.max_image_tokens) return 0;
  session.max_image_tokens = limit;
  return limit;
}

}  // namespace qwen3vl::cli
