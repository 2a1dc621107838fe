"""Draws that come out the same wherever and whenever they are made again."""

from __future__ import annotations

import numpy as np

from adapterworks.manifests.digests import hash64


def generator(*parts: object) -> np.random.Generator:
    """A generator that depends on these parts alone, as text: a seed, a name, a number."""
    return np.random.Generator(np.random.PCG64(hash64("\n".join(map(str, parts)))))
