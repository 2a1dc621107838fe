"""What it takes to load a release: who may be served where, its bytes, its form, its proof."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from adapterworks.gateway.config.tables import TrustTable
from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.engines.forms import FORMS
from adapterworks.gateway.residency.diagnosis import findings
from adapterworks.gateway.residency.proof import FINGERPRINT, prove
from adapterworks.gateway.residency.proved import Proved
from adapterworks.gateway.residency.sharing import Sharing
from adapterworks.gateway.residency.verdict import Proof, ProofFailed
from adapterworks.gateway.supervision.supervisor import Supervisor
from adapterworks.manifests.errors import AdapterworksError, Refused, Unavailable
from adapterworks.registry.lifecycle.clearance import PROVED
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import SERVABLE, Release

_log = logging.getLogger(__name__)
_POLL_S = 0.1


class Loader:
    """Loads and unloads for one gateway.

    Args:
        keys: what a release may be signed with, where `trust` asks for that.
        sharing: with the other gateways of shared engines.
        proved: what any gateway has proved on which kind of engine; None: each for itself.
        supervisor: of what is written down beside the loads.
    """

    def __init__(
        self,
        registry: Registry,
        trust: TrustTable,
        keys: Sequence[Path],
        sharing: Sharing,
        proved: Proved | None = None,
        supervisor: Supervisor | None = None,
    ) -> None:
        self._supervisor = supervisor or Supervisor()
        self._writing = asyncio.Lock()  # one note after the other, in the proofs' order
        self._notes: set[asyncio.Task[None]] = set()
        self._registry = registry
        self._trust = trust
        self._keys = keys
        self._sharing = sharing
        self._proved = proved if trust.share_proofs else None

    async def load(
        self, engine: Engine, release: Release, tell: Callable[[str], None] = lambda step: None
    ) -> Proof:
        """Load and prove one release on one engine.

        Args:
            tell: called with each step that it comes to.

        Raises:
            Refused, IntegrityError: it may not be served there.
            Unavailable: the engine does not answer.
        """
        servable = release.servable
        if servable is None or servable.form not in FORMS:
            raise Refused(
                f"`{release.name}` has no form that the engine can load",
                hint="`adapters show` prints its servable form",
            )
        if release.base.digest != engine.base.digest:
            raise Refused(
                f"`{release.name}` was built on base {release.base.digest[:19]}…, "
                f"the engine serves {engine.base.digest[:19]}…",
                hint="serve it with its own base",
            )
        if servable.form not in engine.forms:
            raise Refused(
                f"`{release.name}` is a {servable.form} adapter, and the engine was started "
                "without support for those",
                hint="restart `adapters serve`: it looks at the releases there are; those with "
                "virtual tokens also need the engine plugin to be on (vLLM 0.32, and not "
                "ADAPTERS_ENGINE_PLUGIN=0), one device, and no speculative decoding by a draft "
                "model, EAGLE or MTP",
            )
        if self._trust.require_signature:
            await asyncio.to_thread(self._registry.signatures.require, release.digest, self._keys)
        form = FORMS[servable.form]
        if engine.shared_as is not None:
            hold = partial(self._sharing.hold, engine.shared_as, [release.digest])
            with contextlib.suppress(Unavailable):  # it is said again soon
                while not await asyncio.to_thread(hold):
                    tell("waiting until another gateway has unloaded it")
                    await asyncio.sleep(_POLL_S)
        if engine.fetcher is not None:
            tell("having the engine's host fetch it")
            await engine.fetcher.load(release.digest)
        else:
            tell("checking its files")
            folder = await asyncio.to_thread(self._registry.checkout, release.digest, SERVABLE)
            tell("loading it into the engine")
            await form.load(engine, release.digest, folder, servable)
        if self._trust.proof == "off":
            return Proof("unproved", "proofs are off (`trust.proof`)")
        kind = engine.base.kind if self._proved is not None else None
        try:
            fingerprint = await self._fingerprint(release)
            tell("proving it")
            known = kind is not None and await asyncio.to_thread(self._is_proved, release, kind)
            proof = await prove(engine, form, release, fingerprint, tell, known=known)
        except ProofFailed as error:
            if kind is not None:
                # Behind the notes of earlier proofs: the last one that was made counts.
                async with self._writing:
                    await asyncio.to_thread(self._forget_proof, release, kind)
            if error.measured is not None:
                self._note_later(engine, release, "failed", error.measured, None)
            error.findings = await asyncio.to_thread(self._findings, release)
            if self._trust.proof != "warn":
                raise
            _log.warning("served unproved: %s", "; ".join((error.message, *error.findings)))
            return Proof("unproved", error.message)
        if not proof.note:  # a whole one
            self._note_later(engine, release, PROVED, proof, kind)
        return proof

    async def noted(self, seconds: float) -> None:
        """Wait until what was found out is written down, or so long."""
        if self._notes:
            await asyncio.wait(self._notes, timeout=seconds)

    def _note_later(
        self, engine: Engine, release: Release, result: str, proof: Proof, kind: str | None
    ) -> None:
        """Write down what came of a proof, beside the load.

        The registry has one writer: a publish or a gc that takes its time is waited for here, not
        by the requests for an adapter that is proved.
        """

        async def note() -> None:
            async with self._writing:
                await asyncio.to_thread(self._note, engine, release, result, proof)
                if kind is not None:  # only then: what is in here is not proved whole again
                    await asyncio.to_thread(self._note_proof, release, kind, proof)

        task = self._supervisor.once("proof's note", note(), what=release.digest[:19])
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    def _findings(self, release: Release) -> tuple[str, ...]:
        """What the release's files say of why it was not proved."""
        try:
            folder = self._registry.checkout(release.digest, SERVABLE)
        except AdapterworksError as error:
            return (error.message,)
        return findings(self._registry, release, folder)

    def _is_proved(self, release: Release, kind: str) -> bool:
        assert self._proved is not None
        try:
            return self._proved.is_proved(release.digest, kind)
        except (Unavailable, Refused) as error:  # away, or this role was not granted the table
            _log.warning("what was proved before is not known: %s", error.message)
            return False  # the whole proof asks nobody

    def _note_proof(self, release: Release, kind: str, proof: Proof) -> None:
        assert self._proved is not None
        with contextlib.suppress(Unavailable, Refused):  # then others prove it, too
            self._proved.note(release.digest, kind, proof)

    def _forget_proof(self, release: Release, kind: str) -> None:
        assert self._proved is not None
        try:
            self._proved.forget(release.digest, kind)
        except (Unavailable, Refused) as error:
            _log.warning("that %s is not proved could not be kept: %s", release.name, error.message)

    def _note(self, engine: Engine, release: Release, result: str, proof: Proof) -> None:
        """A fact about the release, for protected aliases; that it cannot be kept stops nobody."""
        facts = {
            "engine": engine.id,
            "base": engine.base.digest,
            "divergence": proof.divergence,
            "separation": proof.separation,
        }
        try:
            self._registry.log.note_proof(release.digest, result, **facts)
        except AdapterworksError as error:
            _log.warning("the proof of %s is not in the log: %s", release.name, error.message)

    async def unload(self, engine: Engine, release: Release) -> None:
        """Unload one release from one engine, unless another gateway holds it there.

        Raises:
            Unavailable: the engine does not answer.
        """
        if engine.shared_as is not None:
            try:
                last = await asyncio.to_thread(
                    self._sharing.let_go, engine.shared_as, release.digest
                )
            except Unavailable:
                return  # nobody can say who else needs it
            if not last:
                return
        try:
            await self._unload(engine, release)
        finally:
            if engine.shared_as is not None:
                with contextlib.suppress(Unavailable):  # others wait a little longer
                    await asyncio.to_thread(self._sharing.gone, engine.shared_as, release.digest)

    async def _unload(self, engine: Engine, release: Release) -> None:
        if engine.fetcher is not None:
            await engine.fetcher.unload(release.digest)
        elif release.servable is not None and release.servable.form in FORMS:
            await FORMS[release.servable.form].unload(engine, release.digest)

    async def _fingerprint(self, release: Release) -> bytes | None:
        # One that was withheld when the release was pulled proves as little as none.
        return await asyncio.to_thread(self._registry.read_if_here, release.digest, FINGERPRINT)
