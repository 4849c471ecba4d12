#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Seeds mistakes into copies of the GPU kernels, one at a time, and shows which test on the block emulator notices each.

Usage: tests/cuda/mutations.py [--only TEXT] [--builds LIST] [--every-build] [--jobs N]

Nothing has to be built before: the compiler alone makes the tests (g++ or $CXX, "ccache g++" too; GoogleTest must be
installed), plain, with AddressSanitizer and UndefinedBehaviorSanitizer, and with ThreadSanitizer. Each must pass on the
kernels as they are. A mistake goes through the builds until one notices it (--every-build: through all). Ends with 1 when a
mistake survives all of them, with 2 when the list of mistakes (tests/cuda/mutations.txt) does not fit the sources, or when
--only names none.
"""
import argparse
import concurrent.futures
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ["src/attention/cuda", "src/qwen3vl/cuda"]
LIST = "tests/cuda/mutations.txt"

BUILDS = {
    "plain": ["-g0"],
    "asan": ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    "tsan": ["-fsanitize=thread"],
}
# The program: the cases, the host side of attention, and the CPU's functions that layers are compared with.
PROGRAM = """
src/attention/check.cc src/attention/cuda/attention_kernels.cc src/attention/cuda/attention_none.cc
src/attention/cuda/cuda_attention.cc src/attention/cuda/cuda_pack.cc src/attention/cuda/cuda_problem.cc
src/attention/kv_cache.cc src/attention/kv_cache_io.cc src/attention/row_codec.cc
src/qwen3vl/cuda/device_weight.cc src/qwen3vl/layers.cc src/qwen3vl/layers_simd.cc src/qwen3vl/linear_dot_simd.cc
src/qwen3vl/quant.cc tests/cuda/kernel_cases.cc tests/cuda/kernel_runs.cc tests/cuda/kernels_test.cc
tests/cuda/stand_in_code.cc tests/qwen3vl/cuda/experts_test.cc tests/qwen3vl/cuda/layer_kernels_test.cc
tests/qwen3vl/cuda/product_test.cc tests/qwen3vl/cuda/vision_kernels_test.cc tests/support/attention_cases.cc
tests/support/near.cc tests/support/temp_dir.cc tests/support/test_main.cc
""".split() + [str(file.relative_to(ROOT)) for folder in ("hw", "rope") for file in sorted((ROOT / "src" / folder).glob("*.cc"))
               if file.name != "parallel_openmp.cc"]
# The library that the program loads, as NVIDIA's driver too: the kernels and what runs them.
DRIVER = """
tests/cuda/block_emulator.cc tests/cuda/emulated_kernels.cc tests/cuda/fake_cuda_compute.cc
tests/cuda/kernel_arrays.cc tests/cuda/ptx_interpreter.cc tests/cuda/ptx_module.cc tests/hw/fake_cuda.cc
""".split()
# The kernels, and which of them a header is part of.
F32, INT8, DECODE, LAYERS, EXPERTS = (
    f"tests/cuda/emulated_{kind}.cc" for kind in ("prefill_f32", "prefill_int8", "decode", "layer_kernels", "expert_kernels"))
KERNEL_FILES = [F32, INT8, DECODE, LAYERS, EXPERTS]
PART_OF = {"prefill_f32.cuh": [F32], "prefill_int8.cuh": [INT8], "prefill.cuh": [F32, INT8],
           "prefill_shape.cuh": [F32, INT8], "decode.cuh": [DECODE], "codes.cuh": [INT8, DECODE],
           "kv_rows.cuh": [F32, INT8, DECODE], "layer_kernels.cuh": [LAYERS], "vision_kernels.cuh": [LAYERS],
           "product.cuh": [LAYERS, EXPERTS], "weight_codes.cuh": [LAYERS, EXPERTS], "route.cuh": [EXPERTS],
           "expert_product.cuh": [EXPERTS]}
# Which cases run them; other orders of threads would find what ThreadSanitizer finds, and take longer.
ATTENTION_CASES, LEFT_OUT = "*CudaKernels*", "-*ThreadOrder*"
LAYER_CASES = "*DeviceLayerKernels*:*DeviceProduct*:DeviceVisionKernels*:*DeviceGelu*:*DeviceExpert*"
LIBRARY = "libkernels.so"
SYSTEM_LIBRARIES = "-lgtest -lgmock -lhwy -lcpuinfo -lz -lpthread -ldl".split()
# As in tests/cuda/CMakeLists.txt: ThreadSanitizer is for the kernels, and is told about fibers by the emulator.
NOT_FOR_TSAN = {"tests/cuda/block_emulator.cc", "tests/cuda/ptx_interpreter.cc", "tests/cuda/ptx_module.cc"}

REASONS = [
    (r"SUMMARY: (\w+Sanitizer: [\w -]+?) \S*[/<(]", None),
    (r"runtime error: ([^\n]{0,60})", None),
    (r"(does not end)\n", None),
    (r"(block stuck|warp split|block split)", None),
    (r"(written beside)", None),
    (r"(differs)\n", None),
    (r"RelativeError", "wrong numbers"),
    (r"isfinite", "not finite"),
    (r"(reverse|shuffled)\b", "depends on the order of threads"),
    (r"r\.lse\[i\]", "wrong log-sum-exp"),
    (r": Failure\n", "wrong result"),
]


class Mutation:
    """One replacement of `old` by `new` in the `nth` line of `file` that contains it."""

    def __init__(self, name, file, line, old, new):
        self.name, self.file, self.line, self.old, self.new = name, file, line, old, new

    def apply(self, text):
        lines = text.split("\n")
        lines[self.line] = lines[self.line].replace(self.old, self.new, 1)
        return "\n".join(lines)


def barriers(file, text):
    """Every barrier left out, and every one that half of the threads skip."""
    found = [i for i, line in enumerate(text.split("\n")) if line.strip() == "Barrier();"]
    for n, line in enumerate(found, 1):
        which = f"{file}: barrier {n} of {len(found)}"
        yield Mutation(f"{which} left out", file, line, "Barrier();", "")
        yield Mutation(f"{which} for 64 threads only", file, line, "Barrier();", "if (ThreadIndex() < 64) Barrier();")


def listed(sources):
    """The mistakes of the list: blocks of `FILE: name`, `- old` and `+ new`; `old` stands in one line of the file."""
    for block in re.split(r"\n\s*\n", (ROOT / LIST).read_text()):
        rows = [row for row in block.split("\n") if row.strip() and not row.startswith("#")]
        if not rows:
            continue
        if len(rows) != 3 or not rows[1].startswith("- ") or not rows[2].startswith("+"):
            sys.exit(f"{LIST}: want a name, a line with - and a line with +, found: {block!r}")
        file, old, new = rows[0].split(":")[0], rows[1][2:], rows[2][2:]
        at = [i for i, line in enumerate(sources.get(file, "").split("\n")) if old in line]
        if len(at) != 1:
            print(f"{LIST}: '{rows[0]}': {old!r} stands in {len(at)} lines of {file}, want 1", file=sys.stderr)
            sys.exit(2)
        yield Mutation(rows[0], file, at[0], old, new)


class Build:
    """One compiled form of the tests: everything but the kernels, once."""

    def __init__(self, name, folder):
        self.name, self.folder = name, folder / name
        self.folder.mkdir()
        self.limit_s = None  # for a run; known when the kernels as they are have run
        self.compiler = shlex.split(os.environ.get("CXX", "g++")) + [
            "-std=c++20", "-O1", "-g1", "-fPIC", "-w", "-DHWY_COMPILE_ONLY_STATIC"]

    def compile(self, source, output, include):
        flags = list(BUILDS[self.name])
        if self.name == "tsan" and source in NOT_FOR_TSAN:
            flags = ["-DQWEN3VL_EMULATOR_TSAN"]
        subprocess.run(self.compiler + flags + [f"-I{include}", f"-I{ROOT}/src", f"-I{ROOT}/tests",
                                                '-DQWEN3VL_FAKE_CUDA=""', "-c", str(ROOT / source), "-o", str(output)],
                       check=True)

    def prepare(self):
        objects = {}
        for source in PROGRAM + DRIVER + KERNEL_FILES:
            objects[source] = self.folder / (source.replace("/", "_") + ".o")
            self.compile(source, objects[source], ROOT / "src")
        no_ptx = self.folder / "no_ptx.cc"
        subprocess.run(["cmake", "-D", "PTX_FILES=", "-D", "FOLDER=qwen3vl/cuda", "-D", "NAMESPACE=qwen3vl", "-D",
                        f"OUTPUT={no_ptx}", "-P", str(ROOT / "cmake/embed_ptx.cmake")], check=True)
        objects[no_ptx] = self.folder / "no_ptx.o"
        self.compile(no_ptx, objects[no_ptx], ROOT / "src")
        self.driver = [str(objects[s]) for s in DRIVER]
        self.kernels = {s: str(objects[s]) for s in KERNEL_FILES}
        self.link_library(self.kernels, self.folder)
        subprocess.run(self.compiler + BUILDS[self.name] + [str(objects[s]) for s in PROGRAM + [no_ptx]] +
                       ["-o", str(self.folder / "test"), f"-L{self.folder}", f"-l:{LIBRARY}"] + SYSTEM_LIBRARIES,
                       check=True)

    def link_library(self, kernels, folder):
        subprocess.run(self.compiler + BUILDS[self.name] + ["-shared", f"-Wl,-soname,{LIBRARY}"] +
                       list(kernels.values()) + self.driver + ["-o", str(folder / LIBRARY)], check=True)

    def run(self, work, include=None, changed=()):
        """Runs the cases with the kernel files `changed` compiled anew: (caught, "build: test: reason")."""
        work = work / self.name
        work.mkdir(exist_ok=True)
        kernels = dict(self.kernels)
        for source in changed:
            kernels[source] = str(work / f"{Path(source).stem}.o")
            self.compile(source, kernels[source], include)
        self.link_library(kernels, work)
        environment = dict(os.environ, QWEN3VL_FAKE_CUDA=str(work / LIBRARY), LD_LIBRARY_PATH=str(work),
                           TSAN_OPTIONS="halt_on_error=1", ASAN_OPTIONS="detect_leaks=0")
        of_layers = [source in (LAYERS, EXPERTS) for source in changed or KERNEL_FILES]
        cases = [LAYER_CASES] * any(of_layers) + [ATTENTION_CASES] * (not all(of_layers))
        command = [str(self.folder / "test"), "--gtest_fail_fast", "--gtest_filter=" + ":".join(cases) + LEFT_OUT]
        start = time.monotonic()
        try:
            result = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace",
                                    timeout=self.limit_s)
            said, failed = result.stdout + result.stderr, result.returncode != 0
        except subprocess.TimeoutExpired as e:
            said, failed = (e.stdout or b"").decode(errors="replace") + "\ndoes not end\n", True
        if self.limit_s is None:  # what takes ten times as long on a machine that may be busy now has no end
            self.limit_s = 10 * (time.monotonic() - start) + 60
        return failed, f"{self.name}: {what_failed(said)}" if failed else ""


def what_failed(said):
    """The first test that failed, or was running at the end, and what it noticed."""
    failed = re.findall(r"\[  FAILED  \] ([^\s,]+)", said) or re.findall(r"\[ RUN      \] (\S+)", said)[-1:] or ["?"]
    test = failed[0].removeprefix("Table/")
    for pattern, words in REASONS:
        found = re.search(pattern, said)
        if found:
            return f"{test}: {words or found[1]}"
    return f"{test}: does not end well"


def try_mutation(mutation, builds, every_build, folder):
    work = Path(tempfile.mkdtemp(dir=folder))
    for kernels in KERNELS:
        shutil.copytree(ROOT / kernels, work / kernels.removeprefix("src/"))
    target = next(work.glob(f"**/{mutation.file}"))
    target.write_text(mutation.apply(target.read_text()))
    caught = []
    for build in builds:
        failed, text = build.run(work, work, PART_OF.get(mutation.file, KERNEL_FILES))
        if failed:
            caught.append(text)
            if not every_build:
                break
    shutil.rmtree(work)
    return caught


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="mistakes whose name contains this")
    parser.add_argument("--builds", default=",".join(BUILDS), help="of: " + ", ".join(BUILDS))
    parser.add_argument("--every-build", action="store_true")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    args = parser.parse_args()
    sources = {file.name: file.read_text() for folder in KERNELS for file in sorted((ROOT / folder).glob("*.cuh"))}
    mutations = list(listed(sources)) + [m for file, text in sources.items() for m in barriers(file, text)]
    mutations = [m for m in mutations if args.only in m.name]
    if not mutations:
        print(f"--only {args.only}: no mistake's name contains this", file=sys.stderr)
        return 2

    with tempfile.TemporaryDirectory() as name, concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        folder = Path(name)
        builds = [Build(b, folder) for b in args.builds.split(",")]
        list(pool.map(Build.prepare, builds))
        for build, (failed, text) in zip(builds, pool.map(lambda b: b.run(folder), builds)):
            if failed:
                sys.exit(f"the kernels as they are do not pass: {text}")
            print(f"{build.name}: the kernels as they are pass", flush=True)
        survived = 0
        results = pool.map(lambda m: try_mutation(m, builds, args.every_build, folder), mutations)
        for mutation, caught in zip(mutations, results):
            survived += not caught
            print(f"{mutation.name:<62} {'; '.join(caught) or 'SURVIVED'}", flush=True)
    print(f"{len(mutations)} mistakes, {survived} survived")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
