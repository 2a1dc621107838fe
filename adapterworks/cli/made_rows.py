"""What commands share that have models make rows: who is asked, the bill, the preview, the file."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.amounts import Money
from adapterworks.cli.values import POSITIVE, WrittenFile
from adapterworks.manifests.errors import Conflict, InvalidInput

if TYPE_CHECKING:
    from adapterworks.builders.data.rows import Row
    from adapterworks.builders.endpoints.endpoint import Endpoint
    from adapterworks.builders.endpoints.kept import KeptAnswers
    from adapterworks.builders.endpoints.price import Price
    from adapterworks.builders.synthesis.making import Estimate, Made, Strategy

Command = Callable[..., None]
Item = TypeVar("Item")


def options(
    writer: str, *, writes: str, judges: str, out: str, max_tokens: int, previewed: int
) -> Callable[[Command], Command]:
    """Options of a command, which takes them as `writer` and `**shared`.

    Args:
        writer: the option that names who writes.
        writes, judges: what the two do, for the help.
        previewed: rows of a preview.
    """
    made = (
        click.option(writer, "writer", required=True, metavar="URL#MODEL", help=writes),
        click.option("--judge", metavar="URL#MODEL", help=judges),
        click.option("--key-env", metavar="NAME", help=f"Variable with the key of {writer}."),
        click.option("--judge-key-env", metavar="NAME", help="The same, of --judge."),
        click.option(
            "--out",
            type=WrittenFile(makes=True),
            default=Path(out),
            show_default=True,
            help="JSONL file of the rows.",
        ),
        click.option("--force", is_flag=True, help="Replace rows of the file that others made."),
        click.option(
            "--max-tokens",
            type=POSITIVE,
            default=max_tokens,
            show_default=True,
            help="Budget of prompts and answers, both models'.",
        ),
        click.option("--max-cost", type=Money(), help="Budget in the prices' currency."),
        click.option("--price-in", type=Money(), help="Of a million tokens of prompts."),
        click.option("--price-out", type=Money(), help="Of a million tokens of answers."),
        click.option("--judge-price-in", type=Money(), help="The same, of --judge."),
        click.option("--judge-price-out", type=Money(), help="The same, of --judge."),
        click.option("--parallel", type=click.IntRange(1, 64), default=8, show_default=True),
        click.option(
            "--preview",
            is_flag=True,
            help=f"Show {previewed} rows, what they cost and what all may; write no file.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    )

    def decorate(command: Command) -> Command:
        for option in reversed(made):
            command = option(command)
        return command

    return decorate


@dataclass(frozen=True, slots=True)
class Making:
    """What was asked for, read and checked.

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
        from adapterworks.builders.endpoints.kept import kept_answers
        from adapterworks.builders.synthesis.making import Asking, estimate, make

        def moved(begun: int, rows: int) -> None:
            total = f"/{count}" if count is not None else ""
            printing.echo_moving(f"{begun}{total} {what}, {rows} rows", last=begun == count)

        most = min(self.previewed, wanted or self.previewed) if self.preview else wanted
        folder = self.app.settings.home / "cache" / "endpoints"
        with kept_answers(folder / f"{self.kept}.jsonl") as kept:
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

    def _told(self, made: Made, kept: KeptAnswers, what: str, count: int | None) -> dict[str, Any]:
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


def making(app: App, writer: str, kept: str, previewed: int, shared: Mapping[str, Any]) -> Making:
    """What the shared options say.

    Args:
        shared: the options of `options`, without the writer.

    Raises:
        InvalidInput: an endpoint is none, a key is missing, or a price.
    """
    from adapterworks.builders.endpoints.endpoint import parse_endpoint

    judge, judge_key = shared["judge"], shared["judge_key_env"]
    of_judge = {name: shared[name] for name in ("judge_price_in", "judge_price_out")}
    if judge is None:
        alone = {"judge_key_env": judge_key, **of_judge}
        for name in (name for name, value in alone.items() if value is not None):
            option = f"--{name.replace('_', '-')}"
            raise InvalidInput(f"`{option}` is one of `--judge`", hint="name the judge, too")
    writes = parse_endpoint(writer, os.environ, shared["key_env"])
    judges = None if judge is None else parse_endpoint(judge, os.environ, judge_key)
    prices = {}
    price = _price("price", shared["price_in"], shared["price_out"])
    if price is not None:
        prices[writes] = price
    if judges is not None and judges != writes:
        own = _price("judge-price", *of_judge.values())
        if (own is None) != (price is None):
            raise InvalidInput(
                "of two models, one has a price",
                hint="say both: --price-in, --price-out, --judge-price-in, --judge-price-out",
            )
        if own is not None:
            prices[judges] = own
    if shared["max_cost"] is not None and not prices:
        raise InvalidInput(
            "`--max-cost` is a bound in money, and no prices are known",
            hint="say what a million tokens cost: --price-in 0.40 --price-out 1.60",
        )
    return Making(
        app=app,
        writer=writes,
        judge=judges,
        prices=prices,
        kept=kept,
        previewed=previewed,
        **{
            name: shared[name]
            for name in ("max_tokens", "max_cost", "parallel", "out", "force", "preview", "as_json")
        },
    )


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
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(out)


def _price(name: str, prompt: Decimal | None, completion: Decimal | None) -> Price | None:
    from adapterworks.builders.endpoints.price import Price

    if prompt is None and completion is None:
        return None
    if prompt is None or completion is None:
        raise InvalidInput(
            f"of `--{name}-in` and `--{name}-out`, one is missing",
            hint="say both, per million tokens; what is free costs 0",
        )
    return Price(prompt, completion)


def _estimate(expected: Estimate, priced: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"rows": expected.rows, "tokens": expected.tokens}
    return told | ({"cost": float(expected.cost)} if priced else {})
