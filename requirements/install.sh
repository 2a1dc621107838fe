#!/bin/sh
# Makes the virtual environment $1 and installs a lock and this project into it.
#
#   sh requirements/install.sh .venv
#
# What is installed is exactly the lock, checked by its hashes and without dependency resolution: a
# CPU build of torch breaks beside torchvision, torchaudio, torchcodec and triton, which other
# packages would bring in. It can be run again at any time: what is there already is kept, what an
# interrupted run left half-done is mended.
#
# uv does the work; where it cannot be had, pip does. A torch that does not import (on x86-64 Linux
# the index's own is a CUDA build, which needs libraries of its own) is replaced by the CPU build.
#
# Variables:
#   PYTHON       the interpreter to begin with (default python3)
#   DEVICE       cpu or gpu: which lock (default cpu)
#   TORCH_INDEX  an index with CPU builds of torch; asked first when it is given, and otherwise,
#                as PyTorch's own, only to replace a torch that does not import
#   WHEELHOUSE   a folder made by `make wheelhouse`: no index is asked for anything
#   UV           a uv to use instead of the pinned one
#   PROJECT      another project's folder, or `none`
set -eu

venv=$1
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
device=${DEVICE:-cpu}
lock=$root/requirements/$device.lock
project=${PROJECT:-$root}
wheelhouse=${WHEELHOUSE:-}
uv=${UV:-$venv/bin/uv}
torch_index=${TORCH_INDEX:-}
cpu_builds=https://download.pytorch.org/whl/cpu
began=$(date +%s)

say() { echo "setup: $*"; }

fail() { # message, hint
  printf 'error: %s\n\nhint: %s\n' "$1" "$2" >&2
  exit 1
}

# Runs a command; what it prints goes to a person's terminal, or to the log, which is shown when the
# command fails.
run() {
  if [ -t 2 ]; then
    "$@"
  elif "$@" >"$venv/install.log" 2>&1; then
    :
  else
    return 1
  fi
}

show_log() { [ -t 2 ] || tail -n 30 "$venv/install.log" >&2; }

