"""Brings a plan about: one adapter after the other, and none keeps the others from their turn.

Invariant: every step is one that can be killed and asked for again: a build resumes, an alias
moves in one transaction and only from the version that held it when the plan was made, a gateway
that holds a release already says so at once.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from adapterworks.errors import EXIT_CODES, exit_code
from adapterworks.gateways import make_resident
from adapterworks.manifests.errors import AdapterworksError, InvalidInput, NotFound
from adapterworks.manifests.models import Manifest
from adapterworks.reconciling.entries import Action, Build, Entry, Load, Promote, Retire
from adapterworks.reconciling.folder import Folder, Read
from adapterworks.reconciling.world import APPLIED, Reader, failed_gates, one_line

if TYPE_CHECKING:
    from adapterworks.builders.building.result import BuildResult
    from adapterworks.builders.engines.choice import Engines

# Builds one manifest; the name labels its progress.
BuildOne = Callable[[str, Manifest], "BuildResult"]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What became of one adapter.

    Attributes:
        result: `built`, `gate failed`, `promoted`, `loaded`, `retired`, `failed`, …
        detail: in words.
        ref: the version that it is now, if there is one.
        code: exit code; 0 if all that was to be done is done.
        hint: what would help, where the error says it.
    """

    name: str
    result: str
    detail: str
    ref: str | None = None
    code: int = 0
    hint: str | None = None


@dataclass(frozen=True)
class Reconciler:
    """Everything that acts.

    Attributes:
        reader: of the world that is acted on.
        who: recorded with every move.
        build: builds a manifest and publishes it.
        engines: who answers test rows when releases are compared.
        say: told what has no progress of its own.
    """

    reader: Reader
    who: str
    build: BuildOne
    engines: Engines
    say: Say

    def apply(self, entries: tuple[Entry, ...], folder: Folder) -> Iterator[Outcome]:
        """Do what the entries say, in their order; what is as declared has no outcome."""
        manifests = {item.file: item.manifest for item in folder.read}
        self._remember(folder)
        for entry in entries:
            if entry.differs:
                manifest = manifests.get(entry.file) if entry.file else None
                yield attempt(entry.name, partial(self._entry, entry, manifest))
                self._remember(folder)

    def _entry(self, entry: Entry, manifest: Manifest | None) -> Outcome:
        if not entry.actions:  # it needs a person
            why = "; ".join(finding.why for finding in entry.findings)
            return Outcome(entry.name, entry.findings[0].what, why, entry.ref, code=1)
        outcomes = [self._do(action, entry, manifest) for action in entry.actions]
        worst = max(outcomes, key=lambda outcome: outcome.code)
        detail = "; ".join(outcome.detail for outcome in outcomes if outcome.detail)
        return replace(worst, detail=detail)

    def _do(self, action: Action, entry: Entry, manifest: Manifest | None) -> Outcome:
        match action:
            case Build():
                assert manifest is not None
                return self._build(entry.name, manifest)
            case Promote(version, alias, expect):
                self._promote(entry.name, version, alias, expect)
                ref = f"{entry.name}@{version}"
                outcome = Outcome(entry.name, "promoted", f"`{alias}` is {ref}", ref)
                return self.served(outcome, manifest)
            case Load():
                return self.served(Outcome(entry.name, "loaded", "", entry.ref), manifest)
            case Retire(alias, expect):
                self.reader.registry.retire(
                    entry.name, alias, who=self.who, why="its manifest is gone", expect=expect
                )
                told = f"`{alias}` (was @{expect}) is removed, the versions stay"
                return Outcome(entry.name, "retired", told)

    def _build(self, name: str, manifest: Manifest) -> Outcome:
        result = self.build(name, manifest)
        did = "built" if result.created else "unchanged"
        alias = manifest.publish.alias
        failed = failed_gates(result.report)
        if failed:
            kept = f"`{alias}` stays: " if alias else ""
            return Outcome(name, "gate failed", kept + "; ".join(failed), result.ref, code=1)
        if alias is None:
            return Outcome(name, did, "", result.ref)
        if result.kept:
            return Outcome(name, did, f"`{alias}` stays: {result.kept}", result.ref)
        version = int(result.ref.rpartition("@")[2])
        held = self._holder(name, alias)
        if held != version:  # the release was there already: nothing was published
            self._promote(name, version, alias, held)
        return self.served(Outcome(name, did, f"`{alias}` is {result.ref}", result.ref), manifest)

    def _holder(self, name: str, alias: str) -> int | None:
        try:
            return self.reader.registry.weights(name, alias)[0].version
        except NotFound:
            return None

    def _promote(self, name: str, version: int, alias: str, expect: int | None) -> None:
        self.reader.registry.promote(
            name, version, alias, who=self.who, why="as its manifest declares", expect=expect
        )

    def served(self, outcome: Outcome, manifest: Manifest | None) -> Outcome:
        """Have running gateways hold it: a pinned one for good, others where there is room."""
        assert outcome.ref is not None
        registry = self.reader.registry
        release = registry.release(registry.resolve(outcome.ref).digest)
        pin = manifest is not None and manifest.serve.pinned
        told, code = [outcome.detail] if outcome.detail else [], outcome.code
        for gateway in self.reader.gateways() if release.servable else ():
            engines = [e for e in gateway.engines if e.base == release.base.digest]
            full = all(e.free <= 0 and release.digest not in e.loaded for e in engines)
            if engines and full and not pin:
                told.append(f"{gateway.url} is full and loads it when it is asked for")
                continue
            self.say(f"{outcome.ref}: loading in {gateway.url}")
            try:
                make_resident(gateway.socket, release.digest, pin=pin)
            except AdapterworksError as error:
                told.append(f"not in {gateway.url}: {one_line(error)}")
                code = exit_code(error) if pin else code
            else:
                told.append(f"resident in {gateway.url}")
        result = outcome.result if code == outcome.code else "not served"
        return replace(outcome, result=result, detail="; ".join(told), code=code)

    def _remember(self, folder: Folder) -> None:
        """Note once in each name's log which folder declares it; `--prune` goes by that."""
        registry = self.reader.registry
        known = registry.log.last(APPLIED)
        for item in folder.read:
            if item.manifest is None:
                continue
            name = item.manifest.adapter.name
            last = known.get(name)
            newest = registry.versions(name, limit=1)
            if newest and (last is None or last.data.get("folder") != folder.identity):
                registry.log.note(
                    name, newest[0].version, APPLIED, who=self.who, folder=folder.identity
                )


