#!/usr/bin/env bash
# One visit to a GPU, under eight minutes: what only a GPU can show.
#
#   bash bench/gpu.sh [FOLDER]        writes into FOLDER (default bench/results/gpu)
#
#   memory.md   planned and measured peaks, tokens/s: LoRA, QLoRA, full and others, on a random base
#   speed.md    tokens/s beside TRL + PEFT on the medical rows
#   tests.txt   the loss scale of fp16, NF4 digests and planned memory, with a device to run on
#
# It has not been run yet: no GPU was there when it was written. Each part has a time of its own and
# may fail without the others; what failed is said at the end, and by the exit code.
set -u
cd "$(dirname "$0")/.."
out=${1:-${OUT:-bench/results/gpu}}
mkdir -p "$out"
python=${PYTHON:-.venv/bin/python}
failed=""

part() { # name, seconds, command …
  name=$1 seconds=$2
  shift 2
  echo "== $name (at most $seconds s)" >&2
  timeout "$seconds" "$@" >"$out/$name" 2>"$out/$name.log" || failed="$failed $name"
}

"$python" -c 'import torch; print(torch.__version__, torch.cuda.get_device_name())' \
  >"$out/device.txt" 2>&1 || { cat "$out/device.txt"; echo "no GPU here"; exit 2; }
part memory.md 240 "$python" -m bench.memory
part tests.txt 90 "$python" -m pytest -q -p no:cacheprovider \
  tests/builders/training/test_step.py tests/builders/training/test_planned_memory.py \
  tests/builders/plan/test_memory.py
part speed.md 120 "$python" -m bench.build_throughput --rows 80 --rounds 1
cat "$out"/device.txt "$out"/memory.md "$out"/speed.md
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
