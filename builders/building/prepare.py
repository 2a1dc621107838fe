"""From a manifest to everything a plan and a training need: base, rows, encoded rows, plan.

Invariant: pure but for the base's preparation and the recipes' cache; the same manifest on the same
machine prepares the same plan.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterworks.builders.building.dataset_inputs import dataset_inputs
from adapterworks.builders.building.encode import data_facts, encode_earlier, encode_splits
from adapterworks.builders.building.origins import find_origins
from adapterworks.builders.building.prepared import Prepared
from adapterworks.builders.building.requirements import require_rows
from adapterworks.builders.building.surroundings import environment_for, named_files
from adapterworks.builders.building.teachers import require_room, with_teacher
from adapterworks.builders.data.assemble import Assembled, assemble, earlier_rows
from adapterworks.builders.data.gates.as_of import NOW, AsOf
from adapterworks.builders.data.gates.run import Progress as GateProgress
from adapterworks.builders.data.gather import gather
from adapterworks.builders.data.places import remember
from adapterworks.builders.data.render import encoded_once
from adapterworks.builders.data.rows import Row
from adapterworks.builders.data.template_lints import template_lints
from adapterworks.builders.evaluation.transfer import ancestor_tests, require_provable
from adapterworks.builders.methods.shape import read_shape
from adapterworks.builders.methods.technique import Lint
from adapterworks.builders.objectives.reach import reach_lints
from adapterworks.builders.plan.attached import check_attached
from adapterworks.builders.plan.facts import ANCHOR
from adapterworks.builders.plan.machine import Machine, detect_machine
from adapterworks.builders.plan.pins import pins
from adapterworks.builders.plan.plan import make_plan
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.paths import base_model, require_files
from adapterworks.registry.bases.base import Base
from adapterworks.registry.bases.described import described
from adapterworks.registry.bases.ends import ends
from adapterworks.registry.bases.files import chat_template
from adapterworks.registry.bases.quiet import quiet_libraries
from adapterworks.registry.bases.store import BaseStore
from adapterworks.registry.bases.template import template_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from adapterworks.registry.registry import Registry

SPLITS = ("train", "validation", "test")
_PATIENCE = 5.0  # seconds until gates say what they do
_ON_PAPER = Lint(
    "base.model",
    "its folder has no weights: sizes are those that `config.json` describes, a build is refused, "
    "and the digests are of no build",
    "the folder",
)


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
    """Load the rows, prepare the base, encode the rows, make the plan.

    Rows that are not of their format are refused before a base is unpacked or fetched.

    Args:
        manifest: resolved.
        bases: where base models are.
        registry: where the releases are that it begins from or is held near.
        cache: folder for derived rows.
        machine: this one, if not given.
        progress: told what takes long.
        as_of: whether rows are held against all test rows that are known now, or against those
            that were known when a release was built (to build it again).
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
    require_files(manifest)
    template, asked = template_of(manifest), base_model(manifest)
    as_which: Any = {
        "quantization": manifest.base.quantization,
        "double_quantization": manifest.base.double_quantization,
    }
    paper = described(asked, **as_which) if on_paper and template is None else None
    if paper is None:
        bases.prepared(asked, **as_which, template=template)  # whether it is known at all
    datasets = dataset_inputs(manifest, registry)
    gathered = gather(manifest, cache=cache, registry=registry)  # refused before a base is unpacked
    base = paper or bases.ensure(asked, **as_which, template=template, progress=progress)
    begun = find_origins(manifest, registry, base.digest)
    tokenizer = AutoTokenizer.from_pretrained(base.checkpoint)
    begun = with_teacher(begun, manifest, registry, bases, base, tokenizer, progress)
    with encoded_once():
        assembled = assemble(
            manifest,
            gathered,
            cache=cache,
            tokenizer=tokenizer,
            progress=_each_gate(progress),
            registry=registry,
            as_of=as_of,
        )
        _tell(assembled, progress)
        rows: dict[str, Sequence[Row]] = {name: getattr(assembled.splits, name) for name in SPLITS}
        _require(manifest, rows, base, tokenizer, registry, cache)
        examples = encode_splits(manifest, tokenizer, rows)
        earlier = earlier_rows(manifest, cache=cache, tokenizer=tokenizer, registry=registry)
        if earlier:
            examples[ANCHOR] = encode_earlier(manifest, tokenizer, earlier)
        sources = [sheet.to_json() for sheet in assembled.splits.datasheets]
        facts = data_facts(manifest, rows, examples, sources, named_files(manifest))
        shape = read_shape(base.checkpoint, described=paper is not None)
        require_room(begun, facts.longest_sequence)
        if cache is not None:
            remember(manifest, sources, facts.files, cache)
        plan = make_plan(
            manifest,
            base.identity,
            shape,
            machine or detect_machine(),
            facts,
            environment_for(manifest),
            extensions,
            begun.origins,
        )
        lints = [*plan.lints, *_template_lints(manifest, bases, base, tokenizer, rows["train"])]
        lints += reach_lints(manifest, tokenizer, rows["train"])
        if paper is not None:
            lints.append(_ON_PAPER)
        further = {"datasets": datasets.datasets, "tenants": datasets.tenants}
        plan = plan.model_copy(update={"lints": tuple(lints), **further})
        check_attached(manifest, base.checkpoint, planned=plan.trainable, steps=plan.steps)
    return Prepared(
        plan, base, shape, tokenizer, rows, examples, sources, assembled.gates, accelerate, begun
    )


def _tell(assembled: Assembled, progress: Callable[[str], None] | None) -> None:
    """What could not be looked at, and which data gates found something."""
    if progress is None:
        return
    for note in assembled.notes:
        progress(f"note: {note}")
    for report in assembled.gates.reports:
        if report.rows:
            progress(f"data gate `{report.name}`: {report.count} ({report.action})")


def _require(
    manifest: Manifest,
    rows: dict[str, Sequence[Row]],
    base: Base,
    tokenizer: PreTrainedTokenizerBase,
    registry: Registry | None,
    cache: Path | None,
) -> None:
    """Refuse what the evaluation would refuse after the training."""
    require_rows(manifest, tokenizer, rows)
    if registry is not None and rows["test"]:
        tests = ancestor_tests(registry, manifest, base.checkpoint, cache or Path())
        require_provable(tests, manifest.evaluate.retention, manifest.evaluate.budget_confidence)


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
