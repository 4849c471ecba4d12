#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian or Ubuntu packages that the build needs, if any is missing. It says which before it does so.
# Usage: scripts/install_deps.sh [test] [lint]
#   test: also what the tests need, with a compiler for GPU code; lint: also the formatter that CI checks with.
set -euo pipefail

packages=(g++ cmake ninja-build pkg-config
  libhwy-dev libcpuinfo-dev nlohmann-json3-dev libcli11-dev
  libjpeg-dev libpng-dev libgif-dev libwebp-dev libutf8proc-dev zlib1g-dev libedit-dev)
for group in "$@"; do
  case "$group" in
    test) packages+=(libgtest-dev libgmock-dev libbenchmark-dev libeigen3-dev binutils ccache clang) ;;
    lint) packages+=(clang-format git) ;;
    *)
      echo "install_deps.sh: unknown group '$group'; known: test, lint" >&2
      exit 2
      ;;
  esac
done

missing=()
for package in "${packages[@]}"; do
  state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "install_deps.sh: no apt-get here; please install the equivalents of: ${missing[*]}" >&2
  exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "install_deps.sh: neither root nor sudo; please run as root: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
echo "Installing Debian packages: ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
