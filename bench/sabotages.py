"""The ways in which an adapter can be wrong, each planted as an accident or an attacker would.

Three places: the files before they were published (every digest is consistent, the release key
signed it), the stored bytes afterwards, and a release that was made whole by somebody else.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import BaseIdentity, Draft, Release

if TYPE_CHECKING:
    import torch

    from adapterworks.registry.blobs.local import LocalBlobs

WEIGHTS = "servable/adapter_model.safetensors"
CONFIG = "servable/adapter_config.json"
FINGERPRINT = "fingerprint.json"
_OTHER = "sha256:" + "0" * 64


@dataclass(frozen=True)
class Scene:
    """What there is to sabotage.

    Attributes:
        registry: the one that is served.
        draft: of the good release.
        good: its files.
        other: the files of another good one on the same base.
        on_nf4: the good adapter's fingerprint on the base's NF4 values.
        key: the release key.
        scratch: an empty folder.
    """

    registry: Registry
    draft: Draft
    good: Path
    other: Path
    on_nf4: dict[str, Any]
    key: Path
    scratch: Path


@dataclass(frozen=True)
class Sabotage:
    """One way.

    Attributes:
        done: what was done, for the table.
        edit: changes a copy of the good release's files before they are published.
        base: the base that the record claims, if not its own.
        damage: changes stored bytes after the release was published and signed.
    """

    name: str
    done: str
    edit: Callable[[Scene, Path], None] = lambda scene, files: None
    base: dict[str, str] = field(default_factory=dict)
    damage: Callable[[Registry, Release], None] | None = None
    signed: bool = True

    def plant(self, scene: Scene) -> str:
        """Publish it; returns its ref."""
        files = scene.scratch / self.name
        shutil.copytree(scene.good, files)
        if self.damage is not None:
            mark(files / WEIGHTS, self.name)
        self.edit(scene, files)
        base = BaseIdentity(**{**scene.draft.base.model_dump(), **self.base})
        draft = scene.draft.model_copy(update={"name": self.name, "plan": None, "base": base})
        published = scene.registry.publish(files, draft, who="sabotage")
        if self.signed:
            scene.registry.signatures.sign(published.digest, scene.key, who="sabotage")
        if self.damage is not None:
            self.damage(scene.registry, scene.registry.release(published.digest))
        return str(published)


def _tensors(
    change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]],
) -> Callable[[Scene, Path], None]:
    """Write other tensors."""

    def edit(scene: Scene, files: Path) -> None:
        from safetensors.torch import load_file, save_file

        changed = change(load_file(files / WEIGHTS))
        save_file(changed, files / WEIGHTS, metadata={"format": "pt"})

    return edit


def mark(weights: Path, text: str) -> None:
    """The same tensors as a blob of their own, so that damage hits nobody else."""
    from safetensors.torch import load_file, save_file

    save_file(load_file(weights), weights, metadata={"format": "pt", "of": text})


def _json(path: str, **changes: Any) -> Callable[[Scene, Path], None]:
    """Change keys of a JSON file."""

    def edit(scene: Scene, files: Path) -> None:
        document = json.loads((files / path).read_text())
        (files / path).write_text(json.dumps({**document, **changes}))

    return edit


def _layer(name: str) -> int:
    return int(name.split(".layers.")[1].split(".")[0])


def _layers(tensors: dict[str, Any]) -> int:
    return 1 + max(_layer(name) for name in tensors)


def _misnamed(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        name.replace(".model.model.", ".model.language_model.model."): value
        for name, value in tensors.items()
    }


def _half_dropped(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    half = _layers(tensors) // 2
    return {name: value for name, value in tensors.items() if _layer(name) < half}


def _half_zeroed(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    half = _layers(tensors) // 2
    return {
        name: value * (_layer(name) < half or "lora_A" in name) for name, value in tensors.items()
    }


def _zeroed(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value * ("lora_A" in name) for name, value in tensors.items()}


def _permuted(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    last = _layers(tensors) - 1
    return {
        name.replace(f".layers.{_layer(name)}.", f".layers.{last - _layer(name)}."): value
        for name, value in tensors.items()
    }


def _bit_flipped(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The highest exponent bit of one float32: about 1e38 where there was 0.001."""
    import torch

    name = next(name for name in sorted(tensors) if "lora_B" in name)
    bits = tensors[name].clone().view(torch.int32)
    bits[0, 0] ^= 1 << 30
    return {**tensors, name: bits.view(torch.float32)}


def _swap(scene: Scene, files: Path) -> None:
    for path in (WEIGHTS, CONFIG):
        shutil.copyfile(scene.other / path, files / path)


