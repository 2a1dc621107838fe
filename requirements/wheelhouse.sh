#!/bin/sh
# Downloads all that `make setup WHEELHOUSE=$1` needs on a machine without a network.
#
#   sh requirements/wheelhouse.sh wheelhouse
#
# The files are for this machine's Python and processor, each checked by the lock's hashes. Beside
# them lie a copy of the lock and what packages without a wheel are built with. With TORCH_INDEX the
# torch is taken from that index (a CPU build, say), and the copy of the lock names it by its hash.
#
# Variables: PYTHON, DEVICE, TORCH_INDEX as in requirements/install.sh.
set -eu

folder=$1
root=$(cd "$(dirname "$0")/.." && pwd)
lock=$root/requirements/${DEVICE:-cpu}.lock
torch=$(sed -n 's/^\(torch==[^ ;\\]*\).*/\1/p' "$lock")

pip() { "${PYTHON:-python3}" -m pip --disable-pip-version-check --no-input --quiet "$@"; }

mkdir -p "$folder"
copy=$folder/$(basename "$lock")
cp "$lock" "$copy"
rm -f "$folder"/torch-*.whl
if [ -n "$torch" ] && [ -n "${TORCH_INDEX:-}" ]; then
  echo "wheelhouse: $torch from $TORCH_INDEX"
  pip download --no-deps --dest "$folder" --index-url "$TORCH_INDEX" "$torch"
elif [ -n "$torch" ] && [ "${DEVICE:-cpu}" = cpu ]; then
  # A CPU build, where pip's own sources have one.
  pip download --no-deps --require-hashes --dest "$folder" -r "$root/requirements/torch-cpu.lock" \
    2>/dev/null || true
fi
for wheel in "$folder"/torch-*.whl; do
  [ -f "$wheel" ] || continue
  # The copy of the lock names this very file.
  version=$(basename "$wheel" | cut -d - -f 2)
  hash=$(sha256sum "$wheel" | cut -d ' ' -f 1)
  awk -v pin="torch==$version --hash=sha256:$hash" '
    /^torch==/ { print pin; inside = 1; next }
    inside && /^ / { next }
    { inside = 0; print }' "$lock" >"$copy"
done
echo "wheelhouse: $(grep -c '^[A-Za-z0-9].*==' "$lock") packages of $(basename "$lock") into $folder"
pip download --no-deps --require-hashes --dest "$folder" --find-links "$folder" -r "$copy"
pip download --no-deps --require-hashes --dest "$folder" -r "$root/requirements/uv.lock"
# What packages without a wheel are built with.
pip download --no-deps --dest "$folder" 'setuptools>=77' 'wheel>=0.45'
echo "wheelhouse: done, $(du -sh "$folder" | cut -f 1); there: make setup WHEELHOUSE=$folder"
