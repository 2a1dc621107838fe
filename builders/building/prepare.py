"""From a manifest to everything a plan and a training need: base, rows, encoded rows, plan.

Invariant: pure but for the base's preparation and the recipes' cache; the same manifest on the same
machine prepares the same plan.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterworks.builders.building.origins import Begun, find_origins
from adapterworks.builders.building.shelf import Shelf, shelf_of
from adapterworks.builders.building.teachers import require_room, with_teacher
from adapterworks.builders.data.assemble import assemble, earlier_rows
from adapterworks.builders.data.gates.as_of import NOW, AsOf
from adapterworks.builders.data.gates.run import GateResults
from adapterworks.builders.data.gates.run import Progress as GateProgress
from adapterworks.builders.data.identity import asked_digest, encoded_digest
from adapterworks.builders.data.many import digests
from adapterworks.builders.data.places import remember
from adapterworks.builders.data.prefix import common_prefix
from adapterworks.builders.data.render import Encoded, encoded_once
from adapterworks.builders.data.rows import Row, digest_of
from adapterworks.builders.data.template_lints import template_lints
from adapterworks.builders.evaluation.metrics import metric
from adapterworks.builders.evaluation.needs import check_test_rows
from adapterworks.builders.evaluation.report import slices_of
from adapterworks.builders.evaluation.retention import PACKAGE as RETAINED
from adapterworks.builders.evaluation.scorers import installed, versions
from adapterworks.builders.evaluation.transfer import ancestor_tests, require_provable
from adapterworks.builders.methods import METHODS
from adapterworks.builders.methods.shape import BaseShape, read_shape
from adapterworks.builders.methods.technique import Lint
from adapterworks.builders.objectives.examples import Example
from adapterworks.builders.objectives.graders import require_columns
from adapterworks.builders.objectives.kept import encoded
from adapterworks.builders.objectives.objective import objective_of
from adapterworks.builders.objectives.reach import reach_lints
from adapterworks.builders.objectives.sft import OBJECTIVE as SFT
from adapterworks.builders.plan.attached import check_attached
from adapterworks.builders.plan.facts import ANCHOR, DataFacts
from adapterworks.builders.plan.machine import Machine, detect_machine
from adapterworks.builders.plan.origins import Origins
from adapterworks.builders.plan.pins import Pin, pins
from adapterworks.builders.plan.plan import Environment, Plan, make_plan
from adapterworks.builders.publishing.adapter_lock import environment
from adapterworks.builders.rewards.sandbox import require as require_sandbox
from adapterworks.manifests.digests import digest_file
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.extensions import source_digest
from adapterworks.manifests.graders import GRADER, GraderMetric, PythonGrader, leaves_of
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.paths import base_model, place, require_files
from adapterworks.registry.bases.base import Base
from adapterworks.registry.bases.described import described
from adapterworks.registry.bases.ends import ends
from adapterworks.registry.bases.files import chat_template
from adapterworks.registry.bases.quiet import quiet_libraries
from adapterworks.registry.bases.store import BaseStore
from adapterworks.registry.bases.template import template_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from adapterworks.builders.training.job import Job
    from adapterworks.registry.registry import Registry

SPLITS = ("train", "validation", "test")
_PATIENCE = 5.0  # seconds until gates say what they do
_ON_PAPER = Lint(
    "base.model",
    "its folder has no weights: sizes are those that `config.json` describes, a build is refused, "
    "and the digests are of no build",
    "the folder",
)


@dataclass(frozen=True)
class Prepared:
    """A plan with what it was made from; `accelerate` is where its configuration is here, `begun`
    the releases that the training begins from and is held near."""

    plan: Plan
    base: Base
    shape: BaseShape
    tokenizer: PreTrainedTokenizerBase
    rows: dict[str, Sequence[Row]]
    encoded: dict[str, Sequence[Example]]
    sources: list[dict[str, Any]]
    gates: GateResults
    accelerate: str | None = None
    begun: Begun = field(default_factory=lambda: Begun(Origins()))

    def sequences(self, split: str, most: int | None = None) -> list[Encoded]:
        """The sequences of a split's examples, of the first `most` if it is said, in order."""
        return [*_sequences(self.encoded[split][:most])]

    def job(self, *, plan: Plan | None = None, until: int | None = None) -> Job:
        """What the training process is given.

        Args:
            plan: another than the prepared one.
            until: stop at this step.
        """
        from adapterworks.builders.training.job import Job

        technique = METHODS[self.plan.manifest.method.kind]
        begun = self.begun
        start, reference, reward = begun.start, begun.reference, begun.reward
        # A whole model is loaded from where it is continued; an adapter is put on the base.
        whole = technique.whole_model and start is not None
        return Job(
            plan=plan or self.plan,
            checkpoint=str(start if whole else technique.checkpoint(self.base)),
            pad=self.pad,
            parent=os.getpid(),
            until=until,
            accelerate=self.accelerate,
            start=None if start is None or whole else str(start),
            reference=None if reference is None else str(reference),
            reward=None if reward is None else str(reward),
            separator=begun.separator,
            teacher=None if begun.teacher is None else str(begun.teacher),
            teacher_model=None if begun.teacher_model is None else str(begun.teacher_model),
        )

    @property
    def pad(self) -> int:
        """The id that padding is filled with; it is masked, so any will do."""
        for token in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id):
            if token is not None:
                return int(token)
        return 0


