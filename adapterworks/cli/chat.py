"""`adapters chat`: one question to a running gateway: the answer as it comes, or several beside
one another."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.chat_asking import Address, answered, answered_whole, pieces, text_of
from adapterworks.cli.completion import complete_ref
from adapterworks.cli.values import POSITIVE, Real


@click.command()
@click.argument("ref", shell_complete=complete_ref)
@click.argument(
    "others", nargs=-1, metavar="[REF…] PROMPT", required=True, shell_complete=complete_ref
)
@click.option(
    "--url",
    default="http://127.0.0.1:8080",
    show_default=True,
    envvar="ADAPTERS_URL",
    help="Address of the gateway.",
)
@click.option("--max-tokens", type=POSITIVE, default=256, show_default=True)
@click.option("--temperature", type=Real(0.0, 2.0), default=0.0, show_default=True)
@click.option("--system", help="A system message to send first.")
@click.option(
    "--wait",
    type=Real(0.0),
    default=600.0,
    show_default=True,
    help="Seconds to retry while the adapter is being loaded.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the whole answer as JSON.")
@click.pass_obj
def command(
    app: App,
    ref: str,
    others: tuple[str, ...],
    url: str,
    max_tokens: int,
    temperature: float,
    system: str | None,
    wait: float,
    as_json: bool,
) -> None:
    """Ask one or several adapters a question from the terminal.

    REF is an adapter (`medical`, `medical@2`, `medical:candidate`) or the base's name; PROMPT may
    be `-` for standard input. The key is read from ADAPTERS_KEY. `adapters serve` must be running.
    While the adapter is being loaded, the question is retried. With several REFs, the answers are
    shown side by side.

    \b
    Example:
      adapters chat medical "Give the ICD-10-CM category for: amebic balanitis"
      adapters chat medical:candidate - < question.txt
      adapters chat medical@2 medical@1 smollm2-135m-instruct "amebic balanitis"
    """
    *refs, prompt = (ref, *others)
    address = Address.parse(url)
    text = printing.standard_input() if prompt == "-" else prompt
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": text})
    whole = as_json or len(refs) > 1
    body = {
        "messages": messages,
        "max_tokens": max_tokens,
        "temperature": temperature,
        "stream": not whole,
    }
    if whole:
        answers = [answered_whole(address, {"model": name, **body}, wait) for name in refs]
        if as_json:
            told = answers[0] if len(refs) == 1 else answers
            printing.echo_json(told)
        else:
            _side_by_side(refs, answers)
        return
    response = answered(address, {"model": ref, **body}, wait)
    try:
        for piece in pieces(address, response):
            click.echo(printing.harmless(piece), nl=False)
    finally:
        click.echo()  # what is said of a broken answer begins a line
    digest = response.getheader("x-adapter-digest")
    printing.note(f"{ref} is {digest or 'the base itself'}", dim=True)


def _side_by_side(refs: Sequence[str], answers: Sequence[dict[str, Any]]) -> None:
    texts = [text_of(answer) for answer in answers]
    if sys.stdout.isatty():
        printing.echo_table(refs, [texts])
    else:  # one line an answer: two columns of prose are no use to a program
        printing.echo_table(("REF", "ANSWER"), zip(refs, texts, strict=True))
    for ref, answer in zip(refs, answers, strict=True):
        digest = answer["adapter_digest"] or "the base itself"
        printing.note(f"{ref} is {digest}", dim=True)
