"""Which engines to run: from the configuration, or, if it names none, from the releases there are.

Invariant: every base that an alias or a newest version needs gets exactly one engine, with limits
that hold all of its releases.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import sqlalchemy as sa

from adapterworks.gateway.config.engines import LocalEngine
from adapterworks.gateway.config.tables import GatewayConfig
from adapterworks.gateway.engines.launch import (
    LORA_RANKS,
    EngineSpec,
    allowed_rank,
    context_length,
    device,
    loadable,
    without_virtual_tokens,
)
from adapterworks.gateway.engines.target import ServedBase
from adapterworks.manifests.errors import IntegrityError, NotFound
from adapterworks.manifests.refs import Ref
from adapterworks.registry.bases.base import Base
from adapterworks.registry.bases.experts import holds_experts
from adapterworks.registry.bases.rendering import renderings
from adapterworks.registry.bases.store import BaseStore
from adapterworks.registry.bases.template import template_of_record
from adapterworks.registry.index.schema import aliases, versions
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.base_names import public_name
from adapterworks.registry.releases.release import Release
from adapterworks.registry.releases.types import NameRow

_PAGE = 200
_HELD = sa.and_(
    versions.c.name == aliases.c.name,
    versions.c.version == aliases.c.version,
    versions.c.deleted.is_(None),
)


def served_releases(registry: Registry, say: Callable[[str], None]) -> list[Release]:
    """The releases that aliases point to, and the newest of every name; each once.

    A damaged one, or one of a rank that no engine has, is reported and left out: it must not keep
    the others from being served. One that was pulled counts when an alias points to it: a
    stranger's record alone decides no engine and no limit of one.
    """
    pulled = registry.log.last("pull")
    digests: dict[str, None] = {}
    for row in _names(registry):
        for holders in row.aliases.values():
            digests.update((holder.digest, None) for holder in holders)
        stranger = row.name in pulled and pulled[row.name].version == row.latest
        if row.latest is not None and not stranger:
            digests[registry.resolve(Ref(row.name, version=row.latest)).digest] = None
    releases = []
    for digest in digests:
        try:
            release = registry.release(digest)
            rank = release.servable.rank if release.servable is not None else None
            if rank is not None and rank > LORA_RANKS[-1]:
                say(f"left out: `{release.name}` has rank {rank}, engines have {LORA_RANKS[-1]}")
                continue
            releases.append(release)
        except (IntegrityError, NotFound) as error:
            say(f"left out: {error.message}")
    return releases


def newest_releases(
    registry: Registry, most: int, say: Callable[[str], None] = lambda line: None
) -> list[Release]:
    """The newest releases that aliases point to; no more are read, however many there are.

    For engines that run elsewhere: nothing of them is decided by the releases.
    """
    asked = (
        sa.select(versions.c.digest)
        .join_from(aliases, versions, _HELD)
        .order_by(versions.c.created.desc(), versions.c.digest)
        .limit(most)
    )
    with registry.database.read() as connection:
        digests = list(dict.fromkeys(connection.scalars(asked)))
    found = []
    for digest in digests:
        try:
            found.append(registry.release(digest))
        except (IntegrityError, NotFound) as error:
            say(f"left out: {error.message}")
    return found


def engine_specs(
    config: GatewayConfig,
    bases: BaseStore,
    releases: list[Release],
    *,
    only: str | None = None,
    servables: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> list[EngineSpec]:
    """The local engines to start.

    Args:
        only: a base's name: serve that one and no other.
        servables: folder of the registry's checkouts.

    Raises:
        NotFound: a base is not known here.
    """
    tables = [table for table in config.engines if isinstance(table, LocalEngine)]
    if "engines" in config.model_fields_set:
        chosen = [t for t in tables if only in (None, t.base)]
        wanted = [
            (t, bases.ensure(t.base, quantization=t.quantization, progress=say)) for t in chosen
        ]
    else:
        needed = [b for b in _bases_of(bases, releases, say) if only in (None, b.name)]
        default = LocalEngine() if only is None else LocalEngine(base=only)
        wanted = [(default, base) for base in needed] or [
            (default, bases.ensure(default.base, progress=say))
        ]
    before: Counter[str] = Counter()  # of a base's own engines: others change no name
    specs = []
    for table, base in wanted:
        specs.append(_spec(config, table, base, releases, before[base.name], servables))
        _say_of(specs[-1], base, releases, say)
        before[base.name] += 1
    return specs


def remote_base(base: Base) -> ServedBase:
    """The base a remote engine is said to serve, by the digest it has here.

    Its template is looked at when the engine is met.
    """
    return ServedBase(
        name=base.name,
        model=base.name,
        digest=base.digest,
        quantization=base.quantization,
        template_digest=base.template_digest,
        exact=False,
        renderings=renderings(base.checkpoint),
    )


def _spec(
    config: GatewayConfig,
    table: LocalEngine,
    base: Base,
    releases: list[Release],
    number: int,
    servables: Path | None,
) -> EngineSpec:
    own = [r.servable for r in releases if r.base.digest == base.digest and r.servable]
    ranks = [servable.rank for servable in own if servable.rank is not None]
    where = device()
    dtype = ("float32" if where == "cpu" else "bfloat16") if table.dtype == "auto" else table.dtype
    quantizes = where == "cuda" and _loaded_as_trained(base)
    folder = base.checkpoint if quantizes else base.served
    return EngineSpec(
        id=f"{base.name}-{number}",
        base=ServedBase(
            name=base.name,
            model=base.name,
            digest=base.digest,
            quantization=base.quantization,
            template_digest=base.template_digest,
            exact=dtype == "float32",
        ),
        folder=folder,
        device=where,
        dtype=dtype,
        max_model_len=context_length(folder, table.max_model_len),
        max_num_seqs=table.max_num_seqs,
        max_lora_rank=allowed_rank(ranks, table.max_lora_rank),
        max_loras=config.residency.max_loras,
        max_cpu_loras=max(config.residency.max_cpu_loras, config.residency.max_loras),
        kv_cache_gib=table.kv_cache_gib,
        gpu_memory_utilization=table.gpu_memory_utilization,
        # The plugin's connector is switched on only where a release needs it.
        forms=loadable((s.form for s in own), table.options),
        servables=servables,
        quantizes=quantizes,
        options=dict(table.options),
    )


def _loaded_as_trained(base: Base) -> bool:
    """Whether the loader of quantized kernels makes of a base the values that training saw.

    Elsewhere the same values are served dense, as on a CPU: the loader quantizes the block scales
    of every base, and experts, which NF4 leaves as they are here.
    """
    nf4 = base.quantization == "nf4" and base.double_quantization
    return nf4 and not holds_experts(base.checkpoint)


def _say_of(
    spec: EngineSpec, base: Base, releases: list[Release], say: Callable[[str], None]
) -> None:
    """Say what of a base's releases this engine will not have, and what takes more memory."""
    own = [r for r in releases if r.base.digest == base.digest and r.servable]
    refused = sorted({r.name for r in own if r.servable and r.servable.form not in spec.forms})
    if refused:
        why = without_virtual_tokens(spec.options)
        say(f"left out: {', '.join(f'`{name}`' for name in refused)} ({spec.id}): {why}")
    if spec.device == "cuda" and base.quantization == "nf4" and not spec.quantizes:
        say(
            f"`{spec.id}` is served in {spec.dtype} at the values of NF4, not in 4 bits: no kernel "
            "makes the very values of its scales or experts"
        )


