"""What each stage of a build depends on, as one digest a stage: what is equal is not done again.

    train ← convert ← ask ← evaluate ← publish          (each covers the one before it)

Invariant: a digest covers what determines a stage's result and nothing else: no path, user or host,
not how much memory the machine has. Another clone, a moved folder or another machine with the same
kind of device gives equal digests; a key that a stage does not read does not move its digest.

Which stage reads which key is decided in `decisions.py`; a key without a decision counts as read by
the training, which is safe and slow.

Equal digests do not promise equal bits. Two machines with one kind of device add in another order
(kernels, thread counts), and so do two micro batches, which are chosen by the memory that is free,
unless `train.micro_batch_size` says one. What they compute is the same sum, so neither moves a
digest, and neither do the keys that only trade memory for time (`gradient_checkpointing`,
`share_prefix`). Dropout draws its masks a micro batch at a time and so draws others. The lock
records the micro batch, and a rebuild takes it from there: there, bits are compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from adapterworks.builders.methods import METHODS
from adapterworks.builders.objectives.objective import objective_of
from adapterworks.builders.optimizers import OPTIMIZERS
from adapterworks.builders.plan.decisions import ADDED, Part, decision, leaves
from adapterworks.manifests.builtin import Kind
from adapterworks.manifests.digests import digest_json
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.objective import BASE, START
from adapterworks.manifests.paths import by_file_name
from adapterworks.registry.releases.release import BaseIdentity

# What the code of a stage computes, as a number instead of a digest over its text. The rule: who
# changes what a stage computes from equal inputs raises its number by one, in the same commit; what
# only moves, renames, speeds up or documents code leaves it. `test_semantics.py` trains under
# several settings and fails when what came of it has changed and the number has not.
TRAINING_SEMANTICS = 1
SAMPLING_SEMANTICS = 2  # what a training that samples does more, so that others are not done again
CONVERSION_SEMANTICS = 1
ASKING_SEMANTICS = 4  # how subjects are asked: prompts, decoding, likelihoods, retention suites
EVALUATION_SEMANTICS = 6  # statistics, intervals, gates; each metric's own file is digested

# Whose version can move a trained weight. Those that make rows are not among them: rows are
# digested as they are encoded. bitsandbytes counts where it is used.
TRAINING_PACKAGES = ("torch", "transformers", "peft", "accelerate")


@dataclass(frozen=True, slots=True)
class StageDigests:
    """`sha256:…` of what each stage depends on, the stages before it included."""

    train: str
    convert: str
    ask: str
    evaluate: str
    publish: str

    def to_json(self) -> dict[str, str]:
        """By the stages' names."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What digests are made of, beside the manifest.

    Attributes:
        base: its digest covers weights, tokenizer, template and quantization.
        resolved: what the plan makes of the keys that are `resolved`.
        device: `cpu` or `cuda`; which of them is not asked.
        packages: name → installed version.
        encoded: split → digest of its token ids and labels; `SPLIT.rewarded` → of all that rewards
            read of its rows, where the training samples.
        asked: digest of the test rows with what metrics read of them.
        files: manifest key → digest of a further file that it names.
        sources: digest of what is told of the sources.
        metrics: metric → digest of the file that defines it.
        scorers: package that a metric scores with → its version.
        asking: package that brings what retention asks → its version.
        origins: `start` → digest of the release that is continued, `reference` → what the policy is
            held near, `reward` → what says what an answer is worth, `teacher` → who teaches;
            empty where there is none.
        added: what others added to the tables → digest of its source.
    """

    base: BaseIdentity
    resolved: Mapping[str, Any]
    device: str
    packages: Mapping[str, str]
    encoded: Mapping[str, str]
    asked: str
    files: Mapping[str, str]
    sources: str
    metrics: Mapping[str, str]
    added: Mapping[tuple[Kind, str], str]
    scorers: Mapping[str, str] = field(default_factory=dict)
    asking: Mapping[str, str] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)


def stage_digests(manifest: Manifest, inputs: Inputs) -> StageDigests:
    """The digests of all stages. Pure."""
    # A key that has its default counts as one that is not there: a key that a later version adds
    # moves no digest of before. (A default that changes is a change of semantics; a test says so.)
    declared = by_file_name(manifest).model_dump(mode="json", exclude_defaults=True)
    values = dict(leaves(declared))
    own: dict[Part, dict[str, Any]] = {}
    for key, value in values.items():
        own.setdefault(decision(key) or "train", {})[key] = value
    added: dict[Part, dict[str, str]] = {}
    for (kind, name), digest in inputs.added.items():
        added.setdefault(ADDED.get(kind, "publish"), {})[f"{kind}:{name}"] = digest
    train = digest_json(
        {
            "semantics": TRAINING_SEMANTICS,
            "manifest": own.get("train", {}),
            "resolved": dict(inputs.resolved),
            "base": inputs.base.digest,
            "rows": dict(inputs.encoded),
            "files": {
                key: digest for key, digest in inputs.files.items() if key.startswith("train.")
            },
            "device": inputs.device,
            "packages": training_packages(manifest, inputs.packages),
            "added": added.get("train", {}),
            # On a GPU, 4-bit codes were of weights that had been rounded to bfloat16.
            **({"nf4": "of float32"} if _requantized(manifest, inputs) else {}),
            # Only where there are any: trainings from nothing keep the digests they have had.
            **({"origins": dict(inputs.origins)} if inputs.origins else {}),
            # Sampled answers were measured against the policy itself where it began with nothing.
            **({"divergence": "from the start"} if _measured_anew(manifest, inputs) else {}),
        }
    )
    convert = digest_json(
        {
            "train": train,
            "semantics": CONVERSION_SEMANTICS,
            "manifest": own.get("convert", {}),
        }
    )
    ask = digest_json(
        {
            "convert": convert,
            "semantics": ASKING_SEMANTICS,
            "manifest": own.get("ask", {}),
            "rows": inputs.asked,
            **({"packages": dict(inputs.asking)} if inputs.asking else {}),
            "added": added.get("ask", {}),
        }
    )
    evaluate = digest_json(
        {
            "ask": ask,
            "semantics": EVALUATION_SEMANTICS,
            "manifest": own.get("evaluate", {}),
            "metrics": dict(inputs.metrics),
            # Only where there are any: most metrics score with nothing but their own file.
            **({"packages": dict(inputs.scorers)} if inputs.scorers else {}),
            "added": added.get("evaluate", {}),
        }
    )
    publish = digest_json(
        {
            "evaluate": evaluate,
            # All of it, since all of it is recorded; but what has no effect republishes nothing.
            "manifest": {k: v for k, v in values.items() if decision(k) != "nothing"},
            "base": inputs.base.model_dump(mode="json"),
            "files": dict(inputs.files),
            "sources": inputs.sources,
            "added": added.get("publish", {}),
        }
    )
    return StageDigests(train, convert, ask, evaluate, publish)


def _requantized(manifest: Manifest, inputs: Inputs) -> bool:
    return inputs.device == "cuda" and manifest.base.quantization == "nf4"


def _measured_anew(manifest: Manifest, inputs: Inputs) -> bool:
    """Whether the reference of sampled answers is no release, but what the training began as."""
    reference, whole = inputs.origins.get("reference"), METHODS[manifest.method.kind].whole_model
    begun = "start" in inputs.origins and not whole
    own = (reference == START and not begun) or (reference == BASE and whole)
    return own and objective_of(manifest).rollouts


def training_packages(manifest: Manifest, packages: Mapping[str, str]) -> dict[str, str]:
    """The packages that a training's numbers come from, without their local version (`+cu128`):
    that is the device's, which is covered by its kind."""
    used = {OPTIMIZERS[manifest.train.optimizer].package}
    if manifest.base.quantization != "none":
        used.add("bitsandbytes")
    names = (*TRAINING_PACKAGES, *sorted(name for name in used if name))
    return {name: packages[name].partition("+")[0] for name in names if name in packages}
