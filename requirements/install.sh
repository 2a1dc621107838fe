#!/bin/sh
# Makes the virtual environment $1 and installs a lock and this project into it.
#
#   sh requirements/install.sh .venv
#
# What is installed is exactly the lock, checked by its hashes and without dependency resolution: a
# CPU build of torch breaks beside torchvision, torchaudio, torchcodec and triton, which other
# packages would bring in. It can be run again at any time: what is there already is kept; an
# environment that an interrupted run left half-done, or that was made for another device, is made
# anew.
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
uv=$(command -v "${UV:-$venv/bin/uv}" || true)
torch_index=${TORCH_INDEX:-}
began=$(date +%s)
. "$root/requirements/shared.sh"

say() { echo "setup: $*"; }

# Runs a command; what it prints goes to a person's terminal, or to the log, which is shown when the
# command fails.
run() {
  if [ -t 2 ]; then
    "$@"
  else
    "$@" >"$venv/install.log" 2>&1
  fi
}

show_log() { [ -t 2 ] || tail -n 30 "$venv/install.log" >&2; }

# Why an environment that is there cannot be used; nothing if it can.
unusable() {
  if ! "$venv/bin/python" -c 'import pip' >/dev/null 2>&1; then
    echo "is half-done or of a Python that is gone"
  elif ! is_supported "$venv/bin/python"; then
    echo "is of a Python that is not supported"
  elif [ -e "$venv/.installing" ]; then
    echo "was left in the middle of an installation"
  elif [ "$(cat "$venv/.device" 2>/dev/null || echo cpu)" != "$device" ]; then
    # Both engines are one package under two names: the second would be written over the first.
    echo "was made for another device than $device"
  fi
}

make_environment() {
  [ -f "$lock" ] || fail "there is no lock for the device \`$device\`" "DEVICE is cpu or gpu"
  if [ -d "$venv" ] && [ -n "$(ls -A "$venv")" ]; then
    [ -f "$venv/pyvenv.cfg" ] || [ -h "$venv/bin/python" ] \
      || fail "\`$venv\` is no virtual environment" "it is left as it is; name another folder"
    why=$(unusable)
    [ -n "$why" ] || return 0
    say "$venv $why: making it anew"
  fi
  # The old one goes only when there is a Python to make a new one with.
  check_python "$python"
  rm -rf "$venv"
  "$python" -m venv "$venv" || fail "no virtual environment could be made in \`$venv\`" \
    "on Debian: apt-get install python3-venv"
  echo "$device" >"$venv/.device"
}

choose_source() {
  [ -n "$wheelhouse" ] || return 0
  [ -d "$wheelhouse" ] || fail "there is no folder \`$wheelhouse\`" \
    "make it where there is a network: make wheelhouse WHEELHOUSE=DIR"
  wheelhouse=$(cd "$wheelhouse" && pwd)
  # Its own copy of the lock knows the torch that was put there.
  copy=$wheelhouse/$(basename "$lock")
  [ -f "$copy" ] || fail "\`$wheelhouse\` has no $(basename "$lock"): it is half-done, or not for $device" \
    "make it anew where there is a network: make wheelhouse DEVICE=$device"
  here=$(machine "$venv/bin/python")
  made=$(sed -n '1s/^# for //p' "$copy")
  [ "$made" = "$here" ] || fail "\`$wheelhouse\` is for $made, and this is $here" \
    "make it with the same Python on a machine of the same kind, or name it here: make setup PYTHON=…"
  [ "$(without_torch "$copy")" = "$(without_torch "$lock")" ] \
    || fail "\`$wheelhouse\` was made for another $(basename "$lock") than this one" \
      "make it anew where there is a network: make wheelhouse"
  lock=$copy
  say "everything from $wheelhouse, no network"
}

pip() { "$venv/bin/python" -m pip --disable-pip-version-check --no-input "$@"; }

# Runs a command with the options that keep pip and uv away from every index, if there is a wheelhouse.
offline() { # command, options…
  if [ -n "$wheelhouse" ]; then "$@" --no-index --find-links "$wheelhouse"; else "$@"; fi
}

# uv does not read pip's configuration: what it says of indexes, folders of wheels and the way to
# them is handed over. What was set for uv itself stays.
hand_over() {
  eval "$(pip config list 2>/dev/null | "$venv/bin/python" -c '
import ast, os, shlex, sys
NAMES = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "no-index": ("UV_NO_INDEX", " "),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "cert": ("SSL_CERT_FILE", " "),
    "proxy": ("ALL_PROXY", " "),
}
found = {}
for line in sys.stdin:
    key, _, value = line.strip().partition("=")
    section, _, option = key.rpartition(".")
    if option in NAMES and section in ("global", "install", ":env:"):
        found.setdefault(option, {})[section] = ast.literal_eval(value).split()
for option, values in found.items():
    name, separator = NAMES[option]
    value = values.get(":env:") or values.get("install") or values["global"]
    if name not in os.environ:
        print("export", name + "=" + shlex.quote(separator.join(value)))
')"
}

