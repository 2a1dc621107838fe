"""The model card: README.md with the Hub's YAML front matter.

Invariant: every number in it is read from the plan, the report or the training's result.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from adapterworks.builders.evaluation.transfer import backward_transfer, matrix
from adapterworks.builders.methods import METHODS
from adapterworks.builders.objectives.objective import objective_of
from adapterworks.builders.plan.generation import answers_of
from adapterworks.builders.plan.plan import Plan
from adapterworks.manifests.extensions import singular
from adapterworks.manifests.objective import NEAREST
from adapterworks.registry.releases.release import Servable


def make_card(
    plan: Plan,
    report: Mapping[str, Any],
    servable: Servable | None,
    sources: list[dict[str, Any]],
    reasons: tuple[str, ...],
    weights_from: str | None = None,
    lineage: Sequence[str] = (),
) -> str:
    """The card's text.

    Args:
        plan: of the build.
        report: `report.json`.
        servable: what the engine loads, if anything.
        sources: the datasheets.
        reasons: why the alias did not move; empty when it did.
        weights_from: the release that the training was taken from, if it was.
        lineage: the tree of what it was made from; a root alone is not shown.
    """
    adapter = plan.manifest.adapter
    technique, objective = METHODS[plan.manifest.method.kind], objective_of(plan.manifest)
    parts = [
        _front_matter(plan),
        f"# {adapter.name}\n\n{adapter.description or 'A fine-tuned adapter.'}\n",
        f"{technique.title} ({technique.source}) on `{plan.base.model}` at revision "
        f"`{plan.base.revision}`, quantization `{plan.base.quantization}`.\n",
        "## Scores\n\n" + _scores(report),
        *([_ancestors(report["ancestors"])] if report.get("ancestors") else []),
        *([_judged(report["judge"])] if report.get("judge") else []),
        *([_safety(report["safety"])] if report.get("safety") else []),
        *(["![base and adapter](plots/scores.png)\n"] if _has_bars(report) else []),
        "![loss](plots/loss.png)\n",
        *(["![what was sampled](plots/samples.png)\n"] if objective.rollouts else []),
        "## Training\n\n" + _training(plan, report, weights_from),
        "## Data\n\n" + _data(sources, plan, report),
        *([_lineage(lineage)] if len(lineage) > 1 else []),
        "## Serving\n\n" + _serving(servable, report) + _usage(plan),
        *(["## Code beside adapterworks\n\n" + _extensions(plan)] if plan.extensions else []),
    ]
    if reasons:
        parts.insert(3, "## Gates\n\n" + "".join(f"- {reason}\n" for reason in reasons))
    return "\n".join(parts)


def _front_matter(plan: Plan) -> str:
    adapter = plan.manifest.adapter
    fields: dict[str, Any] = {
        "license": adapter.license,
        "language": list(adapter.language),
        "library_name": "transformers" if _whole(plan) else "peft",
        "pipeline_tag": "text-generation",
        "tags": [*adapter.tags, "adapterworks", plan.manifest.method.kind],
    }
    if plan.base.model.startswith("hub:"):
        fields["base_model"] = plan.base.model.removeprefix("hub:").partition("@")[0]
    # JSON is YAML; quoting is then never wrong.
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items()]
    return "---\n" + "\n".join(lines) + "\n---\n"


def _whole(plan: Plan) -> bool:
    return METHODS[plan.manifest.method.kind].whole_model


def _has_bars(report: Mapping[str, Any]) -> bool:
    """Whether the picture of the scores shows any: shares, beside the base's."""
    entries = (report.get("metrics") or {}).values()
    return any(one["unit"] == "share" and "base" in one["values"] for one in entries)


def _seen(report: Mapping[str, Any]) -> str:
    """Whether test rows were seen in training, as far as anything looked."""
    gates = report.get("data_gates") or ()
    gate = next((gate for gate in gates if gate["name"] == "contamination"), None)
    if gate is None:
        return "no data gate looked whether they were seen in training"
    if not gate["rows"]:
        return "the data gate `contamination` found none of their questions in training"
    left = "left them out" if gate["action"] == "drop" else "let them stand"
    return (
        f"the data gate `contamination` found the questions of {gate['rows']} validation and test "
        f"rows in training, and {left}"
    )


