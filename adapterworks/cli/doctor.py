"""`adapters doctor`: findings on stdout; exit code 1 if something will not work."""

from __future__ import annotations

import sys

import click

from adapterworks.app import App
from adapterworks.cli import printing

_MARKS = {
    "ok": click.style("ok  ", fg="green"),
    "info": click.style("info", fg="cyan"),
    "slow": click.style("slow", fg="yellow"),
    "fail": click.style("fail", fg="red", bold=True),
}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(app: App, as_json: bool) -> None:
    """Check this machine and say what would make it faster.

    Looks at packages and their pins, CPU, memory, /dev/shm, allocator, threads, GPU, disk, index,
    blobs and the Hub. `fail` will not work, `slow` could be faster.

    \b
    Example:
      adapters doctor
      adapters doctor --json
    """
    from adapterworks.doctor.doctor import examine

    failed = False
    found = []
    for check in examine(app):
        failed = failed or check.level == "fail"
        found.append(check.to_json())
        if not as_json:
            click.echo(f"{_MARKS[check.level]}  {check.name:<10} {check.finding}")
            if check.hint:
                click.echo(f"{'':17}{click.style('hint:', fg='cyan')} {check.hint}")
    if as_json:
        printing.echo_json(found)
    if failed:
        sys.exit(1)
