"""Reads the world: a folder's manifests, their rows as they are now, the registry, the gateways.

Invariant: nothing is built, downloaded, loaded or moved, and no model is opened. What is written is
the cache of derived rows alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adapterworks.gateways import running_gateways
from adapterworks.manifests.errors import AdapterworksError, NotFound
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.paths import base_model, portable
from adapterworks.reconciling.build_inputs import TEST_ROWS, BuildInputs, built, declared
from adapterworks.reconciling.computing import code_of
from adapterworks.reconciling.folder import Folder, Read
from adapterworks.reconciling.state import (
    Declared,
    EngineState,
    Existing,
    GatewayState,
    Held,
    Loaded,
    Version,
    World,
)
from adapterworks.registry.bases.store import BaseStore
from adapterworks.registry.bases.template import template_of
from adapterworks.registry.reading.diff import LOCK
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Release
from adapterworks.registry.releases.types import Event, NameRow, VersionRow

# The log's kind that says which folder an adapter was applied from.
APPLIED = "apply"
# Versions looked through for one that is as declared, newest first.
_VERSIONS = 20


@dataclass(frozen=True)
class Reader:
    """Where the world is.

    Attributes:
        home: holds `builds/`, `cache/` and the gateways' sockets.
    """

    registry: Registry
    bases: BaseStore
    home: Path

    @property
    def cache(self) -> Path:
        """Folder of derived rows."""
        return self.home / "cache"

    def read(self, folder: Folder) -> World:
        """Everything that is compared."""
        rows = {row.name: row for row in self.names()}
        applied = self.registry.log.last(APPLIED)
        items, existing = [], {}
        for item in folder.read:
            stated, held = self._item(item, rows, applied)
            items.append(stated)
            if held is not None:
                existing[held.name] = held
        for name, row in rows.items():
            if name not in existing:
                existing[name] = Existing(name, (), _held(row), _folder(applied.get(name)))
        gateways = tuple(self.gateways())
        return World(folder.identity, tuple(items), existing, gateways, folder.skipped, folder.name)

    def rows_changed(self, before: str, after: str) -> str | None:
        """What changed between two digests of a source's rows, if both were read here."""
        from adapterworks.builders.data.remembered import changes_since

        found = changes_since(self.cache, before, after)
        return None if found is None else str(found)

    def _item(
        self, item: Read, rows: Mapping[str, NameRow], applied: Mapping[str, Event]
    ) -> tuple[Declared, Existing | None]:
        """A manifest, and what the registry holds under its name."""
        manifest = item.manifest
        if manifest is None:
            assert item.error is not None
            return Declared(item.file, item.name, fault=one_line(item.error)), None
        stated = Declared(
            file=item.file,
            name=manifest.adapter.name,
            alias=manifest.publish.alias,
            pinned=manifest.serve.pinned,
            unfinished=unfinished(self.home / "builds", manifest),
        )
        row = rows.get(manifest.adapter.name)
        if row is None or not row.versions:
            return stated, None
        try:
            stated = replace(stated, made=self._made(manifest))
            versions = tuple(self._versions(row.name, stated.made))
            moves = {alias: self.registry.history(row.name, alias)[-1] for alias in row.aliases}
        except AdapterworksError as error:
            return replace(stated, fault=one_line(error)), None
        except Exception as error:  # rows or code of the user's own that nobody foresaw
            return replace(stated, fault=f"{type(error).__name__}: {error}"), None
        held = {alias: replace(holder, moved=moves[alias]) for alias, holder in _held(row).items()}
        return stated, Existing(row.name, versions, held, _folder(applied.get(row.name)))

    def _made(self, manifest: Manifest) -> BuildInputs:
        """What the manifest comes to now."""
        from adapterworks.builders.data.assemble import needs_tokenizer, rows_of_build
        from adapterworks.builders.data.identity import asked_digest
        from adapterworks.builders.data.rows import rows_digest

        table, code = manifest.base, code_of(manifest, self.registry, self.bases)
        if manifest.before is not None and not self._as_declared(manifest.before):
            stage = manifest.before.stage
            code["train"]["start"] = f"stage {stage and stage.name} as it is declared"
        try:
            base = self.bases.prepared(
                base_model(manifest),
                quantization=table.quantization,
                double_quantization=table.double_quantization,
                template=template_of(manifest),
            )
        except NotFound:
            base = None
        tokenizer = None
        if needs_tokenizer(manifest):
            if base is None:
                return declared(manifest, base=None, splits=None, datasheets=(), code=code)
            from transformers import AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(base.checkpoint)
        splits = rows_of_build(
            manifest, cache=self.cache, tokenizer=tokenizer, registry=self.registry
        )
        code["ask"][TEST_ROWS] = asked_digest(splits.test)
        return declared(
            manifest,
            base=None if base is None else base.digest,
            splits={
                name: rows_digest(getattr(splits, name)) for name in ("train", "validation", "test")
            },
            datasheets=[sheet.to_json() for sheet in splits.datasheets],
            code=code,
        )

    def _as_declared(self, stage: Manifest) -> bool:
        """Whether the release that a stage's alias names is what the stage would give.

        One that nobody has built yet, as a stage that the manifest did not have, is not.
        """
        try:
            resolved = self.registry.resolve(f"{stage.adapter.name}:{stage.publish.alias}")
        except NotFound:
            return False
        found = self._version(self.registry.version(resolved.name, resolved.version)).made
        return found is not None and self._made(stage).stale(found) is None

    def _versions(self, name: str, made: BuildInputs | None) -> Iterator[Version]:
        """The live versions, newest first, down to the first that is as declared."""
        for row in self.registry.versions(name, limit=_VERSIONS):
            version = self._version(row)
            yield version
            if made is not None and version.made is not None and made.stale(version.made) is None:
                return

    def _version(self, row: VersionRow) -> Version:
        release = self.registry.release(row.digest)
        made: BuildInputs | None = None
        failed: tuple[str, ...] = ()
        # The row has a plan of what was built here only: what a stranger's record and lock say of
        # how it was made spares no build.
        if release.manifest is not None and row.plan is not None:
            here = self.files(release)
            lock = self._json(row.digest, LOCK) if LOCK in here else {}
            made = built(release.manifest, release.base.digest, lock)
            told = self._json(row.digest, "report.json") if "report.json" in here else {}
            failed = failed_gates(told)
        return Version(row.version, row.digest, release.base.digest, made, failed, row.published)

    def files(self, release: Release) -> set[str]:
        """The files of a release whose bytes are here: some may be withheld or erased."""
        return release.files.keys() - self.registry.absences(release.digest).keys()

    def _json(self, digest: str, path: str) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.registry.read(digest, path))
        return value

    def names(self) -> Iterator[NameRow]:
        """Every name of the registry, in alphabetical order."""
        after: str | None = None
        while page := self.registry.names(limit=500, after=after):
            yield from page
            after = page[-1].name

    def gateways(self) -> Iterator[GatewayState]:
        """The gateways that run with this home, as they are now."""
        for socket, status in running_gateways(self.home).items():
            yield GatewayState(
                socket,
                f"http://{status['host']}:{status['port']}",
                tuple(_engine(engine) for engine in status["engines"]),
            )


