"""Option types for amounts and durations as people write them: `50M`, `100k`, `90d`."""

from __future__ import annotations

import re
from decimal import Decimal

import click

_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)([kMG]?)")
_SCALE = {"": 1, "k": 1_000, "M": 1_000_000, "G": 1_000_000_000}
_MONEY = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
_DURATION = re.compile(r"(\d+)([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
NO_LIMIT = 0
_MOST = 10**15  # what both kinds of database hold, and sums of it
_LONGEST = 100 * 366 * 86400


class Amount(click.ParamType[int]):
    """A count from 1 to 10¹⁵, with `k`, `M` or `G`; `none` is NO_LIMIT."""

    name = "amount"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        if isinstance(value, int):
            return value
        if value == "none":
            return NO_LIMIT
        match = _AMOUNT.fullmatch(value)
        exact = Decimal(match[1]) * _SCALE[match[2]] if match else Decimal(0)
        amount = int(exact) if exact == exact.to_integral_value() else 0
        if not 1 <= amount <= _MOST:
            self.fail(f"`{value}` is not an amount; write 600, 100k, 50M or `none`", param, ctx)
        return amount


class ShareOrConsent(click.ParamType[float | str]):
    """A number above zero, or one of the words of consent: `none`, `own`, `all`."""

    name = "number|none|own|all"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | str:
        if not isinstance(value, str) or value in ("none", "own", "all"):
            return value
        try:
            return float(value)
        except ValueError:
            self.fail(f"`{value}` is no number, and none of none, own, all", param, ctx)


class Money(click.ParamType[Decimal]):
    """An amount of money in whatever currency, exactly: `0`, `2.50`."""

    name = "money"

    def convert(
        self, value: str | Decimal, param: click.Parameter | None, ctx: click.Context | None
    ) -> Decimal:
        if isinstance(value, Decimal):
            return value
        if not _MONEY.fullmatch(value):
            self.fail(f"`{value}` is no amount of money; write 2.50", param, ctx)
        return Decimal(value)


class Duration(click.ParamType[int]):
    """A time span in seconds, of a century at most: `30m`, `12h`, `90d`, `8w`."""

    name = "duration"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        if isinstance(value, int):
            return value
        match = _DURATION.fullmatch(value)
        if match is None or not 1 <= int(match[1]) * _SECONDS[match[2]] <= _LONGEST:
            self.fail(f"`{value}` is not a time span; write 30m, 12h, 90d or 8w", param, ctx)
        return int(match[1]) * _SECONDS[match[2]]
