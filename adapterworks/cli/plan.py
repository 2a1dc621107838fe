"""`adapters plan`: a plan on paper; nothing is trained but `--calibrate`'s three steps."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.completion import complete_manifest
from adapterworks.manifests.digests import short_digest
from adapterworks.manifests.errors import InvalidInput, NotFound
from adapterworks.registry.releases.forms import LORA

if TYPE_CHECKING:
    from adapterworks.builders.plan.plan import Plan


@click.command()
@click.argument("manifest", metavar="MANIFEST", shell_complete=complete_manifest)
@click.option("--profile", help="Apply this profile of the manifest.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key.")
@click.option("--machine", metavar="NAME", help="Plan for other GPUs: a10, 2xa100-80g, 8xh100.")
@click.option("--calibrate", is_flag=True, help="Train three steps to estimate the time.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    app: App,
    manifest: str,
    profile: str | None,
    overrides: tuple[str, ...],
    machine: str | None,
    calibrate: bool,
    as_json: bool,
) -> None:
    """Show what a build would do: steps, memory, time, servability.

    \b
    Example:
      adapters plan medical --profile quick
      adapters plan medical --profile quick --calibrate --json
      adapters plan medical --machine 2xa100-80g --set train.processes=2
    """
    from adapterworks.builders.building.prepare import prepare
    from adapterworks.builders.building.reuse import find_known, sentences
    from adapterworks.builders.building.stages import prod_digest
    from adapterworks.builders.plan.disk import require_disk
    from adapterworks.builders.plan.machine import named_machine
    from adapterworks.manifests.load import load_manifest
    from adapterworks.progress import BuildProgress

    if machine is not None and calibrate:
        raise InvalidInput(
            "`--calibrate` trains on this machine, not on the one that `--machine` names",
            hint="leave one of them out",
        )
    loaded = load_manifest(manifest, profile=profile, overrides=overrides)
    told: list[dict[str, Any]] = []
    for stage in loaded.chain:
        with BuildProgress(quiet=as_json or app.quiet) as progress:
            try:
                prepared = prepare(
                    stage,
                    app.bases,
                    registry=app.registry,
                    cache=app.settings.home / "cache",
                    machine=None if machine is None else named_machine(machine),
                    progress=progress.say,
                    on_paper=not calibrate,
                )
            except NotFound as error:
                if stage.stage is None or not stage.stage.index:
                    raise
                printing.note(
                    f"stage `{stage.stage.name}` begins with what is not built yet: {error}"
                )
                break
            plan = prepared.plan
            if machine is None:
                require_disk(plan, app.settings.home / "builds")
            if calibrate:
                from adapterworks.builders.building.calibrate import calibrated

                plan = calibrated(prepared)
        existing = app.registry.origins.find_plan(plan.manifest.adapter.name, plan.digest)
        ref = f"{existing.name}@{existing.version}" if existing else None
        known = None if existing else find_known(app.registry, plan)
        reused = sentences(known, plan, prod_digest(stage, app.registry)) if known else []
        told.append(_plan_json(plan) | {"release": ref, "reused": known.ref if known else None})
        if not as_json:
            if stage.stage is not None:
                click.echo(
                    f"stage `{stage.stage.name}`, {stage.stage.index + 1} of {stage.stage.count}"
                )
            _show(plan, ref, reused)
    if as_json:
        from adapterworks.cli.printing import echo_json

        echo_json(told[0] if loaded.stage is None else {"stages": told})


def _plan_json(plan: Plan) -> dict[str, Any]:
    return {
        "digest": plan.digest,
        "digests": plan.digests.to_json(),
        "needs": plan.needs.to_json(),
        **plan.model_dump(mode="json"),
    }


def _shared(plan: Plan) -> str:
    if plan.packed_to is not None:
        return f"; rows packed into sequences of at most {plan.packed_to}"
    from adapterworks.builders.plan.apart import behind_one_prompt

    if behind_one_prompt(plan):
        return "; the prompt of a group computed once a micro batch"
    count = plan.shared_prefix
    return f"; the first {count} of every row computed once a micro batch" if count else ""


def _begun(plan: Plan) -> list[tuple[str, str]]:
    """The release that is continued, and what the policy is held near."""
    known = {parent.digest: parent.ref for parent in plan.parents}
    rows = []
    if plan.start is not None:
        rows.append(("start", f"{plan.start.ref} ({(plan.start.digest or '')[:19]}…)"))
    if plan.reference is not None:
        reference = known.get(plan.reference, plan.reference)
        of = " (the new adapter)" if reference == "start" and plan.start is None else ""
        rows.append(("reference", f"{reference}{of}"))
    if plan.teacher is not None:
        rows.append(("teacher", known.get(plan.teacher) or plan.teacher))
    return rows


def _needs(plan: Plan) -> str:
    """What `build --on` asks a place for."""
    from adapterworks.cli.printing import size
    from adapterworks.progress import seconds

    asked = plan.needs
    memory = "" if asked.memory is None else f"{size(asked.memory)} memory"
    time = "" if asked.seconds is None else f"at most {seconds(asked.seconds)}"
    parts = (f"{asked.gpus} GPUs", f"{asked.processes} processes", memory, time)
    return ", ".join(part for part in parts if part)


def _sampled(plan: Plan) -> list[tuple[str, str]]:
    from adapterworks.builders.plan.generation import answers_of

    answers = answers_of(plan.manifest)
    if not answers:
        return []
    prompts = plan.manifest.train.batch_size
    how = f"{plan.generation_batch} at a time" if plan.generation_batch else "by an engine"
    return [("samples", f"{answers} answers a step to {prompts} prompts, {how}")]


def _show(plan: Plan, release: str | None, reused: list[str]) -> None:
    from adapterworks.builders.plan.generation import learnt_together
    from adapterworks.builders.plan.sent import sent
    from adapterworks.cli.printing import echo_table, size
    from adapterworks.progress import seconds

    memory = ", ".join(
        f"{term} {size(count)}" for term, count in plan.memory.items() if term != "total"
    )
    form = plan.servable
    rank = f"max_lora_rank {form.rank or form.max_rank}" if form.form == LORA else ""
    tokens = f"{form.virtual_tokens} virtual tokens" if form.virtual_tokens else ""
    rows = [
        ("adapter", f"{plan.manifest.adapter.name} · {plan.manifest.method.kind}"),
        ("objective", f"{plan.stage} ({plan.objective})"),
        *_begun(plan),
        (
            "base",
            f"{plan.base.model} · {plan.base.quantization} · {short_digest(plan.base.digest)}",
        ),
        ("rows", ", ".join(f"{count} {split}" for split, count in plan.rows.items())),
        (
            "steps",
            f"{plan.steps} ({plan.steps_per_epoch} an epoch), batch "
            f"{learnt_together(plan.manifest)} = {plan.accumulation} × {plan.micro_batch}",
        ),
        *_sampled(plan),
        ("tokens", f"{plan.tokens:,}, {plan.supervised_tokens:,} with a label{_shared(plan)}"),
        ("learning rate", f"{plan.learning_rate:g} ({plan.learning_rate_source})"),
        (
            "schedule",
            f"{plan.manifest.train.schedule}, {plan.warmup_steps} warm-up steps, "
            f"validation every {plan.evaluate_every}",
        ),
        ("trained", f"{plan.trainable:,} parameters, {plan.trainable_share:.2%} of the base"),
        ("device", f"{plan.device}, {plan.precision}"),
        ("memory", f"{size(plan.memory['total'])} ({memory})"),
        ("disk", size(plan.disk)),
        ("resources", _needs(plan)),
        ("time", seconds(plan.seconds) if plan.seconds else "unknown (`--calibrate` measures)"),
        ("served as", " · ".join(p for p in (form.form, form.origin, form.via, rank, tokens) if p)),
        (
            "digests",
            " · ".join(f"{stage} {short_digest(d)}" for stage, d in plan.digests.to_json().items()),
        ),
    ]
    rows += [("sent", line) for line in sent(plan.manifest, plan.rows)]
    if release is not None:
        rows.append(("release", f"{release}: unchanged, a build would be a no-op"))
    for line in reused:
        stage, _, what = line.partition(": ")
        rows.append((stage, what))
    echo_table(("", ""), rows)
    for lint in plan.lints:
        fields = dataclasses.asdict(lint)
        printing.note(f"lint: `{fields['key']}`: {fields['message']} ({fields['source']})")
