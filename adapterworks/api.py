"""What notebooks and programs use: `import adapterworks` gives these names (docs/python-api.md).

Every function takes `settings` and opens what it needs; without it the environment's are used, as
by the command. Where a function needs an extra that is not installed it says which.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from adapterworks.app import App
from adapterworks.extras import require
from adapterworks.manifests.load import load_manifest
from adapterworks.manifests.models import Manifest
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.types import Resolved
from adapterworks.settings import Settings

if TYPE_CHECKING:
    from adapterworks.builders.building.run import BuildResult
    from adapterworks.builders.evaluation.evaluate import Evaluation
    from adapterworks.builders.plan.plan import Plan
    from adapterworks.builders.training.events import Listener
    from adapterworks.gateway.config.tables import GatewayConfig

Say = Callable[[str], None]


def open_registry(settings: Settings | None = None) -> Registry:
    """The registry, created where there is none. Close it, or use `contextlib.closing`.

    Raises:
        InvalidInput: a URL of a kind that is not known.
        Unavailable: the database cannot be reached or was written by a newer program.
    """
    return _app(settings).registry


def resolve(ref: str, *, settings: Settings | None = None) -> Resolved:
    """What a ref (`medical`, `medical@7`, `medical:prod`) stands for now.

    Raises:
        NotFound: no such name, version, digest or alias, or it was deleted.
    """
    with closing(_app(settings)) as app:
        return app.registry.resolve(ref)


def plan(
    manifest: Manifest | str | Path,
    *,
    profile: str | None = None,
    overrides: Sequence[str] = (),
    settings: Settings | None = None,
    say: Say | None = None,
) -> Plan:
    """What a build would do: steps, parameters, memory, time, servability. Trains nothing.

    Args:
        manifest: one that was loaded, a path, or a name in ./manifests or of a built-in one.
        profile: one of its profiles, laid over it.
        overrides: `train.epochs=1` and the like.
        say: told what takes long.

    Raises:
        InvalidInput, NotFound, Refused, Unavailable: what a build would be refused for.
        MissingExtra: `adapterworks[build]` is not installed.
    """
    require("build", "`plan`")
    from adapterworks.builders.building.prepare import prepare

    loaded = _loaded(manifest, profile, overrides)
    app = _app(settings)
    return prepare(loaded, app.bases, cache=app.settings.home / "cache", progress=say).plan


def build(
    manifest: Manifest | str | Path,
    *,
    profile: str | None = None,
    overrides: Sequence[str] = (),
    alias: str | None = None,
    resume: bool = False,
    force: bool = False,
    settings: Settings | None = None,
    say: Say | None = None,
    listeners: Sequence[Listener] = (),
) -> BuildResult:
    """Train, evaluate, convert and publish, as `adapters build` does.

    Args:
        manifest, profile, overrides: as for `plan`.
        alias: moved instead of `publish.alias`, if every gate passes.
        resume: refuse to begin anew; an unfinished build is resumed anyway when there is one.
        force: begin anew, even if this plan has a release.
        say: told what takes long before the training begins.
        listeners: called with every event of the build (steps, losses, evaluation).

    Raises:
        Conflict: another process builds this plan.
        InvalidInput, NotFound, Refused, Unavailable: as `plan`, or the training diverged.
        MissingExtra: `adapterworks[build]` is not installed.
    """
    require("build", "`build`")
    from adapterworks.builders.building.run import run_build

    loaded = _loaded(manifest, profile, overrides)
    with closing(_app(settings)) as app:
        return run_build(
            loaded,
            registry=app.registry,
            bases=app.bases,
            home=app.settings.home,
            who=app.settings.who,
            alias=alias,
            resume=resume,
            force=force,
            listeners=listeners,
            progress=say,
        )


def evaluate(
    ref: str,
    *,
    against: str = "base",
    manifest: Manifest | str | Path | None = None,
    limit: int | None = None,
    settings: Settings | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Evaluation:
    """A release, its base and maybe another release on the same test rows.

    Args:
        against: another release, or `base`, which is always among the compared.
        manifest: whose rows, metrics and gates are taken instead of the release's own.
        limit: at most this many rows.
        progress: called with subject, rows done and rows in all.

    Raises:
        InvalidInput: there are no test rows.
        NotFound: no such release, or its base or data is not here.
        MissingExtra: `adapterworks[build]` is not installed.
    """
    require("build", "`evaluate`")
    from adapterworks.builders.evaluation.releases import evaluate_release

    with closing(_app(settings)) as app:
        return evaluate_release(
            ref,
            against=against,
            manifest=None if manifest is None else _loaded(manifest, None, ()),
            limit=limit,
            registry=app.registry,
            bases=app.bases,
            cache=app.settings.home / "cache",
            progress=progress,
        )


class Served:
    """A gateway in a thread of this process; ends with its `with` block.

    Attributes:
        url: where it listens, without `/v1`.
    """

    url: str

    def __init__(
        self, app: App, config: GatewayConfig, *, base: str | None, say: Say | None
    ) -> None:
        self._app = app
        self._config = config
        self._base = base
        self._say = say or (lambda _: None)
        self._up = threading.Event()
        self._error: BaseException | None = None
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name="adapterworks gateway", daemon=True)

    def __enter__(self) -> Self:
        """Start it; returns when every engine answers.

        Raises:
            Unavailable: the port is taken, or an engine did not start.
        """
        self._thread.start()
        try:
            self._up.wait()
        except BaseException:
            self.close()
            raise
        if self._error is not None:
            self._thread.join()
            raise self._error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it and its engines."""
        self.close()

    def close(self) -> None:
        """Stop the gateway and its engines; idempotent."""
        if self._thread.is_alive():
            if self._task is not None:
                self._loop.call_soon_threadsafe(self._task.cancel)
            self._thread.join()

    def _run(self) -> None:
        try:
            self._task = self._loop.create_task(self._serve())
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            self._error = error
        finally:
            self._up.set()
            self._app.close()
            self._loop.close()

    async def _serve(self) -> None:
        from adapterworks.gateway.http.server import run_gateway
        from adapterworks.serving import compose_engines, compose_gateway

        def on_ready(url: str) -> None:
            self.url = url
            self._up.set()

        engines = compose_engines(self._app, self._config, only=self._base, say=self._say)
        gateway = compose_gateway(self._app, self._config, engines)
        run = self._app.settings.home / "run"
        await run_gateway(gateway, run=run, say=self._say, on_ready=on_ready, own_process=False)


