// SPDX-License-Identifier: Apache-2.0
// Files that are there whole or not at all: written beside their place under another name and renamed, so
// that a reader sees the old one or the new one, and a full disk leaves the old one.
#pragma once

#include <string>
#include <string_view>

namespace qwen3vl {

// What `path` leads to over links: a rename would otherwise replace the link. Throws Error(kNotFound) where
// they do not end.
std::string FollowLinks(const std::string& path);

// The name that `target` has until it is whole. The process id keeps two writers of one target apart.
std::string DraftOf(const std::string& target);

// Throws Error(kNotFound) with the system's reason where nothing can be written to `path`; for whoever has
// hours of work before it.
void CheckCanWrite(const std::string& path);

// Replaces `path` by `bytes`; a pipe or a device gets them directly. Throws Error with the system's reason:
// kNotFound where nothing can be written there, kOutOfMemory when writing failed. No draft stays.
void WriteWholeFile(const std::string& path, std::string_view bytes);

}  // namespace qwen3vl