def _bases_of(bases: BaseStore, releases: list[Release], say: Callable[[str], None]) -> list[Base]:
    """The prepared bases of these releases, in the order they first occur."""
    found: dict[str, Base] = {}
    for release in releases:
        if release.servable is None or release.base.digest in found:
            continue
        try:
            found[release.base.digest] = _prepare(bases, release, say)
        except NotFound as error:
            say(f"left out: {error.message}")
    return list(found.values())


def _prepare(bases: BaseStore, release: Release, say: Callable[[str], None]) -> Base:
    """The release's base, prepared if need be.

    Raises:
        NotFound: it is not known here.
    """
    wanted = release.base
    base = bases.find(wanted.digest)
    if base is not None:
        return base
    # A folder is recorded by its name alone; which bytes it holds, the digest says.
    names = [s.name for s in bases.sources() if wanted.model in (s.model, public_name(s.model))]
    if wanted.model.startswith("hub:"):
        names.append(wanted.model)
    for name in names:
        for double in (True, False):
            base = bases.ensure(
                name,
                quantization=wanted.quantization,
                double_quantization=double,
                template=template_of_record(release.declared("base")),
            )
            if base.digest == wanted.digest:
                return base
    raise NotFound(
        f"the base of `{release.name}` is not here: `{wanted.model}` with digest "
        f"{wanted.digest[:19]}…",
        hint="add it with `adapters base add`, or name the base to serve with `--base`",
    )


def _names(registry: Registry) -> Iterator[NameRow]:
    after: str | None = None
    while page := registry.names(limit=_PAGE, after=after):
        yield from page
        after = page[-1].name