def prepare(
    manifest: Manifest,
    bases: BaseStore,
    *,
    registry: Registry | None = None,
    cache: Path | None = None,
    machine: Machine | None = None,
    progress: Callable[[str], None] | None = None,
    as_of: AsOf = NOW,
    on_paper: bool = False,
) -> Prepared:
    """Prepare the base, load and encode the rows, make the plan.

    Args:
        manifest: resolved.
        bases: where base models are.
        registry: where the releases are that it begins from or is held near.
        cache: folder for derived rows.
        machine: this one, if not given.
        progress: told what takes long.
        as_of: by the seals of another time, for a release that is there.
        on_paper: nothing is built of it, so a folder that describes a base without weights will do.

    Raises:
        InvalidInput, NotFound, Refused, Unavailable: as the stages before training say.
    """
    quiet_libraries()
    from transformers import AutoTokenizer

    from adapterworks.builders.training.job import check_launcher
    from adapterworks.builders.training.trackers import check_trackers

    extensions = pins(manifest)
    check_trackers(manifest.train)
    accelerate = check_launcher(manifest)
    require_files(manifest)  # before a base is unpacked or fetched
    template, asked = template_of(manifest), base_model(manifest)
    as_which: Any = {
        "quantization": manifest.base.quantization,
        "double_quantization": manifest.base.double_quantization,
    }
    paper = described(asked, **as_which) if on_paper and template is None else None
    base = paper or bases.ensure(asked, **as_which, template=template, progress=progress)
    begun = find_origins(manifest, registry, base.digest)
    shelf = shelf_of(manifest, registry)
    tokenizer = AutoTokenizer.from_pretrained(base.checkpoint)
    begun = with_teacher(begun, manifest, registry, bases, base, tokenizer, progress)
    with encoded_once():
        return _prepared(
            manifest,
            bases,
            base,
            begun,
            tokenizer,
            accelerate,
            extensions,
            shelf,
            registry,
            cache,
            machine,
            progress,
            as_of,
            paper is not None,
        )


