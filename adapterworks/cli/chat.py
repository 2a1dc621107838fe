"""`adapters chat`: one question to a running gateway: the answer as it comes, or several beside
one another."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.manifests.errors import (
    AdapterworksError,
    InvalidInput,
    NotFound,
    Refused,
    Unavailable,
)

_SECONDS = 600


@click.command()
@click.argument("ref")
@click.argument("others", nargs=-1, metavar="[REF…] PROMPT", required=True)
@click.option(
    "--url",
    default="http://127.0.0.1:8080",
    show_default=True,
    envvar="ADAPTERS_URL",
    help="Where the gateway listens.",
)
@click.option("--max-tokens", type=click.IntRange(1), default=256, show_default=True)
@click.option("--temperature", type=click.FloatRange(0.0, 2.0), default=0.0, show_default=True)
@click.option("--system", help="A system message to send first.")
@click.option(
    "--wait",
    type=click.FloatRange(0.0),
    default=600.0,
    show_default=True,
    help="Seconds to ask again while the gateway says that the adapter is being loaded.",
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
    """Ask an adapter from the terminal, or several the same.

    REF is an adapter (`medical`, `medical@2`, `medical:candidate`) or the base's name; PROMPT may
    be `-` for standard input. A key is taken from ADAPTERS_KEY. Starts nothing: `adapters serve`
    must be running. While the adapter is being loaded the question is asked again. With several
    REFs the answers stand side by side.

    \b
    Example:
      adapters chat medical "Give the ICD-10-CM category for: amebic balanitis"
      adapters chat medical:candidate - < question.txt
      adapters chat medical@2 medical@1 smollm2-135m-instruct "amebic balanitis"
    """
    *refs, prompt = (ref, *others)
    text = sys.stdin.read() if prompt == "-" else prompt
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
        answers = [_whole(url, {"model": name, **body}, wait) for name in refs]
        if as_json:
            told = answers[0] if len(refs) == 1 else answers
            printing.echo_json(told)
        else:
            _side_by_side(refs, answers)
        return
    response = _answered(url, {"model": ref, **body}, wait)
    for piece in _pieces(response):
        click.echo(piece, nl=False)
    click.echo()
    digest = response.getheader("x-adapter-digest")
    click.secho(f"{ref} is {digest or 'the base itself'}", dim=True, err=True)


def _whole(url: str, body: dict[str, Any], wait: float) -> dict[str, Any]:
    """A whole answer, with the digest of what gave it.

    Raises:
        AdapterworksError: as `_answered`.
    """
    response = _answered(url, body, wait)
    answer: dict[str, Any] = json.loads(response.read())
    answer["adapter_digest"] = response.getheader("x-adapter-digest")
    return answer


def _side_by_side(refs: Sequence[str], answers: Sequence[dict[str, Any]]) -> None:
    texts = [answer["choices"][0]["message"]["content"] or "" for answer in answers]
    if sys.stdout.isatty():
        printing.echo_table(refs, [texts])
    else:  # one line an answer: two columns of prose are no use to a program
        printing.echo_table(("REF", "ANSWER"), zip(refs, texts, strict=True))
    for ref, answer in zip(refs, answers, strict=True):
        digest = answer["adapter_digest"] or "the base itself"
        click.secho(f"{ref} is {digest}", dim=True, err=True)


def _answered(url: str, body: dict[str, Any], wait: float) -> HTTPResponse:
    """Send the request, again for `wait` seconds while the gateway asks for that.

    Raises:
        AdapterworksError: as `_post` does, the last time.
    """
    end = time.monotonic() + wait
    said = ""
    while True:
        try:
            return _post(url, body)
        except Unavailable as error:
            if error.retry_after is None or time.monotonic() + error.retry_after >= end:
                raise
            if error.message != said:
                said = error.message
                click.secho(f"waiting: {said}", dim=True, err=True)
            time.sleep(error.retry_after)


def _post(url: str, body: dict[str, Any]) -> HTTPResponse:
    """Send the request.

    Raises:
        Unavailable: nothing answers at the URL.
        NotFound, Refused, InvalidInput: as the gateway says.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidInput(f"`{url}` is not an http URL")
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=_SECONDS)
    headers = {"content-type": "application/json"}
    if key := os.environ.get("ADAPTERS_KEY"):
        headers["authorization"] = f"Bearer {key}"
    try:
        path = parts.path.rstrip("/").removesuffix("/v1") + "/v1/chat/completions"
        connection.request("POST", path, json.dumps(body).encode(), headers)
        response = connection.getresponse()
    except (OSError, HTTPException) as error:
        raise Unavailable(
            f"no gateway answers at {url}",
            hint="start one with `adapters serve --open`, or say where it is with `--url`",
        ) from error
    if response.status == 200:
        return response
    raise _error(response.status, response.read(), response.getheader("retry-after"))


def _error(status: int, body: bytes, retry_after: str | None) -> AdapterworksError:
    try:
        text = str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        text = f"the gateway answered {status}"
    message, _, hint = text.partition("\n\nhint: ")
    kinds: dict[int, type[AdapterworksError]] = {
        400: InvalidInput,
        401: Refused,
        404: NotFound,
        422: Refused,
    }
    kind = kinds.get(status)
    if kind is not None:
        return kind(message, hint=hint or None)
    # A proxy in between may give a date, which is not worth reading.
    seconds = float(retry_after) if retry_after and retry_after.isdecimal() else None
    return Unavailable(message, hint=hint or None, retry_after=seconds)


def _pieces(response: HTTPResponse) -> Iterator[str]:
    """The answer's text, piece by piece.

    Raises:
        Unavailable: the answer was broken off.
    """
    for line in response:
        if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
            continue
        event = json.loads(line[len(b"data: ") :])
        if "error" in event:
            raise Unavailable(event["error"]["message"].partition("\n\n")[0])
        for choice in event["choices"]:
            yield choice["delta"].get("content") or ""
