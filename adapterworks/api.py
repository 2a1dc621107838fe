"""What `import adapterworks` gives to notebooks and programs (docs/reference/python-api.md).

Every function takes `settings` and opens what it needs, and closes it again; without `settings` the
environment's are used, as by the command. What takes long is told line by line to `say`, which
prints unless it is given something else (None for silence). Where a function needs an extra that is
not installed, it says which.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from adapterworks.app import App
from adapterworks.extras import require
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.load import load_manifest
from adapterworks.manifests.models import Manifest
from adapterworks.progress import Lines
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.types import Resolved
from adapterworks.served import Served
from adapterworks.serving import opened
from adapterworks.settings import Settings

if TYPE_CHECKING:
    from adapterworks.builders.building.result import BuildResult
    from adapterworks.builders.evaluation.evaluate import Evaluation
    from adapterworks.builders.plan.plan import Plan
    from adapterworks.builders.training.events import Listener
    from adapterworks.gateway.config.tables import GatewayConfig

Say = Callable[[str], None]


def open_registry(settings: Settings | None = None) -> Registry:
    """The registry, created where there is none; use it in a `with` block, or close it.

    Raises:
        InvalidInput: a URL of a kind that is not known.
        Unavailable: the database cannot be reached or was written by a newer program.
    """
    return _app(settings).registry


def resolve(ref: str, *, settings: Settings | None = None) -> Resolved:
    """What a ref (`medical`, `medical@7`, `medical:prod`) stands for now.

    Raises:
        InvalidInput: it is no ref.
        NotFound: no such name, version, digest or alias, or it was deleted.
        Unavailable: the database cannot be reached.
    """
    with closing(_app(settings)) as app:
        return app.registry.resolve(ref)


def plan(
    manifest: Manifest | str | Path,
    *,
    profile: str | None = None,
    overrides: Sequence[str] = (),
    settings: Settings | None = None,
    say: Say | None = print,
) -> Plan:
    """What a build would do: steps, parameters, memory, time, servability. Trains nothing.

    Args:
        manifest: a path, a name in `./manifests` or of a built-in one, or one that was loaded.
        profile: one of its profiles, laid over it.
        overrides: `train.epochs=1` and the like, one or several, laid over both.
        settings: where things live; from the environment, if not given.
        say: told what takes long, such as a base that is prepared for the first time.

    Raises:
        InvalidInput: the manifest or its data are faulty (`ManifestError` has every fault), or a
            profile or overrides are given for a manifest that was loaded without them.
        MissingExtra: `adapterworks[build]` is not installed.
        NotFound: no such manifest, base or data.
        Refused: this machine or the data do not allow it.
        Unavailable: something it needs cannot be reached, the Hub for instance.
    """
    require("build", "`plan`")
    from adapterworks.builders.building.prepare import prepare

    loaded = _loaded(manifest, profile, overrides)
    with closing(_app(settings)) as app:
        cache = app.settings.home / "cache"
        return prepare(
            loaded, app.bases, registry=app.registry, cache=cache, progress=say, on_paper=True
        ).plan


def build(
    manifest: Manifest | str | Path,
    *,
    profile: str | None = None,
    overrides: Sequence[str] = (),
    alias: str | None = None,
    resume: bool = False,
    force: bool = False,
    settings: Settings | None = None,
    say: Say | None = print,
    listeners: Sequence[Listener] = (),
) -> BuildResult:
    """Train, evaluate, convert and publish, as `adapters build` does.

    An unchanged plan is not built again: its release is named. Where a part has changed, only the
    stages that depend on it are done again. A build that was interrupted goes on where it was.

    Args:
        manifest: as for `plan`.
        profile: one of its profiles, laid over it.
        overrides: `train.epochs=1` and the like, laid over both.
        alias: moved instead of `publish.alias`, if every gate passes.
        resume: only go on with an unfinished build, begin none.
        force: begin anew, even if this plan has a release or an unfinished build.
        settings: where things live; from the environment, if not given.
        say: told its stages, and a step or two of each ten seconds.
        listeners: called with every event of the build, a dict (`step`, `validation`, …).

    Raises:
        Conflict: another process builds this plan.
        InvalidInput: as `plan` says.
        MissingExtra: `adapterworks[build]` is not installed.
        NotFound: as `plan` says, or there is nothing to resume.
        Refused: as `plan` says, or the training diverged.
        Unavailable: as `plan` says, or the training process was killed.
    """
    require("build", "`build`")
    from adapterworks.builders.building.run import run_build
    from adapterworks.engines.compose import compose_builders_engines

    loaded = _loaded(manifest, profile, overrides)
    told = () if say is None else (Lines(say),)
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
            engines=compose_builders_engines(app, say=say),
            listeners=(*told, *listeners),
            progress=say,
        )


def evaluate(
    ref: str,
    *,
    against: str = "base",
    manifest: Manifest | str | Path | None = None,
    baseline: Literal["nearest", "none"] | None = None,
    limit: int | None = None,
    engine: str | None = None,
    data_dir: str | Path | None = None,
    settings: Settings | None = None,
    say: Say | None = print,
) -> Evaluation:
    """A release, its base and maybe another release on the same test rows.

    Args:
        ref: the release.
        against: another release, or `base`, which is always among the compared.
        manifest: whose rows, metrics and gates are taken instead of the release's own.
        baseline: what is compared beside the base without a model, if not `evaluate.baseline`.
        limit: at most this many rows.
        engine: who answers (`huggingface`, `vllm`, `gateway`), if not what the manifest says. What
            an engine answered before is not asked again.
        data_dir: where the files that the release was built from are, if that is not known here.
        settings: where things live; from the environment, if not given.
        say: told how many rows each of them has answered.

    Raises:
        InvalidInput: there are no test rows, or the manifest is faulty.
        MissingExtra: `adapterworks[build]` is not installed.
        NotFound: no such release, or its base or data are not here.
    """
    require("build", "`evaluate`")
    from adapterworks.builders.evaluation.releases import evaluate_release
    from adapterworks.engines.compose import compose_builders_engines

    with closing(_app(settings)) as app:
        return evaluate_release(
            ref,
            against=against,
            baseline=baseline,
            manifest=None if manifest is None else _loaded(manifest, None, ()),
            limit=limit,
            data_dir=None if data_dir is None else Path(data_dir),
            registry=app.registry,
            bases=app.bases,
            cache=app.settings.home / "cache",
            engines=compose_builders_engines(app, wanted=engine, say=say),
            progress=None if say is None else Lines(say).evaluating,
            say=say,
        )


def serve(
    config: GatewayConfig | str | Path | None = None,
    *,
    open: bool = False,
    port: int | None = None,
    base: str | None = None,
    settings: Settings | None = None,
    say: Say | None = print,
) -> Served:
    """A gateway and its engines in this process; a `with` block, or `start`, starts them.

    Args:
        config: a `gateway.toml`, or one that was loaded; the defaults without it.
        open: let anyone on this machine in without a key.
        port: to listen on; otherwise the configuration's if it names one, else a free one.
        base: serve this base alone, by its name.
        settings: where things live; from the environment, if not given.
        say: told which engines are started and how far they are; called from another thread.

    Raises:
        InvalidInput: the configuration is faulty (`ManifestError` has every fault), or `open` where
            others than this machine can reach it.
        MissingExtra: `adapterworks[serve]` is not installed.
        NotFound: there is no such file.
    """
    require("serve", "`serve`")
    from adapterworks.gateway.config.load import load_gateway_config

    if config is None or isinstance(config, str | Path):
        config = load_gateway_config(None if config is None else Path(config), os.environ)
    if port is not None and not 0 <= port <= 65535:
        raise InvalidInput(
            f"{port} is no port", hint="give one from 1 to 65535, or 0 for a free one"
        )
    if port is None:
        port = config.port if "port" in config.model_fields_set else 0
    config = opened(config.model_copy(update={"port": port}), open)
    return Served(_app(settings), config, base=base, say=say or (lambda _: None))


def _app(settings: Settings | None) -> App:
    return App(settings or Settings.from_environment())


def _loaded(
    manifest: Manifest | str | Path, profile: str | None, overrides: Sequence[str]
) -> Manifest:
    if isinstance(overrides, str):  # of one character each, to Python
        overrides = (overrides,)
    if not isinstance(manifest, Manifest):
        return load_manifest(manifest, profile=profile, overrides=overrides)
    if profile is not None or overrides:
        raise InvalidInput(
            "a profile and overrides are laid over a manifest when it is loaded",
            hint="give them to `load_manifest`, or give its path or name instead of the manifest",
        )
    return manifest