def _intervals(metrics: Mapping[str, Any]) -> str:
    """How the intervals of the gains were come by."""
    tests = {
        name: {gain["test"] for gain in entry["gains"].values()} for name, entry in metrics.items()
    }
    drawn = [name for name, found in tests.items() if "bootstrap" in found]
    told = ["Student's on the rows' differences"] if len(drawn) < len(tests) else []
    told += [f"by bootstrap for {', '.join(drawn)}"] if drawn else []
    return "95 % intervals of the paired gains: " + ", ".join(told)


def _scores(report: Mapping[str, Any]) -> str:
    metrics = report.get("metrics") or {}
    if not metrics:
        return "Not evaluated: there were no test rows.\n"
    lines = [
        f"On {report['rows']} test rows; {_seen(report)}. {_intervals(metrics)}.\n",
        "| metric | base | adapter | gain |",
        "|---|---|---|---|",
    ]
    looked_up = any(NEAREST in entry["values"] for entry in metrics.values())
    if looked_up:
        lines[1:] = [
            "| metric | base | nearest training row | adapter | gain over base | over nearest |",
            "|---|---|---|---|---|---|",
        ]
    for name, entry in metrics.items():
        values, subjects = entry["values"], ["base", *([NEAREST] if looked_up else [])]
        shown = [f"{values.get(subject, float('nan')):.3f}" for subject in subjects]
        shown.append(f"{values['candidate']:.3f}")
        shown += [_gain(entry["gains"].get(subject)) for subject in subjects]
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def _ancestors(found: Sequence[Mapping[str, Any]]) -> str:
    """What the training has cost on the test rows of every release that it goes back to."""
    header, *lines = matrix("this release", found)
    shown = [header, ["---"] * len(header), *lines]
    changes = (
        f"- {entry['ref']} (`{entry['digest']}`): {entry['metric']} on {entry['rows']} rows, "
        f"{entry['change'] * 100:+.1f} points [{entry['low'] * 100:+.1f}, "
        f"{entry['high'] * 100:+.1f}]\n"
        for entry in found
    )
    return (
        "## Ancestors\n\nWhat each release scores on the test rows of those before it; backward "
        f"transfer {backward_transfer(found) * 100:+.1f} points.\n\n"
        + "".join(f"| {' | '.join(cells)} |\n" for cells in shown)
        + "\n"
        + "".join(changes)
    )


def _judged(judged: Mapping[str, Any]) -> str:
    """Whose answers a judge prefers."""
    lines = [
        f"## Judged\n\nWhich answer is better, by `{judged['model']}` at `{judged['url']}`, asked "
        "in both orders; a verdict that follows the order, or cannot be read, is a tie. Win rate: "
        "better ones and half of the ties.\n",
        "| against | better | worse | tie | order decided | win rate |",
        "|---|---|---|---|---|---|",
    ]
    for name, told in judged["against"].items():
        rate, low, high = (0.5 + told[key] / 2 for key in ("gain", "low", "high"))
        counts = " | ".join(str(told[key]) for key in ("wins", "losses", "tied", "flipped"))
        lines.append(f"| {name} | {counts} | {rate:.3f} [{low:.3f}, {high:.3f}] |")
    return "\n".join(lines) + "\n"


