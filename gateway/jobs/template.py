"""The manifest that a fine-tuning job stands for, checked before there is a job."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from adapterworks.manifests.document import Document
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.load import check_document
from adapterworks.manifests.toml import to_toml
from adapterworks.registry.jobs.fine_tuning import (
    REINFORCEMENT,
    Asked,
    Rows,
    check_template,
    manifest_values,
)

# Stands in for the usual rate, which only builders know; any positive number will do for a check.
_SOME_RATE = 1e-4


def read_template(path: str | None) -> dict[str, Any]:
    """The tables that every job begins from.

    Raises:
        InvalidInput: it is no TOML, says what is each job's own, or has a fault.
    """
    if path is None:
        return {}
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"`[jobs] template` `{path}` cannot be read: {error}") from error
    check_template(values)
    check_manifest(_some("supervised", values), path)
    if "objective" in values:  # what it says there holds for these jobs alone
        check_manifest(_some(REINFORCEMENT, values), path)
    return values


def _some(method: str, template: dict[str, Any]) -> Asked:
    """A job of a method, to see whether a template has a fault."""
    some = Rows(file="file", blob="sha256:" + "0" * 64, kind=method)
    check = {
        "type": "string_check",
        "name": "some",
        "operation": "eq",
        "input": "",
        "reference": "",
    }
    return Asked(
        name="name", model="base", base="base", quantization="none", base_digest="",
        method=method, seed=0, training=some, validation=some, template=template,
        grader=check if method == REINFORCEMENT else None,
    )  # fmt: skip


def check_manifest(asked: Asked, where: str) -> None:
    """Refuse a job whose manifest has faults.

    Raises:
        InvalidInput: with all of them.
    """
    text = to_toml(manifest_values(asked, lambda kind: _SOME_RATE))
    document = Document(where, text, Path("/nonexistent"), tomllib.loads(text), {})
    manifest, faults = check_document(document, profile=None, overrides=())
    if manifest is None:
        said = "; ".join(f"`{fault.key}` {fault.message}" for fault in faults)
        raise InvalidInput(f"{where} has no manifest without a fault: {said}")
