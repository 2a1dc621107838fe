"""A stranger's fingerprint: the probes that every engine is asked before it answers for a release.

Invariant: it has the form that a proof reads, and asking it costs no more than our own would by a
small factor: its size is somebody else's choice, its price is paid at each load.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from adapterworks.registry.imports.errors import ImportRefused

FINGERPRINT = "fingerprint.json"
# Tokens that an engine would read for one proof, if it is one that can only be asked for generated
# tokens: ours take about a thousand there, and a seventh of that elsewhere.
MAX_TOKENS = 1 << 20
_Token = Annotated[int, Field(ge=0, lt=1 << 24, strict=True)]
_Top = Annotated[list[tuple[_Token, FiniteFloat]], Field(min_length=1, max_length=64)]
_Tops = Annotated[list[_Top], Field(min_length=1, max_length=64)]


class _Probe(BaseModel):
    model_config = ConfigDict(extra="ignore")

    token_ids: Annotated[list[_Token], Field(min_length=2)]
    positions: Annotated[list[_Token], Field(min_length=1, max_length=64)]
    adapter: _Tops
    base: _Tops


class _Fingerprint(BaseModel):
    model_config = ConfigDict(extra="ignore")

    schema_version: Literal[1]
    base_digest: str
    template_digest: str
    probes: Annotated[list[_Probe], Field(min_length=1, max_length=64)]


def check_fingerprint(table: dict[str, Any]) -> None:
    """Check a parsed `fingerprint.json`.

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
    for index, probe in enumerate(found.probes):
        count, last = len(probe.positions), len(probe.token_ids)
        if not count == len(probe.adapter) == len(probe.base):
            raise ImportRefused(FINGERPRINT, f"probe {index} has not one answer a position")
        if min(probe.positions) < 1 or max(probe.positions) >= last:
            raise ImportRefused(FINGERPRINT, f"probe {index} has a position outside its tokens")
