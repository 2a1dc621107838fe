"""What an export is made from: a release, its base, and the files of both.

Invariant: what is exported is what is served: the servable form on the base's served values; only a
release that is a model of its own is exported with the weights that were trained.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterworks.builders.evaluation.asking import ends
from adapterworks.builders.evaluation.served_model import ServedModel
from adapterworks.builders.evaluation.subjects import base_of
from adapterworks.builders.exports.lora import Delta, read_deltas
from adapterworks.manifests.errors import Refused
from adapterworks.registry.bases.complete import names_in_model, weight_files
from adapterworks.registry.releases.forms import LORA
from adapterworks.registry.releases.release import FULL, SERVABLE

if TYPE_CHECKING:
    import torch

    from adapterworks.registry.bases.base import Base
    from adapterworks.registry.bases.store import BaseStore
    from adapterworks.registry.registry import Registry
    from adapterworks.registry.releases.release import Release
    from adapterworks.registry.releases.types import Resolved


@dataclass(frozen=True, slots=True)
class Material:
    """A release with its files checked out.

    Attributes:
        ref: `NAME@VERSION`.
        servable: the folder of its served form; None for a release that has none.
        full: the checkpoint of a release that is a model of its own.
        fingerprint: its `fingerprint.json`, if its bytes are here.
    """

    ref: str
    name: str
    version: int
    release: Release
    base: Base
    servable: Path | None
    full: Path | None
    fingerprint: dict[str, Any] | None

    @property
    def checkpoint(self) -> Path:
        """The checkpoint whose configuration, tokenizer and template the export has."""
        return self.full or self.base.served

    @property
    def lora(self) -> bool:
        """Whether it is a LoRA beside its base."""
        servable = self.release.servable
        return self.full is None and servable is not None and servable.form == LORA

    def deltas(self) -> dict[str, Delta]:
        """What the LoRA adds, by the module's name in the base."""
        assert self.servable is not None
        return read_deltas(self.servable)

    def weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Every tensor of the whole model, float32, one at a time.

        Raises:
            Refused: the adapter changes a module that the base does not have.
        """
        deltas = {} if self.full is not None else self.deltas()
        kind = json.loads((self.checkpoint / "config.json").read_text("utf-8")).get("model_type")
        named = names_in_model(self.checkpoint, [name for name, _ in self.shapes()])
        for name, tensor in self.base_weights():
            delta = deltas.pop(named[name].removesuffix(".weight"), None)
            if delta is None:
                yield name, tensor
                continue
            # GPT-2's linears are stored [in_features, out_features].
            full = delta.full().T if kind == "gpt2" else delta.full()
            yield name, tensor + full
        if deltas:
            raise Refused(f"`{self.ref}` adapts `{next(iter(deltas))}`, which its base has not")

    def base_weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Every tensor of the checkpoint, float32, one at a time."""
        from safetensors import safe_open

        for path in weight_files(self.checkpoint):
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118
                    yield name, file.get_tensor(name).float()

    def shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        """Names and shapes of all tensors, in the order of `weights`."""
        from safetensors import safe_open

        found = []
        for path in weight_files(self.checkpoint):
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118
                    found.append((name, tuple(file.get_slice(name).get_shape())))
        return found

    def ends(self) -> tuple[int, ...]:
        """The ids that end an answer, where releases are evaluated and served."""
        return ends_of(self.checkpoint)

    def facts(self) -> dict[str, str]:
        """What a written file says of where it comes from."""
        return {
            "adapterworks.release": self.release.digest,
            "adapterworks.ref": self.ref,
            "adapterworks.base": self.base.digest,
            "adapterworks.base_model": self.release.base.model,
        }

    def reference(self) -> ServedModel:
        """The release as Hugging Face and PEFT compute it in float32: what an export must equal."""
        if self.full is not None:
            return ServedModel(self.full)
        return ServedModel(self.base.served, self.servable, self.release.servable)


def ends_of(checkpoint: Path) -> tuple[int, ...]:
    """The ids that end an answer of a checkpoint; the first is its tokenizer's, if that has one."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(checkpoint)
    return ends(checkpoint, tokenizer.eos_token_id)


def gather(registry: Registry, bases: BaseStore, resolved: Resolved) -> Material:
    """Check out what an export of a release needs.

    Raises:
        NotFound: its base is not known here.
        IntegrityError: the base that can be had is not the one it was built on.
    """
    release = registry.release(resolved.digest)
    base = base_of(bases, release)
    absent = registry.absences(resolved.digest)
    fingerprint = None
    if "fingerprint.json" in release.files and "fingerprint.json" not in absent:
        fingerprint = json.loads(registry.read(resolved.digest, "fingerprint.json"))
    served = release.servable is not None
    return Material(
        ref=str(resolved),
        name=resolved.name,
        version=resolved.version,
        release=release,
        base=base,
        servable=registry.checkout(resolved.digest, SERVABLE) if served else None,
        full=registry.checkout(resolved.digest, FULL) if release.whole_model else None,
        fingerprint=fingerprint,
    )
