"""An engine beside a training that learns from its answers.

The training is a process of its own and asks over a socket in a folder of the build's: one line of
JSON a question, one an answer (`training/engine_sampler.py`). The engine is started when it is
first asked, and ended with the training.

Invariant: an adapter is loaded under the digest of its files, and the one before is unloaded first,
so that the engine has one at a time and no name comes to mean something else. What is asked for
when the training ends, or is ended, is broken off.
"""

from __future__ import annotations

import json
import shutil
import socketserver
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from adapterworks.builders.building.prepared import Prepared
from adapterworks.builders.engines.choice import VLLM, Engines
from adapterworks.builders.engines.engine import (
    Adapter,
    Completion,
    Engine,
    Forgetful,
    Interruptible,
    Opener,
    Sampling,
)
from adapterworks.builders.evaluation.subjects import base_model
from adapterworks.builders.methods import METHODS
from adapterworks.builders.methods.conversion import Source
from adapterworks.builders.training.failure import error_to_json
from adapterworks.manifests.errors import AdapterworksError, InvalidInput, Refused
from adapterworks.registry.releases.forms import LORA

_POLL = 0.05  # seconds


@contextmanager
def sampling(prepared: Prepared, engines: Engines, folder: Path) -> Iterator[str | None]:
    """The address where an engine samples for the training; None where the training does.

    Raises:
        InvalidInput: there is no such engine here, or it cannot load what is trained.
    """
    if getattr(prepared.plan.manifest.objective, "engine", None) != VLLM:
        yield None
        return
    require_sampling(prepared, engines)
    place = Path(tempfile.mkdtemp(prefix="adapters-sampling-"))  # a socket's path must be short
    asked = _Asked(prepared, engines, folder / "sampling")
    address = str(place / "socket")
    try:
        with _Server(address, _handler(asked)) as server:
            thread = threading.Thread(target=server.serve_forever, name="sampling", daemon=True)
            thread.start()
            try:
                yield address
            finally:
                _end(server, thread, asked.opener)
    finally:
        asked.close()
        shutil.rmtree(place, ignore_errors=True)
        shutil.rmtree(folder / "sampling", ignore_errors=True)


def require_sampling(prepared: Prepared, engines: Engines) -> None:
    """Refuse, before a training, what no engine could sample.

    Raises:
        InvalidInput: there is no vLLM here, or it cannot load this method's adapters exactly.
    """
    form = prepared.plan.servable
    if form.form != LORA or form.origin == "approximate":
        raise InvalidInput(
            f"`objective.engine` is `{VLLM}`, which samples with an adapter that it loads exactly "
            f"as LoRA; `{prepared.plan.manifest.method.kind}` is not one",
            hint='use `objective.engine = "huggingface"`, or `lora`, `qlora` or `adalora`',
        )
    if VLLM not in engines.openers:
        raise InvalidInput(
            f"there is no engine `{VLLM}` here", hint='use `objective.engine = "huggingface"`'
        )


def _end(server: _Server, thread: threading.Thread, opener: Opener) -> None:
    """End the thread that serves, and what it waits for."""
    threading.Thread(target=server.shutdown, daemon=True).start()
    while thread.is_alive():
        # Again and again: it may have been about to begin with the next thing.
        if isinstance(opener, Interruptible) and thread.ident is not None:
            opener.interrupt(thread.ident)
        thread.join(_POLL)


class _Server(socketserver.UnixStreamServer):
    """One question at a time: the training waits for its answer."""


def _handler(asked: _Asked) -> type[socketserver.StreamRequestHandler]:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                try:
                    answer = asked.answer(json.loads(line))
                except AdapterworksError as error:
                    answer = error_to_json(error)
                try:
                    self.wfile.write(json.dumps(answer).encode() + b"\n")
                    self.wfile.flush()
                except OSError:
                    return  # the training has ended

    return Handler


class _Asked:
    """The engine, and the adapter that it has now."""

    def __init__(self, prepared: Prepared, engines: Engines, folder: Path) -> None:
        self.prepared, self.opener, self.folder = prepared, engines.openers[VLLM], folder
        self.engine: Engine | None = None
        self.current: str | None = None

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """What the training asked for.

        Raises:
            AdapterworksError: as the engine says.
        """
        told = self._load(question["digest"], Path(question["adapter"]), question)
        assert self.engine is not None
        seeds = question["seeds"]
        drawn = Sampling(
            question["most"],
            stop=tuple(question["stop"]),
            temperature=0.0 if seeds is None else 1.0,
            n=question["count"],
            seeds=tuple(seeds or ()),
        )
        began = time.perf_counter()
        answers = self.engine.complete(
            question["prompts"], drawn, adapter=self.current, batch_size=64
        )
        told["sampling_seconds"] = time.perf_counter() - began
        return {"told": told, "groups": [[_told(one) for one in group] for group in answers]}

    def close(self) -> None:
        """End the engine."""
        if self.engine is not None:
            self.engine.close()

    def _load(self, digest: str, trained: Path, question: dict[str, Any]) -> dict[str, float]:
        """Have the engine know the adapter, under its digest, and no other."""
        if digest == self.current:
            return {}
        adapter = self._converted(digest, trained)
        began = time.perf_counter()
        if self.engine is None:
            manifest = self.prepared.plan.manifest
            longest = manifest.train.max_length + question["most"]
            model = base_model(self.prepared.base)
            self.engine = self.opener.open(model, [self._largest(adapter)], longest=longest)
            self.current = digest
            return {}  # it has come up, which is no measure of a load
        if self.current is not None:
            if not isinstance(self.engine, Forgetful):
                raise Refused("this engine keeps every adapter that it was given")
            self.engine.forget(self.current)
            self.current = None  # also if the next one cannot be loaded
        self.engine.know(adapter)
        self.current = digest
        return {"sync_seconds": time.perf_counter() - began}

    def _largest(self, adapter: Adapter) -> Adapter:
        """The adapter as one of the highest rank that the training will have: an engine has the
        room that it was started with, and AdaLoRA's adapters do not stay as they are."""
        assert adapter.servable is not None
        rank = max(adapter.servable.rank or 1, self.prepared.plan.servable.rank or 1)
        return replace(adapter, servable=adapter.servable.model_copy(update={"rank": rank}))

    def _converted(self, digest: str, trained: Path) -> Adapter:
        """The form that the engine loads, as a release of it would have."""
        prepared = self.prepared
        manifest = prepared.plan.manifest
        source = Source(trained, prepared.base.served, prepared.shape, manifest, goes_on=True)
        folder = self.folder / f"served-{digest[7:39]}"
        for old in self.folder.glob("served-*"):
            shutil.rmtree(old)
        conversion = METHODS[manifest.method.kind].convert(source, folder)
        return Adapter(digest, trained, conversion.servable, folder)


def _told(one: Completion) -> dict[str, Any]:
    ids, logprobs = [*one.token_ids], [*one.logprobs]
    return {"ids": ids, "logprobs": logprobs, "finished": one.stop == "stop"}
