"""A gateway as a user starts it, and what it answers: `adapters serve --open`, `adapters ps`.

Invariant: the gateway and its engines end with the block.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
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

from bench.peft_answers import Answer

ADAPTERS = str(Path(sys.executable).with_name("adapters"))
TOP = 20


@contextlib.contextmanager
def serving(home: Path, *options: str, seconds: float = 900.0) -> Iterator[str]:
    """Serve what `home` holds until the block ends; yields the URL. The log is `home/serve.log`."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [ADAPTERS, "serve", "--open", "--port", str(port), *options]
    with (home / "serve.log").open("wb") as log:
        process = subprocess.Popen(command, env=os.environ, stdout=log, stderr=log)
        try:
            _wait(f"{url}/ready", process, seconds)
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(url: str, process: subprocess.Popen[bytes], seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"`adapters serve` ended with exit code {process.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=2) as response:
                if response.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass  # not listening yet, or not ready
        time.sleep(0.5)
    raise RuntimeError(f"the gateway was not ready within {seconds:.0f} s")


def resident() -> dict[str, dict[str, Any]]:
    """What `adapters ps --json` says of each adapter, by name."""
    output = subprocess.run([ADAPTERS, "ps", "--json"], check=True, stdout=subprocess.PIPE).stdout
    return {
        adapter["name"]: adapter
        for gateway in json.loads(output)
        for engine in gateway["engines"]
        for adapter in engine["adapters"]
    }


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
