"""A build: the stages of a plan in order, each done once, resumable after any kill.

    plan → train → convert → evaluate → fingerprint → publish

Here is decided what of it is left to do; `sequence.py` does it.

Invariant: an unchanged plan names its release; a stage that a release has with the digest of this
plan's is taken from there (`reuse.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

from sqlalchemy.engine import Connection

from adapterworks.builders.building import reuse
from adapterworks.builders.building.checkpoint_store import CheckpointStore
from adapterworks.builders.building.lock import build_lock
from adapterworks.builders.building.memory_queue import Waiter
from adapterworks.builders.building.prepare import prepare
from adapterworks.builders.building.record import Stages, left_behind, start_over, unfinished
from adapterworks.builders.building.reservations import Reservations
from adapterworks.builders.building.result import BuildResult, named
from adapterworks.builders.building.sequence import Given, run_stages
from adapterworks.builders.building.stages import prod_digest
from adapterworks.builders.engines.choice import VLLM, Engines
from adapterworks.builders.plan.cards import use_card
from adapterworks.builders.plan.disk import require_disk
from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.training.events import Event, EventLog, Listener
from adapterworks.manifests.errors import NotFound, Refused
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.refs import check_alias
from adapterworks.registry.bases.store import BaseStore
from adapterworks.registry.jobs.standing import standing_in
from adapterworks.registry.registry import Registry


def run_build(
    manifest: Manifest,
    *,
    registry: Registry,
    bases: BaseStore,
    home: Path,
    who: str,
    alias: str | None = None,
    hold_alias: bool = False,
    resume: bool = False,
    force: bool = False,
    guard: Callable[[Connection], object] | None = None,
    engines: Engines | None = None,
    listeners: Sequence[Listener] = (),
    progress: Callable[[str], None] | None = None,
    checkpoints: CheckpointStore | None = None,
    waiter: Waiter | None = None,
) -> BuildResult:
    """Build a manifest, stage after stage, or name the release its unchanged plan gave.

    Args:
        manifest: resolved.
        registry: where it is published.
        bases: where base models are.
        home: `builds/` and `cache/` are made under it.
        who: publishes, for the registry's log.
        alias: moved instead of `publish.alias`.
        hold_alias: publish and move none: whoever asks has yet to judge the release.
        resume: refuse to begin anew; without it an unfinished build is resumed when there is one.
        force: build even if the plan has a release, and begin anew.
        guard: asked in the transaction that lists the release; what it raises ends the build there.
        engines: who answers the test rows; the reference implementation alone, if not given.
        listeners: receive the build's events.
        progress: told what takes long before the build begins, and which engine is asked.
        checkpoints: keeps checkpoints where another machine finds them, if this one may be lost.
        waiter: comes again when others hold the memory, and has a place in line until then.

    Raises:
        Conflict: the plan is being built by another process.
        NotFound: nothing to resume.
        Occupied: others hold the memory that the training needs.
        Refused: the plan cannot run here, the training diverged, the alias is protected, a gateway
            is to evaluate what is not published yet, or a stage before the last one did not pass.
        InvalidInput: the data or a combination is faulty.
    """
    engines = engines or Engines()
    for stage in manifest.chain:
        engines.check_build(stage.evaluate.engine)
    reservations = Reservations(home, waiter=waiter, standing=standing_in(registry))
    each = partial(
        _run_one,
        registry=registry,
        bases=bases,
        home=home,
        who=who,
        force=force,
        guard=guard,
        engines=engines,
        listeners=listeners,
        progress=progress,
        checkpoints=checkpoints,
        reservations=reservations,
    )
    with reservations.waiting(f"`{manifest.adapter.name}`"):
        return _run_chain(manifest, each, alias, hold_alias, resume)


def _run_chain(
    manifest: Manifest,
    each: Callable[..., BuildResult],
    alias: str | None,
    hold_alias: bool,
    resume: bool,
) -> BuildResult:
    """Build the stages that a manifest is the last of, and it."""
    before: BuildResult | None = None
    for stage in manifest.chain[:-1]:
        built = each(stage, alias=stage.publish.alias, hold_alias=False, resume=resume)
        before = replace(built, before=before)
        if built.reasons:
            name = stage.stage.name if stage.stage else stage.adapter.name
            raise Refused(
                f"stage `{name}` ({built.ref}) did not pass, so the next one is not begun: "
                f"{'; '.join(built.reasons)}",
                hint=f"`adapters show {built.ref}` tells what it came to; change the stage or its "
                "gates and build again",
            )
        resume = False  # where a stage is done, what is left of the chain is its unfinished rest
    last = each(manifest, alias=alias, hold_alias=hold_alias, resume=resume)
    return replace(last, before=before)


def _run_one(
    manifest: Manifest,
    *,
    registry: Registry,
    bases: BaseStore,
    home: Path,
    who: str,
    alias: str | None,
    hold_alias: bool,
    resume: bool,
    force: bool,
    guard: Callable[[Connection], object] | None,
    engines: Engines,
    listeners: Sequence[Listener],
    progress: Callable[[str], None] | None,
    checkpoints: CheckpointStore | None,
    reservations: Reservations,
) -> BuildResult:
    """Build one manifest, which begins where the stage before ended, if there is one."""
    if manifest.stage is not None and progress is not None:
        progress(
            f"stage `{manifest.stage.name}`, {manifest.stage.index + 1} of {manifest.stage.count}"
        )
    prepared = prepare(
        manifest,
        bases,
        registry=registry,
        cache=home / "cache",
        machine=reservations.machine(),
        progress=progress,
    )
    plan, say = prepared.plan, progress or _silent
    folder = home / "builds" / f"{manifest.adapter.name}-{plan.digests.train[7:19]}"

    def released() -> BuildResult | None:
        """The release that the plan has already, if it is not to be built all the same."""
        found = None if force else registry.origins.find_plan(manifest.adapter.name, plan.digest)
        return None if found is None else named(registry, found, plan, folder, alias, who)

    if (result := released()) is not None:
        return result
    require_disk(plan, folder)
    moved = None if hold_alias else alias or manifest.publish.alias
    if moved is not None:
        check_alias(moved)  # a training takes hours, and the alias comes last
    registry.protection.require_movable(manifest.adapter.name, moved)
    with build_lock(folder) as lock:
        # Once more, as another process may have built it while this one prepared or waited.
        if (result := released()) is not None:
            return result
        if checkpoints is not None and not force:
            checkpoints.restore(folder)
        stages = _stages_of(plan, folder, registry, resume=resume, force=force, say=say)
        # The log is opened anew: a reused training brought its own events.
        keep = () if checkpoints is None else (_keeper(checkpoints, folder),)
        events = EventLog(folder / "events.jsonl", *listeners, *keep)
        stages.tell(events)
        # Micro batch and estimates may differ with the memory free now: `Stages` knows which hold.
        prepared = replace(prepared, plan=stages.plan)
        given = Given(registry, bases, engines, who, alias, hold_alias, say, guard, home / "cache")
        parents = [parent.digest for parent in plan.origins.parents]
        read = {d for d in (*parents, prod_digest(manifest, registry)) if d is not None}
        hold = registry.hold(*read, kind="build") if read else nullcontext()
        with hold, _room(reservations, stages) as cards:
            given = replace(given, cards=cards)
            if cards:
                use_card(cards[0])  # what asks the model in this process goes there, too
            return run_stages(prepared, stages, events, lock, given)


def _stages_of(
    plan: Plan,
    folder: Path,
    registry: Registry,
    *,
    resume: bool,
    force: bool,
    say: Callable[[str], None],
) -> Stages:
    """The build's stages, those that are done among them: in its folder, or by a release.

    Args:
        resume: refuse to begin anew.
        force: begin anew, and take nothing of a release.
        say: told what is reused or done once more, and why.

    Raises:
        NotFound: nothing to resume.
    """
    left = [
        f"the half-done build in `{other}` was begun by {what} and cannot go on"
        for other, what in ([] if unfinished(folder) else left_behind(folder.parent, plan))
    ]
    if resume and not unfinished(folder):
        raise _nothing_to_resume(plan, left)
    for line in left:
        end = "this build starts anew; without the folder nothing more is said of it"
        say(f"note: {line}; {end}")
    if force or not unfinished(folder):
        start_over(folder)
    stages = Stages(folder, plan, EventLog(folder / "events.jsonl"))
    if stages.has_training:
        return stages
    known = None if force else reuse.find_known(registry, plan)
    if known is not None:
        prod = prod_digest(plan.manifest, registry)
        reuse.take(known, stages, registry, prod)
        for line in reuse.sentences(known, plan, prod):
            say(line)
    elif not force and (why := reuse.why_not_reusable(registry, plan)):
        say(f"note: {why}; it is trained once more")
    elif not left and (old := reuse.published_before_digests(registry, plan)):
        say(
            f"note: {old} was published by a version of adapterworks that kept one digest for "
            "all stages; its weights cannot be told from others, so it is trained once more"
        )
    return stages


def _room(reservations: Reservations, stages: Stages) -> AbstractContextManager[tuple[str, ...]]:
    """The memory of a training, so that no other build here counts on it; of one that goes on after
    a kill as well. Nothing where it is done."""
    plan = stages.plan
    if stages.has("train", plan.digests.train):
        return nullcontext(())
    # The processes of a CPU share its memory; each of several cards has its own.
    processes, size = plan.manifest.train.processes, plan.memory["total"]
    times = processes if plan.device == "cpu" else 1
    # An engine beside the training is a process of its own, and takes the first card.
    engine = getattr(plan.manifest.objective, "engine", None) == VLLM
    what = f"`{plan.manifest.adapter.name}`"
    return reservations.held(size * times, what, processes, first=engine)


def _keeper(checkpoints: CheckpointStore, folder: Path) -> Listener:
    """Has a checkpoint kept as soon as it is written."""

    def keep(event: Event) -> None:
        if event["event"] == "checkpoint":
            checkpoints.save(folder)

    return keep


def _silent(line: str) -> None:
    """Nobody listens."""


def _nothing_to_resume(plan: Plan, left: Sequence[str]) -> NotFound:
    missing = f"there is no unfinished build of this plan (`{plan.digest[:19]}…`)"
    if left:
        hint = "run it without `--resume`: it starts from the beginning"
    else:
        hint = (
            "a build is resumed under the same manifest, profile and `--set`; "
            "run it without `--resume`"
        )
    return NotFound("; ".join([missing, *left]), hint=hint)
