"""`python -m … MODEL [LORA]`: llama.cpp's server until standard input ends; prints its address.

Everything is computed in float32 as far as llama.cpp lets one choose: its cache of keys and values
is half precision by default, which would be taken for an error of the file.
"""

from __future__ import annotations

import os
import sys

CONTEXT = 4096


def main(model: str, lora: str | None = None) -> None:
    """Serve until the parent closes standard input."""
    import xllamacpp

    address = os.dup(1)
    os.dup2(2, 1)  # llama.cpp writes its log to standard output too
    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    parameters.n_ctx = CONTEXT
    parameters.n_parallel = 1
    parameters.n_gpu_layers = 0
    parameters.warmup = False
    threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    for part in (parameters.cpuparams, parameters.cpuparams_batch):
        part.n_threads = threads
        part.poll = 0  # its threads spin otherwise, which on a busy machine costs all of the time
    parameters.port = 0
    parameters.hostnames = ["127.0.0.1"]
    parameters.api_keys = [os.environ.pop("ADAPTERS_READER_KEY")]
    parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    parameters.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    if lora is not None:
        parameters.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(lora, 1.0)]
    server = xllamacpp.Server(parameters)
    os.write(address, f"{server.listening_address}\n".encode())
    os.close(address)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
