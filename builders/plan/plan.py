"""The plan: what a build will do, computed before it does anything.

Invariant: `make_plan` is pure; equal inputs give equal plans. `Plan.digests` covers, stage by
stage, what determines the result, not what it is estimated to cost, so an unchanged plan names an
existing release and a stage whose digest is known is not done again (`builders/plan/digests.py`).
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from adapterworks.builders.data.formats import FORMATS
from adapterworks.builders.methods import METHODS
from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.methods.technique import Lint, ServableForm, Technique
from adapterworks.builders.objectives.objective import objective_of
from adapterworks.builders.plan.attention import chosen_attention
from adapterworks.builders.plan.digests import (
    SAMPLING_SEMANTICS,
    Inputs,
    StageDigests,
    stage_digests,
)
from adapterworks.builders.plan.environment import Environment
from adapterworks.builders.plan.facts import DataFacts
from adapterworks.builders.plan.fitted import fitted
from adapterworks.builders.plan.generation import answers_of, learnt_together
from adapterworks.builders.plan.lints import base_lints, training_lints, usual_rate
from adapterworks.builders.plan.machine import Machine, Precision
from adapterworks.builders.plan.origins import Origins
from adapterworks.builders.plan.packing import in_packs, packs_ahead
from adapterworks.builders.plan.pins import Pin
from adapterworks.builders.plan.possible import check_possible
from adapterworks.builders.plan.resources import Needs, needs
from adapterworks.builders.plan.sharing import beginnings, can_share
from adapterworks.manifests.digests import digest_json
from adapterworks.manifests.models import Manifest
from adapterworks.registry.bases.causal_lm import EAGER
from adapterworks.registry.releases.release import BaseIdentity, Parent


class Plan(BaseModel):
    """The result of a manifest, a base, its rows and a machine.

    `encoded`, `asked`, `files`, `sources`, `metrics`, `scorers` and `asking` are those of
    `digests.Inputs`, `rewarding` is that of `Environment`.

    Attributes:
        generation_batch: answers that the trained model generates together; 0: it generates none.
        shared_prefix: tokens that all rows of a micro batch begin with, at least, and that are
            computed once; 0: none are.
        undropped: the base has dropout of its own, which is off since the objective compares
            policies.
        capped: its attention scores are soft-capped, so they are computed one by one (`eager`).
        attention: the implementation, where it is another one than the base is loaded with.
        text_alone: it has parts that text does not pass through, which are left as they are.
        tenants: whose rows are learnt, directly or through a release, with the strictest share.
        packed_to: tokens of the sequences that rows are put into before the training, if they are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    manifest: Manifest
    base: BaseIdentity
    rows: dict[str, int]
    data_digests: dict[str, str]
    encoded: dict[str, str] = {}
    asked: str = ""
    files: dict[str, str] = {}
    sources: str = ""
    metrics: dict[str, str] = {}
    scorers: dict[str, str] = {}
    rewarding: dict[str, str] = {}
    asking: dict[str, str] = {}
    code: dict[str, str]
    packages: dict[str, str]
    device: Literal["cpu", "cuda"]
    precision: Precision
    objective: str
    stage: str
    steps: int
    steps_per_epoch: int
    warmup_steps: int
    evaluate_every: int
    micro_batch: int
    accumulation: int
    generation_batch: int = 0
    learning_rate: float
    learning_rate_source: str
    tokens: int
    supervised_tokens: int
    longest: int
    shared_prefix: int = 0
    trainable: int
    parameters: int
    memory: dict[str, int]
    disk: int
    seconds: float | None = None
    servable: ServableForm
    lints: tuple[Lint, ...] = ()
    extensions: tuple[Pin, ...] = ()
    start: Parent | None = None
    reference: str | None = None
    reward: str | None = None
    teacher: str | None = None
    parents: tuple[Parent, ...] = ()
    undropped: bool = False
    capped: bool = False
    attention: str = ""
    text_alone: bool = False
    datasets: tuple[Parent, ...] = ()
    tenants: dict[str, str] = {}
    packed_to: int | None = None

    @property
    def origins(self) -> Origins:
        """What the training begins from and is held near."""
        return Origins(self.start, self.reference, self.reward, self.parents, self.teacher)

    @property
    def digests(self) -> StageDigests:
        """What each stage depends on."""
        computes = METHODS[self.manifest.method.kind].semantics(self.manifest.method)
        resolved = ("steps", "steps_per_epoch", "warmup_steps", "evaluate_every", "learning_rate")
        return stage_digests(
            self.manifest,
            Inputs(
                base=self.base,
                resolved={name: getattr(self, name) for name in (*resolved, "precision")}
                # Only where it is so: every other training keeps the digest it has had.
                | ({"undropped": True} if self.undropped else {})
                | ({"attention": EAGER} if self.capped else {})
                | ({"attention": self.attention} if self.attention else {})
                | ({"trained": "text"} if self.text_alone else {})
                | ({"method": computes} if computes else {})
                | ({"packed_to": self.packed_to} if self.packed_to else {})
                | ({"sampling": SAMPLING_SEMANTICS} if answers_of(self.manifest) else {})
                | ({"rewarding": self.rewarding} if self.rewarding else {}),
                device=self.device,
                packages=self.packages,
                encoded=self.encoded,
                asked=self.asked,
                files=self.files,
                sources=self.sources,
                metrics=self.metrics,
                scorers=self.scorers,
                asking=self.asking,
                added={(pin.table, pin.name): pin.digest for pin in self.extensions},
                origins=self.origins.to_json(),
            ),
        )

    @property
    def needs(self) -> Needs:
        """What it is given where it is sent to; InvalidInput if that is several nodes."""
        return needs(self.manifest, self.device, self.memory["total"], self.parameters)

    @property
    def digest(self) -> str:
        """`sha256:…` that names the plan's release: of its last stage."""
        return self.digests.publish

    @property
    def trainable_share(self) -> float:
        """Trained parameters over the base's, 0 to 1 and above (P-tuning v2's MLP can be large)."""
        return self.trainable / self.parameters


