// SPDX-License-Identifier: Apache-2.0
#include "hw/machine_files.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <set>
#include <sstream>
#include <utility>

namespace qwen3vl::hw {
namespace {

constexpr size_t kMaxCpus = 65536;

std::string_view Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

// Takes the part of `rest` before `separator` out of it.
std::string_view NextPart(std::string_view& rest, char separator) {
  const size_t end = rest.find(separator);
  const std::string_view part = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  return part;
}

std::optional<size_t> ParseNumber(std::string_view text) {
  text = Trim(text);
  size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<size_t> ReadNumber(const std::string& path) { return ParseNumber(ReadTextFile(path)); }

// The number after `key` in lines of "key value" or "key:   value kB".
std::optional<size_t> FindValue(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    std::string_view line = NextPart(text, '\n');
    if (!line.starts_with(key)) continue;
    line = Trim(line.substr(key.size()));
    return ParseNumber(NextPart(line, ' '));
  }
  return std::nullopt;
}

void LowerTo(std::optional<size_t>& least, std::optional<size_t> value) {
  if (value && (!least || *value < *least)) least = value;
}
void LowerTo(std::optional<double>& least, std::optional<double> value) {
  if (value && (!least || *value < *least)) least = value;
}

std::optional<double> Quota(std::optional<size_t> quota_us, std::optional<size_t> period_us) {
  if (!quota_us || !period_us || *quota_us == 0 || *period_us == 0) return std::nullopt;
  return static_cast<double>(*quota_us) / static_cast<double>(*period_us);
}

// The file names in which both versions of control groups keep the same facts.
struct MemoryFiles {
  std::vector<const char*> limits;
  const char* usage;
  const char* inactive_file;
  const char* active_file;
};

void ReadMemoryLimits(const std::string& folder, const MemoryFiles& files, ControlGroup& out) {
  // Version 1 writes "no limit" as the largest multiple of a page that fits 63 bits.
  constexpr size_t kUnlimited = size_t{1} << 62;
  std::optional<size_t> limit;
  for (const char* name : files.limits) LowerTo(limit, ReadNumber(folder + name));
  if (!limit || *limit == 0 || *limit >= kUnlimited) return;
  LowerTo(out.memory_limit_bytes, limit);

  const std::string stat = ReadTextFile(folder + "/memory.stat");
  // The use counts file pages, which the kernel gives back before it denies memory.
  const size_t cache =
      FindValue(stat, files.inactive_file).value_or(0) + FindValue(stat, files.active_file).value_or(0);
  const size_t usage = ReadNumber(folder + files.usage).value_or(0);
  const size_t held = usage > cache ? usage - cache : 0;
  LowerTo(out.memory_available_bytes, *limit > held ? *limit - held : 0);
}

void ReadVersion2(const std::string& folder, ControlGroup& out) {
  std::string text = ReadTextFile(folder + "/cpu.max");
  std::string_view rest = Trim(text);
  const auto quota = ParseNumber(NextPart(rest, ' '));
  LowerTo(out.cpus, Quota(quota, ParseNumber(rest)));
  ReadMemoryLimits(
      folder, {{"/memory.max", "/memory.high"}, "/memory.current", "inactive_file ", "active_file "}, out);
}

void ReadVersion1Cpu(const std::string& folder, ControlGroup& out) {
  LowerTo(out.cpus,
          Quota(ReadNumber(folder + "/cpu.cfs_quota_us"), ReadNumber(folder + "/cpu.cfs_period_us")));
}

void ReadVersion1Memory(const std::string& folder, ControlGroup& out) {
  ReadMemoryLimits(
      folder,
      {{"/memory.limit_in_bytes"}, "/memory.usage_in_bytes", "total_inactive_file ", "total_active_file "},
      out);
}

// Calls read(folder) for the group `path` under `mount` and for all that contain it: a limit of any counts.
template <class Read>
void ForEachLevel(const std::string& mount, std::string_view path, const Read& read) {
  // A path with ".." lies outside what this process sees.
  if (path.find("..") != std::string_view::npos) path = "/";
  std::string level(path);
  while (true) {
    while (!level.empty() && level.back() == '/') level.pop_back();
    read(mount + level);
    if (level.empty()) return;
    level.resize(level.find_last_of('/') == std::string::npos ? 0 : level.find_last_of('/'));
  }
}

bool ListHas(std::string_view list, std::string_view item) {
  while (!list.empty())
    if (NextPart(list, ',') == item) return true;
  return false;
}

}  // namespace

std::string ReadTextFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();  // unlike iterators, this does not throw when reading fails after opening
  return text.str();
}

