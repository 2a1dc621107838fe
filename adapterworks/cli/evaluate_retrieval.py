"""`adapters eval --with-retrieval`: a release with passages beside the same without."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from adapterworks.app import App
from adapterworks.cli import printing


def run(
    app: App,
    ref: str,
    places: tuple[Path, ...],
    *,
    most: int,
    limit: int | None,
    data_dir: Path | None,
    engine: str | None,
    predictions: Path | None,
    as_json: bool,
    progress: Callable[[str, int, int], None],
    say: Callable[[str], None],
) -> None:
    """Ask, compare and print.

    Raises:
        InvalidInput, NotFound: as `evaluate_with_retrieval`.
    """
    from adapterworks.builders.retrieving.evaluate import Retrieval, evaluate_with_retrieval
    from adapterworks.engines.compose import compose_builders_engines

    found = evaluate_with_retrieval(
        ref,
        Retrieval(places, most),
        limit=limit,
        data_dir=data_dir,
        registry=app.registry,
        bases=app.bases,
        cache=app.settings.home / "cache",
        engines=compose_builders_engines(app, wanted=engine, say=say),
        progress=progress,
        say=say,
    )
    if as_json:
        printing.echo_json(found.report)
    else:
        _print(found.report)
    if predictions is not None:
        lines = (json.dumps(line, ensure_ascii=False) + "\n" for line in found.lines)
        predictions.write_text("".join(lines), encoding="utf-8")


def _print(report: dict[str, Any]) -> None:
    names = {"candidate": "with", "base with": "base, with", "without": "without"}
    subjects = report["subjects"]
    told = report["retrieval"]
    click.echo(
        f"{report['rows']} test rows, {told['most']} of {told['passages']} passages each (BM25)"
    )
    headers = ["metric", *(names.get(name, name) for name in subjects)]
    headers += [f"gain over {names.get(name, name)} [95%]" for name in subjects[:-1]]
    lines = []
    for name, entry in report["metrics"].items():
        line = [name, *(f"{entry['values'][subject]:.3f}" for subject in subjects)]
        for subject in subjects[:-1]:
            gain = entry["gains"][subject]
            line.append(f"{gain['gain']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]")
        lines.append(line)
    printing.echo_table(headers, lines)
    shares = {"reference answers in the passages": told["reference_found"]}
    for name, share in told["faithfulness"].items():
        shares[f"words of the answer in a sentence of them: {names[name]}"] = share
    for title, share in shares.items():
        click.echo(f"{title}: {share['mean']:.1%} [{share['low']:.1%}, {share['high']:.1%}]")
