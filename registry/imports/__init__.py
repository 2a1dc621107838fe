"""Importing adapters trained elsewhere, without trusting a byte of them.

Invariant: nothing here executes, unpickles or maps what was given. Bytes are copied, bounded, from
a folder (or a pinned Hub commit) into a private one, checked there by arithmetic on the
safetensors header and by numpy, and only then published. torch is never imported.

    folder.py    take the few files we need out of an untrusted folder
    strictjson.py  JSON with bounds on size, depth and duplicates
    header.py    the safetensors header
    config.py    adapter_config.json, by allow-list
    modules.py   the base's modules and their shapes
    tensors.py   tensors ↔ modules ↔ config
    values.py    NaN, infinity and all-zero updates, streaming
    adapter.py   the checks in order → a clean PEFT folder
    publish.py   clean folder → release
"""