choose_installer() {
  installer=pip
  if [ -z "${UV:-}" ]; then
    offline pip install --quiet --no-deps --require-hashes -r "$root/requirements/uv.lock" \
      >"$venv/install.log" 2>&1 || true
  fi
  [ -n "$wheelhouse" ] || hand_over
  [ -n "${UV:-}" ] || uv=$venv/bin/uv
  if [ -x "$uv" ]; then
    installer=uv
  else
    why=$(grep '^ERROR' "$venv/install.log" 2>/dev/null | tail -n 1)
    say "uv cannot be had here${why:+ ($why)}: pip does the work, it takes about twice as long"
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

torch_imports() { "$venv/bin/python" -P -c 'import torch' >/dev/null 2>&1; }

# Whether the torch that is there is the lock's, or a build of it, and imports.
torch_fits() {
  "$venv/bin/python" -P -c '
import importlib.metadata, sys
found, wanted = importlib.metadata.version("torch"), sys.argv[1].removeprefix("torch==")
import torch
sys.exit(found.partition("+")[0] != wanted.partition("+")[0])' "$(torch_of "$lock")" >/dev/null 2>&1
}

# From one index alone: by a hash that is known, or else by the version.
torch_from() { # index
  say "$(torch_of "$lock") from $(plain "$1")"
  only="--index-url $1"
  anew=--force-reinstall
  [ $installer = pip ] || only="--default-index $1" anew="--reinstall-package torch"
  # shellcheck disable=SC2086
  if from_one_index install --require-hashes $anew $only -r "$root/requirements/torch-cpu.lock" \
    && torch_fits; then
    return 0
  fi
  # shellcheck disable=SC2086
  from_one_index install $anew $only "$(torch_of "$lock")" || return 1
  say "torch was taken by its version: no hash of this build is known"
}

# Before the lock's own torch, which may be a CUDA build of many times the size.
install_cpu_torch() {
  [ -n "$(torch_of "$lock")" ] && [ "$device" = cpu ] && [ -z "$wheelhouse" ] || return 0
  torch_fits && return 0
  if [ -n "$torch_index" ]; then
    torch_from "$torch_index" && return 0
    show_log
    rm -f "$venv/.installing"
    fail "torch could not be had from $(plain "$torch_index")" \
      "name another: make setup TORCH_INDEX=URL"
  fi
  install --require-hashes -r "$root/requirements/torch-cpu.lock" 2>/dev/null || return 0
}

install_lock() {
  wanted=$venv/wanted.lock
  if [ "$device" = cpu ] && torch_fits; then without_torch "$lock"; else cat "$lock"; fi >"$wanted"
  say "installing $(packages_of "$lock") packages of $(basename "$lock") with $installer"
  status=0
  offline install --require-hashes -r "$wanted" || status=$?
  if [ $status != 0 ]; then
    show_log
    [ $installer = uv ] || lock_failed
    # pip would take what uv has half written for installed.
    [ $status -lt 128 ] || fail "uv was killed" "run it again: it begins anew"
    say "uv failed, pip tries"
    installer=pip
    status=0
    offline install --require-hashes -r "$wanted" || status=$?
    [ $status = 0 ] || { show_log; lock_failed; }
  fi
}

lock_failed() {
  # It ended by itself: what is installed is whole, and the next run goes on from there.
  [ $status -ge 128 ] || rm -f "$venv/.installing"
  fail "the packages of \`$lock\` could not be installed" \
    "what is above says why; without a network: make setup WHEELHOUSE=DIR"
}

check_torch() {
  [ -n "$(torch_of "$lock")" ] || return 0
  torch_imports && return 0
  [ "$device" = cpu ] || fail "torch does not import here" \
    "\`$venv/bin/python -c 'import torch'\` says why; on a machine without a GPU: make setup DEVICE=cpu"
  [ -z "$wheelhouse" ] || fail "the torch of \`$wheelhouse\` does not import here" \
    "make it with a CPU build: make wheelhouse TORCH_INDEX=$CPU_BUILDS"
  say "this torch does not import here, as CUDA builds do without their libraries: replacing it"
  if ! torch_from "${torch_index:-$CPU_BUILDS}" || ! torch_imports; then
    show_log
    "$venv/bin/python" -P -c 'import torch' 2>&1 | tail -n 1 >&2
    fail "torch does not import, and no other could be had from $(plain "${torch_index:-$CPU_BUILDS}")" \
      "name an index with CPU builds of torch: make setup TORCH_INDEX=URL"
  fi
}

install_project() {
  [ "$project" = none ] && return 0
  offline install --no-build-isolation --editable "$project" || {
    show_log
    fail "\`$project\` could not be installed" "what is above says why"
  }
}

make_environment
choose_source
choose_installer
# Whoever finds this file finds packages of which half the files may be there.
touch "$venv/.installing"
install_cpu_torch
install_lock
rm "$venv/.installing"
install_project
check_torch
say "done in $(($(date +%s) - began)) s: $("$venv/bin/python" -P -c 'import sys
print("Python", sys.version.split()[0], end="")
try:
    import torch
    print(", torch", torch.__version__, end="")
except ImportError:
    pass')"