def _prepared(
    manifest: Manifest,
    bases: BaseStore,
    base: Base,
    begun: Begun,
    tokenizer: PreTrainedTokenizerBase,
    accelerate: str | None,
    extensions: tuple[Pin, ...],
    shelf: Shelf,
    registry: Registry | None,
    cache: Path | None,
    machine: Machine | None,
    progress: Callable[[str], None] | None,
    as_of: AsOf,
    paper: bool,
) -> Prepared:
    """Rows, gates, plan; the base is there, or described."""
    assembled = assemble(
        manifest,
        cache=cache,
        tokenizer=tokenizer,
        progress=_each_gate(progress),
        registry=registry,
        as_of=as_of,
    )
    splits = assembled.splits
    if progress:
        for note in assembled.notes:
            progress(f"note: {note}")
    for report in assembled.gates.reports:
        if report.rows and progress:
            progress(f"data gate `{report.name}`: {report.count} ({report.action})")
    rows: dict[str, Sequence[Row]] = {name: getattr(splits, name) for name in SPLITS}
    if not rows["train"]:
        raise InvalidInput("there are no training rows", hint="check `data.train` and the gates")
    table = manifest.evaluate
    if not rows["test"] and (table.gates or table.retention.on or table.safety.on):
        # The alias would move without anybody's judgement.
        raise InvalidInput(
            "there are no test rows, and so nothing by which gates, retention or safety are judged",
            hint="equal rows count once, and data gates may drop some: name `data.test`, raise "
            "`data.test_share`, or add rows",
        )
    for row in rows["test"]:
        slices_of(row)  # what the evaluation will read of it is refused before the training
    check_test_rows(tokenizer, rows["test"], manifest.evaluate, manifest.train.max_length)
    if registry is not None and rows["test"]:
        # Asked for after the training, and refused before it.
        tests = ancestor_tests(registry, manifest, base.checkpoint, cache or Path())
        require_provable(tests, manifest.evaluate.retention, manifest.evaluate.budget_confidence)
    train, objective = manifest.train, objective_of(manifest)
    examples: dict[str, Sequence[Example]] = {}
    for name in ("train", "validation"):
        objective.require(rows[name])
        require_rewards(manifest, rows[name])
        examples[name] = encoded(objective, tokenizer, rows[name], train.max_length, train.loss_on)
    earlier = earlier_rows(manifest, cache=cache, tokenizer=tokenizer, registry=registry)
    if earlier:
        examples[ANCHOR] = encoded(SFT, tokenizer, earlier, train.max_length, "completion")
    sources = [sheet.to_json() for sheet in splits.datasheets]
    learnt = examples["train"]
    facts = DataFacts(
        rows={name: len(rows[name]) for name in SPLITS},
        digests={name: digest_of(digests(rows[name])) for name in SPLITS},
        lengths=tuple(objective.planned_tokens(example) for example in learnt),
        supervised=tuple(objective.planned_supervised(example) for example in learnt),
        shared=common_prefix(
            (sequence.input_ids for sequence in _sequences(learnt)),
            (sequence.labels for sequence in _sequences(learnt)),
        ),
        sources=tuple(sources),
        encoded={
            name: encoded_digest(_sequences(encoded_rows))
            for name, encoded_rows in examples.items()
        }
        | {
            # Rewards read all of a row, as metrics do: its columns, and the whole of its answer.
            f"{name}.rewarded": asked_digest(rows[name])
            for name in ("train", "validation")
            if objective.rewarded
        },
        asked=asked_digest(rows["test"]),
        files=named_files(manifest),
        sequences=objective.sequences,
        longest=max(
            max(len(sequence.input_ids) for sequence in _sequences(learnt)),
            max(objective.planned_longest(e) for e in learnt),
        ),
    )
    shape = read_shape(base.checkpoint, described=paper)
    require_room(begun, facts.longest_sequence)
    if cache is not None:
        remember(manifest, sources, facts.files, cache)
    here = _environment(manifest)
    machine = machine or detect_machine()
    plan = make_plan(
        manifest, base.identity, shape, machine, facts, here, extensions, begun.origins
    )
    said = tuple(_template_lints(manifest, bases, base, tokenizer, rows["train"]))
    said = (*said, *reach_lints(manifest, tokenizer, rows["train"]))
    said = (*said, _ON_PAPER) if paper else said
    further = {"datasets": shelf.datasets, "tenants": shelf.tenants}
    plan = plan.model_copy(update={"lints": (*plan.lints, *said), **further})
    check_attached(manifest, base.checkpoint, planned=plan.trainable, steps=plan.steps)
    return Prepared(
        plan, base, shape, tokenizer, rows, examples, sources, assembled.gates, accelerate, begun
    )


