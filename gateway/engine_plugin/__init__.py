"""What runs inside vLLM: a faster multi-LoRA path on CPU, and adapters that are not LoRA.

Invariant: importing this package changes nothing; `register` (vLLM's `vllm.general_plugins` entry
point, called once in every vLLM process) changes vLLM only where a version it was tested with
offers the hook, and leaves the stock engine otherwise.
"""

from adapterworks.gateway.engine_plugin.entry import register

__all__ = ["register"]
