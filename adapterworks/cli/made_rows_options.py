"""Options of the commands that have models make rows: who is asked, what it may cost, where to."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapterworks.app import App
from adapterworks.cli.amounts import Money
from adapterworks.cli.made_rows import Making
from adapterworks.cli.values import POSITIVE, WrittenFile
from adapterworks.manifests.errors import InvalidInput

if TYPE_CHECKING:
    from adapterworks.builders.endpoints.price import Price

Command = Callable[..., None]


def options(
    writer: str, *, writes: str, judges: str, out: str, max_tokens: int, previewed: int
) -> Callable[[Command], Command]:
    """The options that such commands share; a command takes them as `writer` and `**shared`.

    Args:
        writer: the option that names who writes, as `--generator`.
        writes, judges: what the two do, for the help.
        out: the default of --out.
        max_tokens: the default of --max-tokens.
        previewed: rows of a preview.
    """
    made = (
        click.option(writer, "writer", required=True, metavar="URL#MODEL", help=writes),
        click.option("--judge", metavar="URL#MODEL", help=judges),
        click.option(
            "--key-env", metavar="NAME", help=f"Environment variable with the API key for {writer}."
        ),
        click.option(
            "--judge-key-env",
            metavar="NAME",
            help="Environment variable with the API key for --judge.",
        ),
        click.option(
            "--out",
            type=WrittenFile(makes=True),
            default=Path(out),
            show_default=True,
            help="JSONL file to write.",
        ),
        click.option(
            "--force", is_flag=True, help="Replace rows in the file that another run made."
        ),
        click.option(
            "--max-tokens",
            type=POSITIVE,
            default=max_tokens,
            show_default=True,
            help="Token budget for prompts and answers of both models.",
        ),
        click.option("--max-cost", type=Money(), help="Budget in the currency of the prices."),
        click.option("--price-in", type=Money(), help="Price per million prompt tokens."),
        click.option("--price-out", type=Money(), help="Price per million completion tokens."),
        click.option("--judge-price-in", type=Money(), help="The same for --judge."),
        click.option("--judge-price-out", type=Money(), help="The same for --judge."),
        click.option("--parallel", type=click.IntRange(1, 64), default=8, show_default=True),
        click.option(
            "--preview",
            is_flag=True,
            help=f"Show {previewed} rows, their cost and the estimated total; write no file.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    )

    def decorate(command: Command) -> Command:
        for option in reversed(made):
            command = option(command)
        return command

    return decorate


def read_options(
    app: App, writer: str, kept: str, previewed: int, shared: Mapping[str, Any]
) -> Making:
    """What was asked for.

    Args:
        writer: URL#MODEL of who writes.
        kept: name of the file that keeps what endpoints say.
        previewed: rows of a preview.
        shared: the values of `options`, without the writer.

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