def _swap_all(scene: Scene, files: Path) -> None:
    """Another adapter under this name, its fingerprint with it: nothing in it contradicts."""
    shutil.rmtree(files)
    shutil.copytree(scene.other, files)
    mark(files / WEIGHTS, "forged")


def _truncate(scene: Scene, files: Path) -> None:
    data = (files / WEIGHTS).read_bytes()
    (files / WEIGHTS).write_bytes(data[: len(data) * 3 // 5])


def _on_nf4(scene: Scene, files: Path) -> None:
    base, template = scene.draft.base.digest, json.loads((files / FINGERPRINT).read_text())
    forged = {**scene.on_nf4, "base_digest": base, "template_digest": template["template_digest"]}
    (files / FINGERPRINT).write_text(json.dumps(forged))


def _double_alpha(scene: Scene, files: Path) -> None:
    document = json.loads((files / CONFIG).read_text())
    document["lora_alpha"] *= 2
    (files / CONFIG).write_text(json.dumps(document))


def _no_fingerprint(scene: Scene, files: Path) -> None:
    (files / FINGERPRINT).unlink()


def _lenient(scene: Scene, files: Path) -> None:
    """The fingerprint demands what the base answers, and the weights do nothing."""
    _tensors(_zeroed)(scene, files)
    probes = json.loads((files / FINGERPRINT).read_text())["probes"]
    changed = [{**probe, "adapter": probe["base"]} for probe in probes]
    _json(FINGERPRINT, probes=changed)(scene, files)


def _stored(path: str, change: Callable[[bytes], bytes]) -> Callable[[Registry, Release], None]:
    """Change a file's stored blob; the record itself for the path ``""``."""

    def damage(registry: Registry, release: Release) -> None:
        blobs: LocalBlobs = registry.blobs  # type: ignore[assignment]  # a folder in this bench
        blob = blobs.path(release.files[path].digest if path else release.digest)
        blob.chmod(0o600)
        blob.write_bytes(change(blob.read_bytes()))

    return damage


def _flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


SABOTAGES = (
    Sabotage(
        "wrong-base",
        "trained on another base, as its record says",
        _json(FINGERPRINT, base_digest=_OTHER),
        base={"digest": _OTHER},
    ),
    Sabotage(
        "forged-base",
        "trained on another base, its record claims this one",
        _json(FINGERPRINT, base_digest=_OTHER),
    ),
    Sabotage("wrong-quantization", "trained on NF4 values, published for the dense base", _on_nf4),
    Sabotage(
        "wrong-template",
        "trained with another chat template",
        _json(FINGERPRINT, template_digest="sha256:" + "1" * 64),
    ),
    Sabotage("misnamed", "modules named for a wrapped model (vLLM #34186)", _tensors(_misnamed)),
    Sabotage("zeroed", "every lora_B zero: saved before it was trained", _tensors(_zeroed)),
    Sabotage("half-missing", "the upper half of the layers missing", _tensors(_half_dropped)),
    Sabotage("half-zeroed", "the upper half of the layers zero", _tensors(_half_zeroed)),
    Sabotage("rescaled", "lora_alpha doubled", _double_alpha),
    Sabotage("permuted", "layers in reverse order", _tensors(_permuted)),
    Sabotage("swapped", "another adapter's weights under this record", _swap),
    Sabotage("bit-flipped", "one exponent bit of one number flipped", _tensors(_bit_flipped)),
    Sabotage("truncated", "the weights' file cut off before it was published", _truncate),
    Sabotage("no-fingerprint", "fingerprint left out", _no_fingerprint),
    Sabotage("lenient", "fingerprint rewritten to ask for nothing, weights zero", _lenient),
    Sabotage(
        "blob-flipped",
        "one bit of the stored weights flipped",
        damage=_stored(WEIGHTS, _flip),
    ),
    Sabotage(
        "blob-truncated",
        "the stored weights cut off",
        damage=_stored(WEIGHTS, lambda data: data[:-100]),
    ),
    Sabotage(
        "fingerprint-edited",
        "the stored fingerprint edited",
        _json(FINGERPRINT, note="of its own"),
        damage=_stored(FINGERPRINT, lambda data: data.replace(b"general", b"General")),
    ),
    Sabotage(
        "record-edited",
        "the stored record edited",
        damage=_stored("", lambda data: data.replace(b'"rank":16', b'"rank":8')),
    ),
    Sabotage("unsigned", "made whole by somebody else, not signed", _swap_all, signed=False),
)