make_environment() {
  "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null \
    || fail "\`$python\` is not a Python from 3.11 to 3.13" \
      "name one: make setup PYTHON=python3.12"
  if [ -d "$venv" ] && ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    say "$venv is half-done or of a Python that is gone: making it anew"
    rm -rf "$venv"
  fi
  [ -d "$venv" ] || "$python" -m venv "$venv" \
    || fail "no virtual environment could be made in \`$venv\`" \
      "on Debian: apt-get install python3-venv"
}

# $offline: the options that keep pip and uv away from every index.
choose_source() {
  offline=
  [ -n "$wheelhouse" ] || return 0
  [ -d "$wheelhouse" ] || fail "there is no folder \`$wheelhouse\`" \
    "make it where there is a network: make wheelhouse WHEELHOUSE=DIR"
  wheelhouse=$(cd "$wheelhouse" && pwd)
  offline="--no-index --find-links $wheelhouse"
  # Its own copy of the lock knows the torch that was put there.
  [ ! -f "$wheelhouse/$(basename "$lock")" ] || lock=$wheelhouse/$(basename "$lock")
  say "everything from $wheelhouse, no network"
}

pip() { "$venv/bin/python" -m pip --disable-pip-version-check --no-input "$@"; }

# uv does not read pip's configuration: an index, extra indexes and folders of wheels are handed over.
hand_over() {
  [ -n "$(pip config get "$1" 2>/dev/null)" ] || return 0
  export "$2=$(pip config get "$1" | tr '\n' ' ' | sed "s/  */$3/g; s/$3\$//")"
}

choose_installer() {
  installer=pip
  # shellcheck disable=SC2086
  [ -n "${UV:-}" ] \
    || run pip install --quiet --no-deps --require-hashes $offline -r "$root/requirements/uv.lock" \
    || true
  if [ -x "$uv" ]; then
    installer=uv
    [ -n "$wheelhouse" ] && return 0
    hand_over global.index-url UV_DEFAULT_INDEX ' '
    hand_over global.extra-index-url UV_INDEX ' '
    hand_over global.find-links UV_FIND_LINKS ,
    hand_over global.cert SSL_CERT_FILE ' '
    [ -z "${PIP_INDEX_URL:-}" ] || export "UV_DEFAULT_INDEX=$PIP_INDEX_URL"
    [ -z "${PIP_EXTRA_INDEX_URL:-}" ] || export "UV_INDEX=$PIP_EXTRA_INDEX_URL"
  else
    say "uv cannot be had here, pip does the work (it takes about twice as long)"
  fi
}

# install OPTION… : one call of the installer into the environment.
install() {
  if [ $installer = uv ]; then
    # The best version of all indexes, as pip does: every file is checked by its hash anyway.
    run "$uv" pip install --python "$venv/bin/python" --no-config \
      --index-strategy unsafe-best-match --no-deps "$@"
  else
    run pip install --no-deps "$@"
  fi
}

torch_of_lock() { sed -n 's/^\(torch==[^ ;\\]*\).*/\1/p' "$lock"; }

torch_imports() { "$venv/bin/python" -P -c 'import torch' >/dev/null 2>&1; }

# From one index alone: by a hash that is known, or else by the version.
torch_from() { # index
  say "$(torch_of_lock) from $1"
  only="--index-url $1"
  anew=--force-reinstall
  [ $installer = pip ] || only="--default-index $1 --index $1" anew="--reinstall-package torch"
  # shellcheck disable=SC2086
  install --require-hashes $anew $only -r "$root/requirements/torch-cpu.lock" || {
    say "that is no build whose hash is known: taken by its version"
    # shellcheck disable=SC2086
    install $anew $only "$(torch_of_lock)"
  }
}

# Before the lock's own torch, which may be a CUDA build of many times the size.
install_cpu_torch() {
  [ -n "$(torch_of_lock)" ] && [ "$device" = cpu ] && [ -z "$wheelhouse" ] || return 0
  torch_imports && return 0
  if [ -n "$torch_index" ]; then
    torch_from "$torch_index" && return 0
    show_log
    fail "torch could not be had from $torch_index" "name another: make setup TORCH_INDEX=URL"
  fi
  install --require-hashes -r "$root/requirements/torch-cpu.lock" 2>/dev/null || return 0
}

install_lock() {
  wanted=$venv/wanted.lock
  if torch_imports; then
    awk '/^torch==/ { inside = 1; next } inside && /^ / { next } { inside = 0; print }' "$lock"
  else
    cat "$lock"
  fi >"$wanted"
  say "installing $(grep -c '^[A-Za-z0-9].*==' "$lock") packages of $(basename "$lock") with $installer"
  # shellcheck disable=SC2086
  install --require-hashes $offline -r "$wanted" && return 0
  if [ $installer = uv ]; then
    show_log
    say "uv failed, pip tries"
    installer=pip
    # shellcheck disable=SC2086
    install --require-hashes $offline -r "$wanted" && return 0
  fi
  show_log
  fail "the packages of \`$lock\` could not be installed" \
    "what is above says why; without a network: make setup WHEELHOUSE=DIR"
}

check_torch() {
  [ -n "$(torch_of_lock)" ] || return 0
  torch_imports && return 0
  [ "$device" = cpu ] || fail "torch does not import here" \
    "\`$venv/bin/python -c 'import torch'\` says why; on a machine without a GPU: make setup"
  [ -z "$wheelhouse" ] || fail "the torch of \`$wheelhouse\` does not import here" \
    "make it with a CPU build: make wheelhouse TORCH_INDEX=$cpu_builds"
  say "this torch does not import here, as CUDA builds do without their libraries: replacing it"
  if ! torch_from "${torch_index:-$cpu_builds}" || ! torch_imports; then
    show_log
    fail "torch does not import, and no other could be had from ${torch_index:-$cpu_builds}" \
      "name an index with CPU builds of torch: make setup TORCH_INDEX=URL"
  fi
}

install_project() {
  [ "$project" = none ] && return 0
  # shellcheck disable=SC2086
  install --no-build-isolation $offline --editable "$project" || {
    show_log
    fail "\`$project\` could not be installed" "what is above says why"
  }
}

make_environment
choose_source
choose_installer
install_cpu_torch
install_lock
install_project
check_torch
say "done in $(($(date +%s) - began)) s: $("$venv/bin/python" -P -c 'import sys
print("Python", sys.version.split()[0], end="")
try:
    import torch
    print(", torch", torch.__version__, end="")
except ImportError:
    pass')"
