// SPDX-License-Identifier: Apache-2.0
#include "hw/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <limits>
#include <system_error>
#include <utility>

#include "qwen3vl/error.h"

namespace qwen3vl::hw {
namespace {

// strerror() is not thread-safe; the standard's own category is.
std::string ErrnoText(int error) { return std::generic_category().message(error); }

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

FileDescriptor OpenToRead(const std::string& path) {
  // O_NONBLOCK: opening a pipe that nobody writes to must not hang before its kind is known.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) throw Error(ErrorCode::kNotFound, path + ": cannot be opened: " + ErrnoText(errno));
  return FileDescriptor(fd);
}

size_t RegularFileSize(int fd, const std::string& path) {
  struct stat info;
  if (fstat(fd, &info) != 0)
    throw Error(ErrorCode::kNotFound, path + ": cannot be examined: " + ErrnoText(errno));
  if (S_ISDIR(info.st_mode)) throw Error(ErrorCode::kCorruptFile, path + ": is a directory, want a file");
  if (!S_ISREG(info.st_mode))
    throw Error(ErrorCode::kCorruptFile, path + ": is a pipe or device, want a regular file");
  if (info.st_size <= 0) throw Error(ErrorCode::kCorruptFile, path + ": is empty (0 bytes)");
  if (static_cast<uintmax_t>(info.st_size) > std::numeric_limits<size_t>::max())
    throw Error(ErrorCode::kOutOfMemory, path + ": too large for this address space");
  return static_cast<size_t>(info.st_size);
}

}  // namespace

MappedFile MappedFile::Open(const std::string& path) {
  const FileDescriptor fd = OpenToRead(path);
  MappedFile file;
  file.path_ = path;
  const size_t size = RegularFileSize(fd.get(), path);
  void* data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (data == MAP_FAILED)
    throw Error(errno == ENOMEM ? ErrorCode::kOutOfMemory : ErrorCode::kNotFound,
                path + ": cannot be mapped (" + std::to_string(size) + " bytes): " + ErrnoText(errno));
  file.data_ = static_cast<const std::byte*>(data);
  file.size_ = size;
  return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      path_(std::move(other.path_)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(path_, other.path_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_) munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::AdviseWillNeed(size_t offset, size_t size) const {
  if (offset >= size_) return;
  const size_t end = offset + std::min(size, size_ - offset);
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t begin = offset / page * page;
  madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_WILLNEED);
}

std::vector<uint8_t> ReadWholeFile(const std::string& path, size_t max_bytes) {
  const FileDescriptor fd = OpenToRead(path);
  const auto check = [&](size_t size) {
    if (size > max_bytes)
      throw Error(ErrorCode::kUnsupported, path + ": more than " + std::to_string(max_bytes) + " bytes (" +
                                               std::to_string(size) + "), want less");
    return size;
  };
  // One byte more than the file should have, so that its end is seen without growing the buffer.
  std::vector<uint8_t> bytes(check(RegularFileSize(fd.get(), path)) + 1);
  size_t size = 0;
  for (;;) {
    const ssize_t n = read(fd.get(), bytes.data() + size, bytes.size() - size);
    if (n == 0) break;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw Error(ErrorCode::kNotFound, path + ": cannot be read: " + ErrnoText(errno));
    size = check(size + static_cast<size_t>(n));
    if (size == bytes.size()) bytes.resize(2 * size);  // it has grown
  }
  bytes.resize(size);
  return bytes;
}

}  // namespace qwen3vl::hw
