#!/bin/sh
# engine BASE [none|nf4] [OPTION…]: prepares a base once, and serves it with vLLM on port 8000.
#
# BASE is a name of `adapters base list` or `hub:org/name@commit`; the word after it is `base.quantization`
# of the manifests whose adapters it is to hold (`adapters init` writes nf4; without it: none). What is
# served has exactly the values that their training saw, as dense weights. The options are vLLM's. How
# adapters come and who may ask is said by the environment: VLLM_PLUGINS, VLLM_API_KEY, …
set -eu
base=${1:?the base to serve, as in \`adapters base list\`}
shift
quantization=none
case ${1-} in
  none | nf4)
    quantization=$1
    shift
    ;;
esac
# vLLM would quantize what lies there anew: another base, that no adapter was trained on.
for option in "$@"; do
  case $option in
    --quantization | --quantization=* | -q)
      echo "engine: write \`engine $base nf4\`: $option makes another base of it" >&2
      exit 2
      ;;
  esac
done
folder=$(adapters base show "$base" --quantization "$quantization" --json |
  python -c 'import json, sys; print(json.load(sys.stdin)["served"])')
exec python -m vllm.entrypoints.openai.api_server --model "$folder" --served-model-name "$base" \
  --host 0.0.0.0 --port 8000 --enable-lora --disable-fastapi-docs "$@"
