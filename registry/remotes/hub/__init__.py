"""The Hugging Face Hub as a place releases are pushed to and pulled from.

Invariant: nothing is read from the Hub's shared cache, so what is pulled is what the token of this
call may see, and everything is pinned to a commit before a byte of it is used.

    names.py    `org/name@revision`, parsed once
    errors.py   the Hub's errors as ours
    client.py   the few calls we make
    layout.py   release files ↔ repository paths
    card.py     the model card's YAML
    push.py     release → one commit and a tag
    pull.py     commit → the same release
    blobs.py    a pushed release as a store to repair from
    fetch.py    commit → a folder for `adapterworks.registry.imports`
"""