def build_all(folder: Folder, build: BuildOne) -> Iterator[Outcome]:
    """Build every manifest of a folder, whether it differs or not (`adapters build --all`)."""
    names = Counter(item.name for item in folder.read)
    for item in folder.read:
        name = item.name or item.file
        if item.name is not None and names[item.name] > 1:
            why = f"`{item.file}`: another file declares `{name}` too"
            yield Outcome(name, "failed", why, code=EXIT_CODES[InvalidInput])
        else:
            yield attempt(name, partial(_built, name, item, build))


def _built(name: str, item: Read, build: BuildOne) -> Outcome:
    if item.error is not None:
        raise item.error
    assert item.manifest is not None
    result = build(name, item.manifest)
    failed = failed_gates(result.report)
    if failed:
        return Outcome(name, "gate failed", "; ".join(failed), result.ref, code=1)
    moved = f"`{result.alias}` is {result.ref}" if result.alias else result.kept
    return Outcome(name, "built" if result.created else "unchanged", moved, result.ref)


def attempt(name: str, work: Callable[[], Outcome]) -> Outcome:
    """The outcome of something that may fail without keeping others from their turn."""
    try:
        return work()
    except AdapterworksError as error:
        return Outcome(name, "failed", one_line(error), None, exit_code(error), error.hint)
    except Exception as error:  # a metric of the user's own, say
        traceback.print_exc()
        detail = f"{type(error).__name__}: {error}"
        return Outcome(name, "failed", detail, None, EXIT_CODES[AdapterworksError])


def worst_code(outcomes: list[Outcome]) -> int:
    """The exit code of several: theirs if all that failed have one in common, else 1."""
    codes = {outcome.code for outcome in outcomes if outcome.code}
    return 0 if not codes else codes.pop() if len(codes) == 1 else 1