def _each_gate(progress: Callable[[str], None] | None) -> GateProgress | None:
    """Says which gate looks at the rows, where one takes longer than somebody waits."""
    if progress is None:
        return None
    began = time.monotonic()

    def say(name: str, done: int, total: int) -> None:
        if time.monotonic() - began > _PATIENCE:
            progress(f"data gate `{name}` ({done + 1} of {total})")

    return say


def _template_lints(
    manifest: Manifest,
    bases: BaseStore,
    base: Base,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Row],
) -> Iterator[Lint]:
    """What is unusual about the template that rows are rendered with; of texts none is."""
    if all(row.text is not None for row in rows):
        return
    replaced, own = manifest.base.chat_template is not None, ""
    if replaced:
        original = bases.prepared(
            base_model(manifest),
            quantization=manifest.base.quantization,
            double_quantization=manifest.base.double_quantization,
        )
        own = chat_template(original.checkpoint) if original is not None else ""
    stop = ends(base.checkpoint, tokenizer.eos_token_id)
    for what, source in template_lints(tokenizer, replaced=replaced, own=own, stop=stop):
        yield Lint("base.chat_template" if replaced else "base.model", what, source)


def _sequences(examples: Sequence[Example]) -> Iterator[Encoded]:
    return (sequence for example in examples for sequence in example.sequences)


def require_rewards(manifest: Manifest, rows: Sequence[Row]) -> None:
    """Refuse, before a training, rewards that cannot be given here or to these rows.

    Raises:
        InvalidInput: a row lacks what a reward reads of it.
        Refused: there is no sandbox, say.
    """
    for name in getattr(manifest.objective, "rewards", ()):
        reward = metric(name)
        if reward.require is not None:
            reward.require(rows)
    for grader in getattr(manifest.objective, "graders", ()):
        if any(isinstance(leaf, PythonGrader) for leaf in leaves_of(grader).values()):
            require_sandbox()
        for row in rows:
            require_columns(grader, row)


def named_files(manifest: Manifest) -> dict[str, str]:
    """The bytes of the files that a manifest names beside its rows, and of the code of rewards."""
    named = {
        "train.accelerate_config": manifest.train.accelerate_config,
        "data.augment.lexicon": manifest.data.augment.lexicon,
    }
    files = {key: digest_file(place(path, manifest.folder)) for key, path in named.items() if path}
    rewards = getattr(manifest.objective, "rewards", ())
    # What judges sampled answers decides what is learnt.
    return files | {f"train.reward.{name}": source_digest("metrics", name) for name in rewards}


def _environment(manifest: Manifest) -> Environment:
    """What is installed here, with what this manifest's answers are scored by."""
    objective = manifest.objective
    graders = [GraderMetric(f"{GRADER}{g.name}", g) for g in getattr(objective, "graders", ())]
    here = environment()
    rewarding = versions([*getattr(objective, "rewards", ()), *graders])
    return replace(
        here,
        packages={**here.packages, **rewarding},
        metrics=metric_code(manifest),
        scorers=versions(_measured_by(manifest)),
        rewarding=rewarding,
        asking=installed([RETAINED]) if manifest.evaluate.retention.on else {},
    )


def metric_code(manifest: Manifest) -> dict[str, str]:
    """The digest of each used metric's file; a metric that only a gate names is used too."""
    return {name: source_digest("metrics", name) for name in _measured_by(manifest)}


def _measured_by(manifest: Manifest) -> list[str]:
    table = manifest.evaluate
    return sorted({*table.metrics, *(gate.metric for gate in table.gates)})
