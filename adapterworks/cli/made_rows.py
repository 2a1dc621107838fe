"""Rows that models make, for the commands that have them made: the bill, the preview, the file."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.manifests.atomic import write_atomic
from adapterworks.manifests.errors import Conflict

if TYPE_CHECKING:
    from adapterworks.builders.data.rows import Row
    from adapterworks.builders.endpoints.cache import AnswerCache
    from adapterworks.builders.endpoints.endpoint import Endpoint
    from adapterworks.builders.endpoints.price import Price
    from adapterworks.builders.synthesis.making import Estimate, Made, Strategy

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Making:
    """What a command was asked to have made, read and checked (`made_rows_options.py`).

    Attributes:
        prices: of the endpoints; empty where none were said.
        kept: name of the file that keeps what endpoints say.
        previewed: rows of a preview.
        force: whether rows of the file that others made may go.
    """

    app: App
    writer: Endpoint
    judge: Endpoint | None
    prices: Mapping[Endpoint, Price]
    max_tokens: int
    max_cost: Decimal | None
    parallel: int
    out: Path
    force: bool
    preview: bool
    as_json: bool
    kept: str
    previewed: int

    @property
    def hosts(self) -> str:
        """Who is sent what is asked."""
        both = [one.host for one in (self.writer, self.judge) if one is not None]
        return " and ".join(dict.fromkeys(both))

    def run(
        self,
        strategy: Strategy[Item],
        items: Iterable[Item],
        *,
        what: str,
        count: int | None,
        wanted: int | None = None,
        line: Callable[[Row], Mapping[str, Any]],
        show: Callable[[Row], None],
        more: Callable[[Made], Mapping[str, Any]] = lambda _: {},
    ) -> None:
        """Make the rows, write or show them, and say what they cost.

        Args:
            what: the items are called so.
            count: how many there are; None if there is no end of them.
            wanted: end with so many rows.
            more: further facts for JSON.
        """
        from adapterworks.builders.endpoints.budget import Budget
        from adapterworks.builders.endpoints.cache import open_cache
        from adapterworks.builders.synthesis.making import Asking, estimate, make

        def moved(begun: int, rows: int) -> None:
            total = f"/{count}" if count is not None else ""
            printing.echo_moving(f"{begun}{total} {what}, {rows} rows", last=begun == count)

        most = min(self.previewed, wanted or self.previewed) if self.preview else wanted
        folder = self.app.settings.home / "cache" / "endpoints"
        with open_cache(folder / f"{self.kept}.jsonl") as kept:
            budget = Budget(self.max_tokens, most_cost=self.max_cost, prices=self.prices)
            made = make(
                strategy,
                items,
                Asking(self.writer, self.judge, kept, budget, self.parallel),
                endless=count is None,
                most=most,
                progress=moved if sys.stderr.isatty() else None,
            )
            told = {**self._told(made, kept, what, count), **more(made)}
        expected = estimate(made, count, wanted) if self.preview else None
        if not self.preview:
            write_lines(self.out, [line(row) for row in made.rows], replace=self.force)
        if self.as_json:
            rows = [line(row) for row in made.rows] if self.preview else str(self.out)
            told |= {"rows" if self.preview else "file": rows}
            if self.preview:
                told["estimate"] = expected and _estimate(expected, bool(self.prices))
            printing.echo_json(told)
            return
        if self.preview:
            for row in made.rows:
                show(row)
        self._summary(made, told, what, count, expected)

    def _summary(
        self,
        made: Made,
        told: Mapping[str, Any],
        what: str,
        count: int | None,
        expected: Estimate | None,
    ) -> None:
        reasons = ", ".join(f"{count} {name}" for name, count in made.left_out.items() if count)
        of = f" of {count}" if count is not None else ""
        cost = f", cost {told['cost']:g}" if "cost" in told else ""
        click.echo(
            f"{len(made.rows)} rows from {made.items}{of} {what}, {made.tokens} tokens{cost}, "
            f"{told['asked']} requests sent; left out: {reasons or 'none'}"
        )
        if expected is not None:
            cost = f", cost {expected.cost:g}" if self.prices else ""
            click.echo(f"the whole: about {expected.rows} rows, {expected.tokens} tokens{cost}")
            if self._is_too_much(expected):
                self.app.note("that is more than the budget: it would end before")
        if made.spent:
            bound = f" or the cost of {self.max_cost:f}" if self.max_cost is not None else ""
            self.app.note(
                f"the budget of {self.max_tokens} tokens{bound} ended it: raise it with "
                f"--max-tokens{' or --max-cost' if bound else ''}"
            )
        if made.idle:
            self.app.note("it ended as nothing new came: give other seeds, or a higher --novelty")
        if not self.preview:
            click.echo(str(self.out))

    def _is_too_much(self, expected: Estimate) -> bool:
        dear = self.max_cost is not None and expected.cost > self.max_cost
        return dear or expected.tokens > self.max_tokens

    def _told(self, made: Made, kept: AnswerCache, what: str, count: int | None) -> dict[str, Any]:
        told: dict[str, Any] = {
            "kept": len(made.rows),
            what: made.items,
            "of": count,
            "tokens": made.tokens,
            "asked": kept.asked,
            "sent_tokens": kept.sent_tokens,
            "left_out": made.left_out,
            "spent": made.spent,
            "idle": made.idle,
        }
        if self.prices:
            told["cost"] = float(made.cost)
            sent = (self.prices[who].of(*tokens) for who, tokens in kept.sent.items())
            told["sent_cost"] = float(sum(sent, Decimal(0)))
        return told


def write_lines(out: Path, lines: Sequence[Mapping[str, Any]], *, replace: bool) -> None:
    """Write the whole file or none of it.

    Args:
        replace: whether rows may go that are in the file and not among these.

    Raises:
        Conflict: some would, as rows that somebody has corrected.
    """
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    if out.is_file() and not replace:
        there = out.read_bytes().splitlines()
        lost = len(set(there) - set(text.encode().splitlines()))
        if lost:
            raise Conflict(
                f"`{out}` has {lost} rows that this run did not make",
                hint="name another file with --out, or add --force; what was answered is kept, and "
                "the same command asks for none of it again",
            )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, text)


def _estimate(expected: Estimate, priced: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"rows": expected.rows, "tokens": expected.tokens}
    return told | ({"cost": float(expected.cost)} if priced else {})
