# What install.sh and wheelhouse.sh have in common; read by them, not run.
# shellcheck shell=sh disable=SC2034

# Where PyTorch itself keeps its CPU builds.
CPU_BUILDS=https://download.pytorch.org/whl/cpu

fail() { # message, hint
  printf 'error: %s\n\nhint: %s\n' "$1" "$2" >&2
  exit 1
}

is_supported() { # interpreter
  "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null
}

check_python() { # interpreter
  is_supported "$1" || fail "\`$1\` is not a Python from 3.11 to 3.13" \
    "name one: make setup PYTHON=python3.12"
  other=$(of_another_system "$1")
  [ -z "$other" ] || fail "this is $other: what is locked is for Linux with glibc on x86-64 or aarch64" \
    "use a machine or a container with such a Linux; on Windows, WSL 2 is one"
}

# What the interpreter runs on, where nothing of the locks is made for that.
of_another_system() { # interpreter
  "$1" -c 'import platform, sys
if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
    print(platform.platform())
elif platform.libc_ver()[0] != "glibc":
    print("a Linux without glibc")'
}

# What a wheel may depend on: `Python 3.11 on linux-x86_64`.
machine() { # interpreter
  "$1" -c 'import sys, sysconfig
print("Python %d.%d" % sys.version_info[:2], "on", sysconfig.get_platform())'
}

plain() { echo "$1" | sed "s|://[^/@]*@|://|"; } # URL, without a name and password
packages_of() { grep -c '^[A-Za-z0-9].*==' "$1"; } # lock
torch_of() { sed -n 's/^\(torch==[^ ;\\]*\).*/\1/p' "$1"; } # lock

without_torch() { # lock
  awk '/^#/ { next } /^torch==/ { inside = 1; next } inside && /^ / { next } { inside = 0; print }' "$1"
}

# Runs a command for which pip and uv know no index and no folder but those of its options. The way to
# the network (certificates, a proxy, hosts that are trusted) stays.
from_one_index() (
  unset PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS PIP_NO_INDEX
  unset UV_DEFAULT_INDEX UV_INDEX UV_INDEX_URL UV_EXTRA_INDEX_URL UV_FIND_LINKS UV_NO_INDEX
  export PIP_CONFIG_FILE=/dev/null
  [ -z "${SSL_CERT_FILE:-}" ] || export PIP_CERT="${PIP_CERT:-$SSL_CERT_FILE}"
  [ -z "${UV_INSECURE_HOST:-}" ] || export PIP_TRUSTED_HOST="${PIP_TRUSTED_HOST:-$UV_INSECURE_HOST}"
  "$@"
)
