// SPDX-License-Identifier: Apache-2.0
// How large pictures may be where the command line does not say: a photo of a phone, in the size that the
// model's files allow, would fill the default context alone.
#pragma once

#include "qwen3vl/cli/options.h"

namespace qwen3vl::cli {

// Tokens that the session's context will hold: those asked for, or the default.
size_t ContextTokens(const SessionOptions& session, const ModelInfo& model);

// Sets max_image_tokens so that options.pictures_to_fit pictures of that size fill half the context, where
// the option is not given and the model's own limit is higher. Gives the limit set, or 0.
size_t FitPictures(CommonOptions& options, const ModelInfo& model);

}  // namespace qwen3vl::cli