def make_plan(
    manifest: Manifest,
    base: BaseIdentity,
    shape: BaseShape,
    machine: Machine,
    data: DataFacts,
    environment: Environment,
    extensions: tuple[Pin, ...] = (),
    origins: Origins | None = None,
) -> Plan:
    """Compute the plan.

    Args:
        extensions: what the manifest names and adapterworks does not bring (`pins`).
        origins: what the training begins from and is held near; found in a registry by
            `builders/building/origins.py`. Without it, what the manifest says without one.

    Raises:
        InvalidInput: a combination this base, machine or engine cannot do.
        Refused: it cannot fit this machine, or could not be served.
    """
    technique = METHODS[manifest.method.kind]
    train = manifest.train
    machine = machine.of_cards(train.processes)
    precision = machine.precision if train.precision == "auto" else train.precision
    longest, rows = data.longest_sequence, len(data.lengths)
    packed_to = train.max_length if packs_ahead(manifest) else None
    if packed_to is not None:
        data = in_packs(data, packed_to)
    check_possible(manifest, shape, machine, technique, precision, longest)
    per_epoch = -(-len(data.lengths) // train.batch_size)
    steps = max(1, round(per_epoch * train.epochs))
    if train.max_steps is not None:
        steps = min(steps, train.max_steps)
    trainable = technique.trainable(shape, manifest.method)
    technique.best_from(manifest.method, steps)  # refuses schedules that do not fit the steps
    found = origins or Origins.declared(manifest)
    able = can_share(manifest, technique, shape, longest)
    fits = fitted(
        manifest,
        shape,
        machine,
        data,
        beginnings(manifest, data) if able else [],
        trainable,
        precision,
        found.teacher_parameters,
    )
    share = steps / per_epoch
    objective, rate = objective_of(manifest), train.learning_rate
    default = usual_rate(technique, objective)
    test = data.rows.get("test")
    lints = (
        *technique.lints(shape, manifest.method),
        *base_lints(manifest, shape),
        *training_lints(
            manifest, technique, rows=rows, steps=steps, device=machine.device, test=test
        ),
    )
    return Plan(
        manifest=manifest,
        base=base,
        rows=dict(data.rows),
        data_digests=dict(data.digests),
        encoded=dict(data.encoded),
        asked=data.asked,
        files=dict(data.files),
        sources=_sources_digest(data),
        metrics=dict(environment.metrics),
        scorers=dict(environment.scorers),
        rewarding=dict(environment.rewarding),
        asking=dict(environment.asking),
        code=dict(environment.code),
        packages=dict(environment.packages),
        device=machine.device,
        precision=precision,
        objective=objective.name,
        stage=objective.describe(FORMATS.named(manifest.data.format).gives),
        steps=steps,
        steps_per_epoch=per_epoch,
        warmup_steps=round(train.warmup_ratio * steps),
        evaluate_every=-(-steps // train.evaluations),
        micro_batch=fits.micro_batch,
        accumulation=-(-learnt_together(manifest) // (fits.micro_batch * train.processes)),
        generation_batch=fits.generation_batch,
        learning_rate=default.value if rate is None else rate,
        learning_rate_source=default.source if rate is None else "manifest",
        tokens=round(sum(data.lengths) * share),
        supervised_tokens=round(sum(data.supervised) * share),
        longest=longest,
        shared_prefix=fits.shared_prefix,
        trainable=trainable,
        parameters=shape.parameters,
        memory=fits.memory.to_json(),
        disk=_disk(technique, trainable, shape),
        servable=technique.servable(shape, manifest.method, manifest.serve),
        lints=lints,
        extensions=extensions,
        start=found.start,
        reference=found.reference,
        reward=found.reward,
        teacher=found.teacher,
        parents=found.parents,
        undropped=objective.compares and shape.dropout,
        capped=shape.capped,
        attention=chosen_attention(manifest, shape),
        text_alone=shape.beside > 0,
        packed_to=packed_to,
    )


def _sources_digest(data: DataFacts) -> str:
    """Of what the datasheets tell, but for where the manifest finds the files."""
    return digest_json(
        [{key: value for key, value in sheet.items() if key != "source"} for sheet in data.sources]
    )


def _disk(technique: Technique[Any], trainable: int, shape: BaseShape) -> int:
    """Bytes a build writes: two checkpoints with optimizer while one replaces the other, the best
    weights, and the release."""
    return 2 * 12 * trainable + 2 * 4 * trainable + technique.release_bytes(shape, trainable)


def with_seconds(plan: Plan, tokens_per_second: float) -> Plan:
    """The plan with its time, from a measured speed in tokens (padding not counted)."""
    return plan.model_copy(update={"seconds": plan.tokens / tokens_per_second})
