"""The report of an evaluation as tables on a terminal: metrics, retention, safety, judge, gates."""

from __future__ import annotations

from typing import Any

import click

from adapterworks.cli.printing import echo_table


def show(report: dict[str, Any]) -> None:
    """Print a report.

    Args:
        report: as `evaluation.json` has it.
    """
    _show_metrics(report)
    _show_drawn(report)
    if report["retention"]:
        _show_retention(report["retention"])
    if report.get("safety"):
        _show_safety(report["safety"])
    _show_endpoints(report.get("endpoints", {}))
    if "judge" in report:
        _show_judged(report["judge"])
    for gate in report["gates"]:
        word = "FAIL" if gate.get("judged", True) else "----"
        click.echo(f"{'pass' if gate['passed'] else word}  {gate['why']}")


def _show_metrics(report: dict[str, Any]) -> None:
    """A table of all test rows, and one of each slice of them."""
    subjects = report["subjects"]
    references = [name for name in subjects if name != "candidate"]
    parts = [(f"{report['rows']} test rows", report["metrics"])]
    for name, part in report["slices"].items():
        parts.append((f"{part['rows']} of them: {name}", part["metrics"]))
    for title, metrics in parts:
        click.echo(title)
        lines = []
        for name, entry in metrics.items():
            line = [name, *(f"{entry['values'][subject]:.3f}" for subject in subjects)]
            for reference in references:
                gain = entry["gains"][reference]
                line += [
                    f"{gain['gain']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]",
                    f"{gain['p_holm']:.3g}",
                ]
            lines.append(line)
        headers = ["metric", *subjects]
        for reference in references:
            headers += [f"gain over {reference} [{report['confidence']:.0%}]", "p (Holm)"]
        echo_table(headers, lines)


def _show_drawn(report: dict[str, Any]) -> None:
    """Answers that were too long, and pass@k."""
    for name, count in report.get("cut", {}).items():
        click.echo(f"{name}: {count} of {report['rows']} answers cut by `evaluate.max_new_tokens`")
    drawn = report.get("samples")
    if not drawn:
        return
    click.echo(f"of {drawn['n']} answers drawn to each row at temperature {drawn['temperature']:g}")
    subjects: list[str] = []
    lines = []
    for metric, found in drawn["metrics"].items():
        for name, entry in found.items():
            subjects = [*entry["values"]]
            gains = [
                f"{gain['gain']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]"
                for gain in entry["gains"].values()
            ]
            values = [f"{value:.3f}" for value in entry["values"].values()]
            lines.append([f"{metric} {name}", *values, *gains])
    gained = [f"gain over {name} [95%]" for name in subjects if name != "candidate"]
    echo_table(["metric", *subjects, *gained], lines)


def _show_retention(retention: dict[str, Any]) -> None:
    """What the base could do and the candidate still can."""
    click.echo("retention")
    kept = [("perplexity", retention["perplexity"]), *retention["suites"].items()]
    echo_table(
        ["on", "base", "candidate", "change [95%]"],
        [
            (
                name,
                f"{pair['base']:.3f}",
                f"{pair['candidate']:.3f}",
                f"{pair.get('change', pair.get('increase')):+.3f} "
                f"[{pair['low']:+.3f}, {pair['high']:+.3f}]",
            )
            for name, pair in kept
        ],
    )


def _show_safety(found: dict[str, Any]) -> None:
    click.echo(f"of {found['harmful']} harmful and {found['harmless']} harmless requests, refused")
    headers = ["against"]
    for what in ("harmful", "harmless"):
        headers += [what, "candidate", "change [95%]"]
    lines = []
    for name, changes in found["against"].items():
        line = [name]
        for one in (changes["refusal"], changes["over_refusal"]):
            line += [
                f"{one['base']:.3f}",
                f"{one['candidate']:.3f}",
                f"{one['change']:+.3f} [{one['low']:+.3f}, {one['high']:+.3f}]",
            ]
        lines.append(line)
    echo_table(headers, lines)


def _show_endpoints(endpoints: dict[str, Any]) -> None:
    """What models behind others' endpoints were sent and cost."""
    for name, used in endpoints.items():
        cost = f", cost {used['cost']:.4g}" if "cost" in used else ""
        click.echo(
            f"{name}: {used['prompt_tokens']} prompt and {used['completion_tokens']} completion "
            f"tokens{cost}, {used['cut']} answers cut, {used.get('declined', 0)} questions declined"
        )


def _show_judged(judged: dict[str, Any]) -> None:
    click.echo(f"judged by {judged['model']}, in both orders")
    echo_table(
        ["against", "better", "worse", "tie", "order decided", "unread", "gain [95%]", "p"],
        [
            (
                name,
                told["wins"],
                told["losses"],
                told["tied"],
                told["flipped"],
                told["unread"],
                f"{told['gain']:+.3f} [{told['low']:+.3f}, {told['high']:+.3f}]",
                f"{told['p']:.3g}",
            )
            for name, told in judged["against"].items()
        ],
    )