def serve(
    config: GatewayConfig | Path | None = None,
    *,
    open: bool = False,
    port: int = 0,
    base: str | None = None,
    settings: Settings | None = None,
    say: Say | None = None,
) -> Served:
    """A gateway and its engines in this process, for the length of a `with` block.

    Args:
        config: a `gateway.toml`, or one that was loaded; the defaults without it.
        open: let anyone on this machine in without a key.
        port: 0 takes a free one.
        base: serve this base alone, by its name.
        say: told what takes long.

    Raises:
        InvalidInput: the configuration is faulty.
        MissingExtra: `adapterworks[serve]` is not installed, or no engine.
    """
    require("serve", "`serve`")
    import os

    from adapterworks.gateway.config.load import load_gateway_config
    from adapterworks.serving import opened

    if config is None or isinstance(config, Path):
        config = load_gateway_config(config, os.environ)
    config = opened(config.model_copy(update={"port": port}), open)
    return Served(_app(settings), config, base=base, say=say)


def _app(settings: Settings | None) -> App:
    return App(settings or Settings.from_environment())


def _loaded(
    manifest: Manifest | str | Path, profile: str | None, overrides: Sequence[str]
) -> Manifest:
    if isinstance(manifest, Manifest):
        return manifest
    return load_manifest(manifest, profile=profile, overrides=overrides)
