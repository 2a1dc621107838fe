"""What a tenant has agreed to have kept of its traffic; nothing, unless it says so.

Invariant: a policy that exists is within its bounds; where there is none nothing is kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from adapterworks.gateway.tenants.patterns import opens
from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.exchanges.exchange import SHARES, Share

OnPersonal = Literal["redact", "drop"]
SHORTEST, LONGEST = 60, 10 * 366 * 86400  # seconds
_DRAWN_BYTES = 8


@dataclass(frozen=True, slots=True)
class Consent:
    """What is kept.

    Attributes:
        adapters: patterns as in `allow`.
        retain: seconds after which it is removed.
        share: who may learn from it.
        sample: the share of answers that is kept, above 0 and at most 1.
        on_personal: whether personal data and secrets are taken out, or the exchange is not kept.
    """

    adapters: tuple[str, ...]
    retain: int = 30 * 86400
    share: Share = "none"
    sample: float = 1.0
    on_personal: OnPersonal = "redact"

    def __post_init__(self) -> None:
        if not SHORTEST <= self.retain <= LONGEST:
            raise InvalidInput(
                f"`retain` must be from {SHORTEST} s to ten years, not {self.retain} s",
                hint="write --retain 30d",
            )
        if self.share not in SHARES:
            raise InvalidInput(f"`share` must be none, own or all, not `{self.share}`")
        if not 0 < self.sample <= 1:
            raise InvalidInput(
                f"`sample` must be above 0 and at most 1, not {self.sample}",
                hint="--capture none keeps nothing",
            )
        if self.on_personal not in ("redact", "drop"):
            raise InvalidInput(f"`on-personal` must be redact or drop, not `{self.on_personal}`")

    def covers(self, name: str) -> bool:
        """Whether answers of an adapter (or `base:NAME`) may be kept."""
        return opens(self.adapters, name)

    def takes(self, receipt: str) -> bool:
        """Whether the answer with this receipt is in the sample.

        A hash of the receipt decides: any receipt can be drawn, and one that is asked again after
        a crash, as a batch's line is, is drawn as before.
        """
        drawn = hashlib.sha256(receipt.encode()).digest()[:_DRAWN_BYTES]
        return int.from_bytes(drawn) < self.sample * float(2 ** (8 * _DRAWN_BYTES))

    def to_json(self) -> str:
        """As the index has it."""
        return json.dumps({**asdict(self), "adapters": list(self.adapters)}, sort_keys=True)


def consented(before: Consent | None, said: Mapping[str, Any], *, off: bool) -> Consent | None:
    """The consent with what is said anew; what is not said stays.

    Args:
        said: attributes by name.
        off: nothing further is to be kept.

    Raises:
        InvalidInput: something is said of capturing where nothing is captured, or out of bounds.
    """
    if off:
        if said:
            raise InvalidInput(
                f"`{next(iter(said))}` says something of capturing, which is turned off"
            )
        return None
    if before is None and "adapters" not in said:
        raise InvalidInput(
            f"`{next(iter(said))}` says something of capturing, and nothing is captured",
            hint="say of which adapters: --capture medical",
        )
    return Consent(**said) if before is None else replace(before, **said)


def consent_of(text: str | None) -> Consent | None:
    """What the index has."""
    if text is None:
        return None
    values: dict[str, Any] = json.loads(text)
    return Consent(**{**values, "adapters": tuple(values["adapters"])})
