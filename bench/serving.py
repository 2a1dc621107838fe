"""A gateway as a user starts it, and what it answers: `adapters serve --open`, `adapters ps`.

Invariant: the gateway and its engines end with the block.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from bench.peft_answers import Answer

ADAPTERS = str(Path(sys.executable).with_name("adapters"))
TOP = 20


class ServingFailed(Exception):
    """A process did not come up, or did not end with everything it started."""


@contextlib.contextmanager
def serving(home: Path, *options: str, quiet: bool = True, seconds: float = 900.0) -> Iterator[str]:
    """Serve what `home` holds until the block ends; yields the URL.

    Args:
        quiet: what it says goes to `home/serve.log` instead of the terminal.
        seconds: how long it may take to be ready.

    Raises:
        ServingFailed: it did not come up, or left processes running.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [ADAPTERS, "serve", "--open", "--port", str(port), *options]
    family: list[psutil.Process] = []
    with (home / "serve.log").open("wb") as log:
        output = log if quiet else None
        process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            wait_ready(f"{url}/ready", process, seconds)
            family = psutil.Process(process.pid).children(recursive=True)
            yield url
        finally:
            end(process)
    _, alive = psutil.wait_procs(family, timeout=10)
    if alive:
        raise ServingFailed(f"the gateway left {len(alive)} processes running")


def wait_ready(url: str, process: subprocess.Popen[bytes], seconds: float = 300.0) -> None:
    """Wait until `url` answers 200.

    Raises:
        ServingFailed: the process ended, or did not answer within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            command = " ".join(map(str, process.args))  # type: ignore[arg-type]
            raise ServingFailed(f"`{command}` ended with exit code {process.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=2) as response:
                if response.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass  # not listening yet, or not ready
        time.sleep(0.2)
    raise ServingFailed(f"{url} did not answer within {seconds:.0f} s")


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end; kill it after a minute."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """A port that nothing listened on a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def resident(by: str = "name") -> dict[str, dict[str, Any]]:
    """What `adapters ps --json` says of each adapter, by its name or another of its fields."""
    return {
        adapter[by]: adapter
        for gateway in _ps()
        for engine in gateway["engines"]
        for adapter in engine["adapters"]
    }


def engine_process() -> psutil.Process:
    """The API server of the only engine of the only gateway that serves this home."""
    ((engine,),) = (gateway["engines"] for gateway in _ps())
    (server,) = psutil.Process(engine["pid"]).children()  # the guard's only child
    return server


def _ps() -> list[dict[str, Any]]:
    output = subprocess.run([ADAPTERS, "ps", "--json"], check=True, stdout=subprocess.PIPE).stdout
    gateways: list[dict[str, Any]] = json.loads(output)
    return gateways


async def ask_together(
    url: str, models: Sequence[str], conversations: Sequence[Any], *, max_tokens: int
) -> dict[str, list[Answer]]:
    """Every model's greedy answer to every conversation, all asked at the same moment."""
    from openai import AsyncOpenAI

    # A cold adapter on a busy machine may answer 503 first; its load goes on meanwhile.
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=10) as client:

        async def ask(model: str, messages: Any) -> Answer:
            completion = await client.chat.completions.create(
                model=model,
                messages=messages,
                max_tokens=max_tokens,
                temperature=0,
                logprobs=True,
                top_logprobs=TOP,
                extra_body={"return_tokens_as_token_ids": True},
            )
            logprobs = completion.choices[0].logprobs
            assert logprobs is not None
            assert logprobs.content is not None
            return Answer(
                tuple(_id(entry.token) for entry in logprobs.content),
                {_id(top.token): top.logprob for top in logprobs.content[0].top_logprobs},
            )

        pairs = [(model, messages) for model in models for messages in conversations]
        answers = await asyncio.gather(*(ask(*pair) for pair in pairs))
    count = len(conversations)
    return {model: answers[i * count : (i + 1) * count] for i, model in enumerate(models)}


def _id(token: str) -> int:
    return int(token.removeprefix("token_id:"))
