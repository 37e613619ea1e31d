#!/usr/bin/env bash
# Installs what building RocksDB for the bench needs beside Rust and a C compiler: a C++ compiler,
# make, and libclang with its headers, from which its bindings are generated. Nothing else in the
# project needs any of it.
#
#     crates/bench/install-peers.sh
#     cargo run --release -p alluvium-bench --features peers,rocksdb -- versus
#
# On Debian and Ubuntu, as root or with sudo. What is there already is left as it is, and where
# nothing is missing nothing is done: running it again is harmless.
set -euo pipefail

packages=(g++ make libclang-dev)

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "install-peers: no apt-get here. Install a C++ compiler, make and libclang by other means." >&2
  exit 1
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $status == installed ]] || missing+=("$package")
done

if ((${#missing[@]} == 0)); then
  echo "install-peers: nothing to do, ${packages[*]} are installed."
  exit 0
fi

as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "install-peers: ${missing[*]} are missing; run this as root, for there is no sudo." >&2
    exit 1
  fi
  as_root=(sudo)
fi

echo "install-peers: installing ${missing[*]}."
"${as_root[@]}" apt-get update
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install --yes --no-install-recommends "${missing[@]}"
echo "install-peers: done."
