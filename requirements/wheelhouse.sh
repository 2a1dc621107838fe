#!/bin/sh
# Downloads all that `make setup WHEELHOUSE=$1` needs on a machine without a network.
#
#   sh requirements/wheelhouse.sh wheelhouse
#
# The files are for this machine's Python and processor, each checked by the lock's hashes. Beside
# them lie a copy of the lock, which names the torch that was taken by its hash, and, by their versions
# alone, the tools that packages without a wheel are built with.
#
# On a machine without a GPU that torch has to be a CPU build, and whether it is one is found out here
# and not where there is no network. It comes from TORCH_INDEX where that is given; else from pip's
# own sources where they have a build whose hash is known; else, on x86-64, where PyPI's is a CUDA
# build, from PyTorch's index. On other processors PyPI's is the CPU build.
#
# Variables: PYTHON, DEVICE, TORCH_INDEX as in requirements/install.sh.
set -eu

folder=$1
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
device=${DEVICE:-cpu}
lock=$root/requirements/$device.lock
. "$root/requirements/shared.sh"

say() { echo "wheelhouse: $*"; }

check_python "$python"
[ -f "$lock" ] || fail "there is no lock for the device \`$device\`" "DEVICE is cpu or gpu"
torch=$(torch_of "$lock")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
# A Debian Python has no pip of its own.
if ! "$python" -c 'import pip' >/dev/null 2>&1; then
  "$python" -m venv "$scratch/venv" || fail "there is no pip for \`$python\`" \
    "on Debian: apt-get install python3-venv"
  python=$scratch/venv/bin/python
fi

download() {
  "$python" -m pip --disable-pip-version-check --no-input --quiet download --no-deps \
    --dest "$folder" "$@"
}

has_torch() { ls "$folder"/torch-*.whl >/dev/null 2>&1; }

torch_from() { # index
  say "$torch from $(plain "$1")"
  from_one_index download --index-url "$1" "$torch"
}

mkdir -p "$folder"
copy=$folder/$(basename "$lock")
# Until all is there, there is no lock, and `make setup` says that it is half-done.
rm -f "$copy" "$folder"/torch-*.whl
if [ -n "$torch" ] && [ "$device" = cpu ]; then
  if [ -n "${TORCH_INDEX:-}" ]; then
    torch_from "$TORCH_INDEX" || fail "torch could not be had from $(plain "$TORCH_INDEX")" \
      "name another: make wheelhouse TORCH_INDEX=URL"
  else
    download --require-hashes -r "$root/requirements/torch-cpu.lock" 2>/dev/null || true
    if ! has_torch && [ "$(uname -m)" = x86_64 ]; then
      torch_from "$CPU_BUILDS" || fail "no CPU build of torch could be had from $CPU_BUILDS" \
        "name an index that has one: make wheelhouse TORCH_INDEX=URL"
    fi
  fi
fi
{
  echo "# for $(machine "$python")"
  if has_torch; then
    # The copy of the lock names this very file.
    wheel=$(ls "$folder"/torch-*.whl)
    version=$(basename "$wheel" | cut -d - -f 2)
    echo "torch==$version --hash=sha256:$(sha256sum "$wheel" | cut -d ' ' -f 1)"
    without_torch "$lock"
  else
    cat "$lock"
  fi
} >"$scratch/lock"
say "$(packages_of "$lock") packages of $(basename "$lock") into $folder"
download --require-hashes --find-links "$folder" -r "$scratch/lock"
download --require-hashes -r "$root/requirements/uv.lock"
# What packages without a wheel are built with.
download 'setuptools>=77' 'wheel>=0.45'
cp "$scratch/lock" "$copy"
say "done, $(du -sh "$folder" | cut -f 1); there: make setup WHEELHOUSE=$folder"
