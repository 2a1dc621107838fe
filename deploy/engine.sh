#!/bin/sh
# engine BASE [OPTION…]: prepares a base once, and serves it with vLLM on port 8000.
#
# BASE is a name of `adapters base list` or `hub:org/name@commit`; the options are vLLM's. How
# adapters come and who may ask is said by the environment: VLLM_PLUGINS, VLLM_API_KEY, …
set -eu
base=${1:?the base to serve, as in \`adapters base list\`}
shift
folder=$(adapters base show "$base" --json |
  python -c 'import json, sys; print(json.load(sys.stdin)["checkpoint"])')
exec python -m vllm.entrypoints.openai.api_server --model "$folder" --served-model-name "$base" \
  --host 0.0.0.0 --port 8000 --enable-lora --disable-fastapi-docs "$@"
