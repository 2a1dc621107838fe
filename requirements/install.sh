#!/bin/sh
# Installs requirements/cpu.lock into the virtual environment $1, without dependency resolution:
# torchvision, torchaudio, torchcodec and triton must not come in beside this torch.
set -eu
venv=$1
root=$(cd "$(dirname "$0")/.." && pwd)
"${PYTHON:-python3}" -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed"'
[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
pip="$venv/bin/python -m pip --disable-pip-version-check --quiet"
if [ -n "${TORCH_INDEX:-}" ]; then
  echo "setup: torch from $TORCH_INDEX"
  $pip install --no-deps --index-url "$TORCH_INDEX" "$(grep '^torch==' "$root/requirements/cpu.lock")"
fi
# pip warns about every package for every local index that lacks it; only errors matter here.
PIP_NO_COLOR=1 $pip install --no-deps -r "$root/requirements/cpu.lock" 2>"$venv/install.log" \
  || { cat "$venv/install.log" >&2; exit 1; }
$pip install --no-deps --no-build-isolation --editable "$root" 2>>"$venv/install.log" \
  || { cat "$venv/install.log" >&2; exit 1; }
"$venv/bin/python" -c 'import torch' || {
  echo "setup: this torch does not import here: it is probably a CUDA build without its libraries" >&2
  echo "hint: make clean setup TORCH_INDEX=https://download.pytorch.org/whl/cpu" >&2
  exit 1
}
echo "setup: done, $("$venv/bin/python" -c 'import torch; print("torch", torch.__version__)')"