def _safety(found: Mapping[str, Any]) -> str:
    """What is refused, before and after."""
    lines = [
        f"## Safety\n\n{found['harmful']} harmful and {found['harmless']} harmless requests, "
        f"{found['prompts']}; a refusal is known by its first words. This shows a change, and is "
        "no measure of how safe a model is.\n",
        "| against | harmful refused | change | harmless refused | change |",
        "|---|---|---|---|---|",
    ]
    for name, changes in found["against"].items():
        cells = [
            f"{one['base']:.3f} → {one['candidate']:.3f} | {one['change']:+.3f} "
            f"[{one['low']:+.3f}, {one['high']:+.3f}]"
            for one in (changes["refusal"], changes["over_refusal"])
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _gain(gain: Mapping[str, float] | None) -> str:
    return f"{gain['gain']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]" if gain else ""


def _training(plan: Plan, report: Mapping[str, Any], weights_from: str | None) -> str:
    training = report["training"]
    memory = training["memory"]
    return (
        f"- {plan.stage}, {training['steps']} steps of {_batch(plan)}, weights of step "
        f"{training['best_step']}, {_best(training)}\n"
        f"- {plan.trainable:,} trained parameters ({plan.trainable_share:.2%} of the base)\n"
        f"- learning rate {plan.learning_rate:g} ({plan.learning_rate_source}), "
        f"{plan.manifest.train.schedule} schedule, {plan.warmup_steps} warm-up steps, "
        f"{plan.precision} on {plan.device}\n"
        f"- {training['tokens_per_second']:.0f} tokens/s; peak memory "
        f"{memory['measured'] / 2**30:.2f} GiB, predicted {memory['predicted'] / 2**30:.2f} GiB\n"
        f"{_begun(plan, training)}"
        f"- plan `{plan.digest}`, code {plan.code['version']}\n"
        + (f"- trained as {weights_from}, whose weights these are\n" if weights_from else "")
    )


def _batch(plan: Plan) -> str:
    """What a step learns from."""
    batch = plan.manifest.train.batch_size
    if answers := answers_of(plan.manifest):
        return f"{batch} prompts with {answers} sampled answers"
    return f"{batch} packed sequences" if plan.packed_to is not None else f"{batch} rows"


def _best(training: Mapping[str, Any]) -> str:
    """Why these weights were kept."""
    if training.get("best_value") is None:
        return "the last that was saved, as there were no validation rows"
    return f"the best by {training.get('reported', 'loss')} of the validation rows"


def _begun(plan: Plan, training: Mapping[str, Any]) -> str:
    lines = f"- continues {plan.start.ref} (`{plan.start.digest}`)\n" if plan.start else ""
    if plan.teacher is not None:
        named = {parent.digest: f"{parent.ref} " for parent in plan.parents}
        lines += f"- taught by {named.get(plan.teacher, '')}`{plan.teacher}`\n"
    beginning = training.get("beginning")
    if beginning:
        lines += (
            f"- reference: `{beginning['reference']}`; before the first step the policy differs "
            f"from it by at most {beginning['max_difference']:.2g} nats a token\n"
        )
    alarms = training.get("alarms") or ()
    return lines + "".join(
        f"- alarm at step {alarm['step']} ({alarm['action']}): {alarm['message']}\n"
        for alarm in alarms
    )


def _data(sources: list[dict[str, Any]], plan: Plan, report: Mapping[str, Any]) -> str:
    lines = [
        f"- `{s['source']}`: {s['rows']} rows from {s['origin']}, licence {s['license']}. "
        f"{s.get('description', '')}".rstrip()
        for s in sources
    ]
    rows = ", ".join(f"{count} {split}" for split, count in plan.rows.items())
    lines.append(f"- used: {rows}")
    found = [gate for gate in report.get("data_gates") or () if gate["rows"]]
    shown = ", ".join(f"`{gate['name']}` {gate['rows']} ({gate['action']})" for gate in found)
    lines += [f"- rows that data gates found: {shown}"] if found else []
    return "\n".join(lines) + "\n"


def _lineage(lines: Sequence[str]) -> str:
    """As it stands; no name in it may end the block."""
    shown = "\n".join(lines).replace("`", "'")
    return f"## Lineage\n\n```text\n{shown}\n```\n"


def _extensions(plan: Plan) -> str:
    lines = ["| what | name | from | source |", "|---|---|---|---|"]
    for pin in plan.extensions:
        source = pin.file if pin.distribution is None else f"{pin.distribution} {pin.version}"
        lines.append(f"| {singular(pin.table)} | {pin.name} | {source} | `{pin.digest}` |")
    return "\n".join(lines) + "\n"


def _usage(plan: Plan) -> str:
    usage = objective_of(plan.manifest).usage
    return f"\n{usage}\n" if usage else ""


def _serving(servable: Servable | None, report: Mapping[str, Any]) -> str:
    if servable is None:
        return f"Not served beside other adapters: {report['conversion']['refused']}.\n"
    size = f"rank {servable.rank}" if servable.rank else f"{servable.virtual_tokens} virtual tokens"
    exact = f"relative error {servable.error:.3g}" if servable.origin == "approximate" else "exact"
    return f"Served as {servable.form} ({servable.origin}, {exact}), {size}.\n"
