"""A stranger's fingerprint: the probes that every engine is asked before it answers for a release.

Invariant: it has the form that a proof reads, asking it costs no more than our own would by a small
factor, and no probe is longer than a row: its size is somebody else's choice, its price is paid at
each load, and by every export and merge in memory. Where the base is here, it can read the tokens.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from adapterworks.registry.imports.errors import ImportRefused

FINGERPRINT = "fingerprint.json"
# Tokens that an engine would read for one proof, if it is one that can only be asked for generated
# tokens: ours take about a thousand there, and a seventh of that elsewhere.
MAX_TOKENS = 1 << 20
# Of one probe, which Hugging Face reads at once; our own end with the last position compared.
MAX_PROBE = 1 << 15
_Token = Annotated[int, Field(ge=0, lt=1 << 24, strict=True)]
_Top = Annotated[list[tuple[_Token, FiniteFloat]], Field(min_length=1, max_length=64)]
_Tops = Annotated[list[_Top], Field(min_length=1, max_length=64)]


class _Probe(BaseModel):
    model_config = ConfigDict(extra="ignore")

    token_ids: Annotated[list[_Token], Field(min_length=2, max_length=MAX_PROBE)]
    positions: Annotated[list[_Token], Field(min_length=1, max_length=64)]
    adapter: _Tops
    base: _Tops


class _Fingerprint(BaseModel):
    model_config = ConfigDict(extra="ignore")

    schema_version: Literal[1]
    base_digest: str
    template_digest: str
    probes: Annotated[list[_Probe], Field(min_length=1, max_length=64)]


def check_fingerprint(table: dict[str, Any], checkpoint: Path | None = None) -> None:
    """Check a parsed `fingerprint.json`.

    Args:
        checkpoint: of its base, if that is here.

    Raises:
        ImportRefused: naming the first place that is not as it must be.
    """
    try:
        found = _Fingerprint.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ImportRefused(FINGERPRINT, f"`{where}`: {first['msg']}") from error
    cost = sum(len(probe.token_ids) * len(probe.positions) for probe in found.probes)
    if cost > MAX_TOKENS:
        raise ImportRefused(FINGERPRINT, f"a proof would take {cost} tokens, {MAX_TOKENS} at most")
    vocabulary, context = (None, None) if checkpoint is None else _reads(checkpoint)
    for index, probe in enumerate(found.probes):
        count, last = len(probe.positions), len(probe.token_ids)
        if not count == len(probe.adapter) == len(probe.base):
            raise ImportRefused(FINGERPRINT, f"probe {index} has not one answer a position")
        if min(probe.positions) < 1 or max(probe.positions) >= last:
            raise ImportRefused(FINGERPRINT, f"probe {index} has a position outside its tokens")
        if vocabulary is not None and max(probe.token_ids) >= vocabulary:
            raise ImportRefused(
                FINGERPRINT,
                f"probe {index} has the token {max(probe.token_ids)}, its base has {vocabulary}",
            )
        if context is not None and last > context:
            raise ImportRefused(
                FINGERPRINT, f"probe {index} has {last} tokens, its base reads {context} at most"
            )


def _reads(checkpoint: Path) -> tuple[int | None, int | None]:
    """(tokens of the vocabulary, positions of the context) of a base, where it says them."""
    config = json.loads((checkpoint / "config.json").read_bytes())
    config = config.get("text_config") or config
    context = config.get("max_position_embeddings") or config.get("n_positions")
    return config.get("vocab_size"), context
