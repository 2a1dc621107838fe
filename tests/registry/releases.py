"""Tiny releases for tests: real files, real records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import BaseIdentity, Draft, Servable
from adapterworks.registry.releases.types import Published

BASE = BaseIdentity(
    model="smollm2-135m-instruct", revision="main", quantization="none", digest=f"sha256:{'b' * 64}"
)


def draft(number: int = 1, name: str = "medical", **fields: Any) -> Draft:
    """The draft of release `number`."""
    values: dict[str, Any] = {
        "name": name,
        "method": "lora",
        "description": "ICD-10-CM coding of clinical terms",
        "tags": ("icd", "coding"),
        "created": f"2026-01-01T00:00:{number % 60:02d}.{number:06d}Z",
        "created_by": "tester",
        "base": BASE,
        "servable": Servable(form="lora", origin="native", rank=8),
        "metrics": {"exact_match": number / 1000},
    }
    return Draft(**{**values, **fields})


def folder(path: Path, number: int = 1, lock: dict[str, Any] | None = None) -> Path:
    """A folder with the files of release `number`."""
    for role in ("adapter", "servable"):
        (path / role).mkdir(parents=True, exist_ok=True)
        (path / role / "adapter_model.safetensors").write_bytes(f"weights {number}".encode() * 50)
        (path / role / "adapter_config.json").write_text('{"r": 8}')
    (path / "README.md").write_text("# medical\n")
    (path / "adapter.lock").write_text(json.dumps(lock or {"seed": number}))
    return path


def publish(
    registry: Registry, path: Path, number: int = 1, *, alias: str | None = None, **fields: Any
) -> Published:
    """Publish release `number`."""
    return registry.publish(
        folder(path / f"release-{number}", number),
        draft(number, **fields),
        alias=alias,
        who="tester",
        why=f"release {number}",
    )
