"""llama.cpp as a reader: its own server, from the package `xllamacpp`, in a process of its own.

Invariant: the server listens on this machine's loopback only, with a key that nobody else knows,
and is gone when the block ends; what it says when it refuses a file is the error's text.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from importlib import metadata
from pathlib import Path
from typing import Any

from adapterworks.builders.exports.readers.reader import Distribution, Talk, Unrendered
from adapterworks.manifests.errors import Refused


class LlamaCpp:
    """A `Reader` over a running server.

    Args:
        address: `http://127.0.0.1:PORT`.
        key: that it was started with.
    """

    name = "llama.cpp"

    def __init__(self, address: str, key: str) -> None:
        self._host = address.removeprefix("http://")
        self._key = key
        self.version = f"xllamacpp {metadata.version('xllamacpp')}"

    def next_token(self, token_ids: Sequence[int], count: int) -> Distribution:
        """See `Reader`.

        The server says nothing of a token that is part of a character, so it is made to choose a
        whole one; what it reports are the model's probabilities all the same.
        """
        whole = self.tokenize("a")[0]
        answer = self._complete(token_ids, 1, n_probs=count, logit_bias=[[whole, 1000.0]])
        top = answer["completion_probabilities"][0]["top_logprobs"]
        return {entry["id"]: entry["logprob"] for entry in top}

    def greedy(self, token_ids: Sequence[int], count: int) -> list[int]:
        """See `Reader`."""
        tokens: list[int] = self._complete(token_ids, count)["tokens"]
        return tokens

    def ends_with(self, token_ids: Sequence[int], token: int) -> bool:
        """See `Reader`; the server is made to choose that token."""
        return bool(
            self._complete(token_ids, 2, logit_bias=[[token, 1000.0]])["stop_type"] == "eos"
        )

    def tokenize(self, text: str) -> list[int]:
        """See `Reader`."""
        asked = {"content": text, "add_special": False, "parse_special": True}
        tokens: list[int] = self._ask("/tokenize", asked)["tokens"]
        return tokens

    def render(self, messages: Talk) -> str:
        """See `Reader`."""
        asked = {"messages": list(messages), "add_generation_prompt": True}
        try:
            prompt: str = self._ask("/apply-template", asked)["prompt"]
        except Refused as error:
            raise Unrendered(str(error)) from error
        return prompt

    def _complete(self, token_ids: Sequence[int], count: int, **options: Any) -> dict[str, Any]:
        """Greedy, and with nothing remembered of the prompt before."""
        asked = {
            "prompt": list(token_ids),
            "n_predict": count,
            "temperature": 0.0,
            "cache_prompt": False,
            "return_tokens": True,
            **options,
        }
        return self._ask("/completion", asked)

    def _ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        connection = http.client.HTTPConnection(self._host)
        try:
            connection.request(
                "POST", path, json.dumps(body), headers={"authorization": f"Bearer {self._key}"}
            )
            response = connection.getresponse()
            said = response.read()
        finally:
            connection.close()
        if response.status != HTTPStatus.OK:
            raise Refused(f"llama.cpp refused {path}: {said[:300]!r}")
        answer: dict[str, Any] = json.loads(said)
        return answer


def _complaint(log: Path) -> str:
    """Its first line of an error, or its last line."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line.partition(" E ")[2] for line in lines if " E " in line]
    return (errors or lines[-1:] or ["it says nothing"])[0]


@contextmanager
def llama_cpp(model: Path, *, lora: Path | None = None, log: Path) -> Iterator[LlamaCpp]:
    """Start llama.cpp with a GGUF file and ask it.

    Args:
        lora: a LoRA-GGUF on top.
        log: a file for what it says.

    Raises:
        Refused: it does not load the file.
    """
    key = secrets.token_hex(16)
    command = [sys.executable, "-P", "-m", __package__ + ".llama_cpp_process"]
    with log.open("wb") as said:
        process = subprocess.Popen(
            [*command, str(model), *([str(lora)] if lora else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            env=os.environ | {"ADAPTERS_READER_KEY": key, "PYTHONSAFEPATH": "1"},
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        address = process.stdout.readline().decode().strip()
        if not address:
            raise Refused(f"llama.cpp does not load the file: {_complaint(log)}")
        yield LlamaCpp(address, key)
    finally:
        process.stdin.close()  # it ends by itself; a proof that failed does not wait for it
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