std::vector<size_t> ParseCpuList(std::string_view text) {
  std::vector<size_t> cpus;
  text = Trim(text);
  while (!text.empty()) {
    std::string_view range = NextPart(text, ',');
    const bool single = range.find('-') == std::string_view::npos;
    const std::optional<size_t> first = ParseNumber(NextPart(range, '-'));
    const std::optional<size_t> last = single ? first : ParseNumber(range);
    if (!first || !last || *last < *first || *last >= kMaxCpus) return {};
    for (size_t cpu = *first; cpu <= *last; ++cpu) cpus.push_back(cpu);
  }
  std::ranges::sort(cpus);
  const auto [begin, end] = std::ranges::unique(cpus);
  cpus.erase(begin, end);
  return cpus;
}

std::string ParseModelName(std::string_view cpuinfo) {
  while (!cpuinfo.empty()) {
    std::string_view line = NextPart(cpuinfo, '\n');
    const std::string_view key = NextPart(line, ':');
    if (Trim(key) == "model name") return std::string(Trim(line));
  }
  return {};
}

MemoryInfo ParseMemInfo(std::string_view meminfo) {
  constexpr size_t kMaxKib = size_t{1} << 50;
  const auto bytes = [&](std::string_view key) {
    return std::min(FindValue(meminfo, key).value_or(0), kMaxKib) * 1024;
  };
  MemoryInfo info;
  info.total_bytes = bytes("MemTotal:");
  info.available_bytes = FindValue(meminfo, "MemAvailable:")
                             ? bytes("MemAvailable:")
                             : bytes("MemFree:") + bytes("Buffers:") + bytes("Cached:");
  return info;
}

ControlGroup ReadControlGroup(const std::string& root) {
  ControlGroup out;
  const std::string mounts = root + "/sys/fs/cgroup";
  const std::string text = ReadTextFile(root + "/proc/self/cgroup");
  std::string_view rest = text;
  while (!rest.empty()) {
    // Lines of "id:controllers:path"; version 2 has no controllers there.
    std::string_view path = NextPart(rest, '\n');
    NextPart(path, ':');
    const std::string_view controllers = NextPart(path, ':');
    // Controllers mounted together have a folder of their joint name, and links of their own names.
    const auto read_v1 = [&](const char* controller, void (*read)(const std::string&, ControlGroup&)) {
      if (!ListHas(controllers, controller)) return;
      for (const std::string_view name : {controllers, std::string_view(controller)})
        ForEachLevel(mounts + "/" + std::string(name), path,
                     [&](const std::string& level) { read(level, out); });
    };
    read_v1("cpu", ReadVersion1Cpu);
    read_v1("memory", ReadVersion1Memory);
    if (controllers.empty())
      ForEachLevel(mounts, path, [&](const std::string& level) { ReadVersion2(level, out); });
  }
  return out;
}

Topology ReadTopology(const std::string& root) {
  Topology topology;
  const std::string folder = root + "/sys/devices/system/cpu";
  std::set<std::vector<size_t>> cores;
  for (const size_t cpu : ParseCpuList(ReadTextFile(folder + "/online"))) {
    const std::string siblings = folder + "/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list";
    std::vector<size_t> core = ParseCpuList(ReadTextFile(siblings));
    if (!std::ranges::binary_search(core, cpu)) core = {cpu};
    cores.insert(std::move(core));
  }
  topology.cores.assign(cores.begin(), cores.end());
  for (const char* kind : {"cpu_atom", "cpu_lowpower"})
    for (const size_t cpu : ParseCpuList(ReadTextFile(root + "/sys/devices/" + kind + "/cpus")))
      topology.efficiency_cpus.push_back(cpu);
  std::ranges::sort(topology.efficiency_cpus);
  return topology;
}

}  // namespace qwen3vl::hw