def failed_gates(report: Mapping[str, Any]) -> tuple[str, ...]:
    """Why an alias must not move to a release, from its `report.json`; empty if that is gone."""
    if not report:
        from adapterworks.builders.building.result import UNTOLD

        return (UNTOLD,)
    failed = [gate["why"] for gate in report.get("gates") or () if not gate["passed"]]
    refused = (report.get("conversion") or {}).get("refused")
    return (*failed, *([refused] if refused else []))


def unfinished(builds: Path, manifest: Manifest) -> tuple[str, ...] | None:
    """The stages that an unfinished build of this very manifest has done; None if there is none."""
    wanted = [one.model_dump(mode="json") for one in (manifest, portable(manifest))]
    for path in sorted(builds.glob(f"{manifest.adapter.name}-*/build.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            if record["plan"]["manifest"] in wanted and "publish" not in record["done"]:
                return tuple(record["done"])
        except (OSError, ValueError, KeyError):
            continue
    return None


def one_line(error: AdapterworksError) -> str:
    """An error for a table's cell."""
    faults = getattr(error, "faults", ())
    if faults:
        first = faults[0]
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        line = f"line {first.line}: " if first.line is not None else ""
        key = f"`{first.key}`: " if first.key else ""
        return f"{line}{key}{first.message}{more}"
    return error.message.partition("\n")[0]


def _held(row: NameRow) -> dict[str, Held]:
    held = {}
    for alias, holders in row.aliases.items():
        canary = holders[1] if len(holders) > 1 else None
        held[alias] = Held(
            holders[0].version,
            None if canary is None else canary.version,
            0 if canary is None else canary.weight,
        )
    return held


def _folder(event: Event | None) -> str | None:
    return None if event is None else str(event.data.get("folder"))


def _engine(engine: Mapping[str, Any]) -> EngineState:
    adapters = engine["adapters"]
    held = [adapter for adapter in adapters if adapter["state"] not in ("waiting", "refused")]
    return EngineState(
        engine["base_digest"],
        {
            adapter["digest"]: Loaded(adapter["state"], adapter["pinned"], adapter["error"])
            for adapter in adapters
        },
        engine["capacity"] - len(held),
    )
