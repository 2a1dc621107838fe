"""A checked adapter becomes a release.

Invariant: importing the same bytes for the same base under the same name again is the same version.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from adapterworks.manifests.digests import digest_file
from adapterworks.manifests.refs import check_name
from adapterworks.registry.bases.base import Base
from adapterworks.registry.bases.files import chat_template
from adapterworks.registry.imports.adapter import Checked, check_adapter
from adapterworks.registry.imports.folder import CONFIG, WEIGHTS
from adapterworks.registry.imports.modules import read_modules
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.base_names import hub_id
from adapterworks.registry.releases.forms import LORA
from adapterworks.registry.releases.release import ADAPTER, SERVABLE, Draft, Provenance, Servable
from adapterworks.registry.releases.scratch import scratch_folder
from adapterworks.registry.releases.types import Published, now

FINGERPRINT = "fingerprint.json"
Fingerprint = Callable[[Base, Path, Servable], bytes]


@dataclass(frozen=True, slots=True)
class Imported:
    """The version, and what the checks found."""

    published: Published
    checked: Checked
    source: str
    base: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an adapter came from.

    Attributes:
        source: `hub:org/name@<commit>`, or the folder's name.
        description: shown in lists.
        license: as its card states it, `other` if it does not.
    """

    source: str
    description: str = ""
    license: str = "other"

    @property
    def revision(self) -> str | None:
        """What the source was at, if it says."""
        return self.source.rpartition("@")[2] if self.source.startswith("hub:") else None


def import_adapter(
    registry: Registry,
    base: Base,
    folder: Path,
    *,
    name: str,
    origin: Origin,
    scratch: Path,
    who: str,
    alias: str | None = None,
    rename: bool = False,
    fingerprint: Fingerprint | None = None,
) -> Imported:
    """Check the PEFT folder and publish it as the next version of `name`.

    Args:
        base: the base it is to be served with; its checkpoint says which modules there are.
        scratch: a folder on the disk of the blobs, for the private copy.
        fingerprint: computes `fingerprint.json` of the servable form, once all checks have passed.

    Raises:
        ImportRefused: naming the file and the reason.
    """
    check_name(name)
    with scratch_folder(scratch, "import") as release:
        adapter = release / ADAPTER
        adapter.mkdir()
        checked = check_adapter(
            folder,
            adapter,
            modules=lambda: read_modules(base.checkpoint),
            base_name=base_name(base),
            rename=rename,
            template=chat_template(base.checkpoint),
        )
        existing = _find(registry, name, base, adapter, fingerprinted=fingerprint is not None)
        if existing is not None:
            if alias is not None:
                registry.promote(name, existing.version, alias, who=who, why="imported again")
            return Imported(existing, checked, origin.source, base_name(base))
        servable = _servable(checked)
        if servable is not None:
            shutil.copytree(adapter, release / SERVABLE)
            if fingerprint is not None:
                proof = fingerprint(base, release / SERVABLE, servable)
                (release / FINGERPRINT).write_bytes(proof)
        lock = _lock(base, origin, adapter, checked)
        (release / "adapter.lock").write_text(json.dumps(lock, indent=2, sort_keys=True) + "\n")
        (release / "README.md").write_text(_card(name, base, origin, checked))
        draft = _draft(name, base, origin, checked, servable)
        published = registry.publish(
            release, draft, alias=alias, who=who, why=f"imported from {origin.source}"
        )
    return Imported(published, checked, origin.source, base_name(base))


def base_name(base: Base) -> str:
    """How a PEFT config names the base: the Hub id where there is one, never a local path."""
    return hub_id(base.model) or base.name


def _find(
    registry: Registry, name: str, base: Base, adapter: Path, *, fingerprinted: bool
) -> Published | None:
    wanted = {f"{ADAPTER}/{file}": digest_file(adapter / file) for file in (CONFIG, WEIGHTS)}
    for row in registry.versions(name, limit=50):
        if row.deleted is None and row.base_digest == base.digest:
            files = registry.release(row.digest).files
            same = all(path in files and files[path].digest == d for path, d in wanted.items())
            if same and (FINGERPRINT in files or not fingerprinted):
                return Published(name, row.version, row.digest, created=False)
    return None


def _servable(checked: Checked) -> Servable | None:
    """The adapter itself is what the engine loads; DoRA it does not load."""
    if checked.config.use_dora:
        return None
    leaves = sorted({module.rpartition(".")[2] for module in checked.layout.modules})
    return Servable(form=LORA, origin="native", rank=checked.rank, target_modules=tuple(leaves))


def _draft(
    name: str, base: Base, origin: Origin, checked: Checked, servable: Servable | None
) -> Draft:
    config = checked.config
    return Draft(
        name=name,
        method="dora" if config.use_dora else "qlora" if base.quantization == "nf4" else LORA,
        description=origin.description or f"imported from {origin.source}",
        license=origin.license,
        tags=("imported",),
        created=now(),
        base=base.identity,
        servable=servable,
        provenance=Provenance(
            made="imported",
            version=metadata.version("adapterworks"),
            source=origin.source,
            revision=origin.revision,
        ),
    )


def _lock(base: Base, origin: Origin, adapter: Path, checked: Checked) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "kind": "import",
        "source": origin.source,
        "base": base.identity.model_dump(mode="json"),
        "files": {file: digest_file(adapter / file) for file in (CONFIG, WEIGHTS)},
        "renamed": dict(checked.layout.renamed),
        "ignored": list(checked.ignored),
    }


def _card(name: str, base: Base, origin: Origin, checked: Checked) -> str:
    served = (
        "The engine does not load DoRA: this release is kept and can be pushed, not served."
        if checked.config.use_dora
        else f"Served as LoRA of rank {checked.rank}."
    )
    return (
        f"# {name}\n\n{origin.description}\n\nImported from `{origin.source}` for the base "
        f"`{base_name(base)}`. {served}\n\n"
        f"- rank {checked.config.r}, alpha {checked.config.lora_alpha:g}\n"
        f"- modules: {', '.join(f'`{target}`' for target in checked.target_modules)}\n"
    )
