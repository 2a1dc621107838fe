"""Protected aliases: what a version must show before one of them moves to it.

    [aliases.prod]
    names = ["medical", "icd-*"]   # whose `prod`; every name's, if it is not there
    gates = true                   # its gates passed, in a build of this registry
    proof = true                   # an engine reproduced its fingerprint
    signatures = 2                 # so many of the keys below signed it
    keys = ["release.pub", "review.pub"]
    approvals = 1                  # so many others than who asked for the move approved it
    preferred = 0.45               # people prefer it to the alias's holder at least so often …
    reviewers = 2                  # … in a blind review by so many

The rules are the registry's, not a machine's: they are in the index, the newest settings in its log
hold for everybody. A canary is a move to it; going back (`rollback`) and taking an alias away are
not, they are what is done when something is wrong.

Invariant: a move is judged before the write transaction and made only if the same settings still
hold in it; the logged move names them, so `verify` sees one that was not judged.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.engine import Connection

from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.manifests.refs import check_alias
from adapterworks.registry.index import log, schema
from adapterworks.registry.releases.types import Event

KIND = "settings"
REGISTRY = ""  # the name under which the log has what is of no adapter
_log = schema.log


class Rule(BaseModel):
    """What one protected alias asks for; `keys` are public keys, PEM."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    names: Annotated[tuple[str, ...], Field(min_length=1, strict=False)] = ("*",)
    gates: bool = False
    proof: bool = False
    signatures: Annotated[int, Field(ge=0, le=16)] = 0
    keys: Annotated[tuple[str, ...], Field(strict=False)] = ()
    approvals: Annotated[int, Field(ge=0, le=16)] = 0
    preferred: Annotated[float, Field(gt=0, lt=1)] | None = None
    reviewers: Annotated[int, Field(ge=1, le=16)] = 2

    def concerns(self, name: str) -> bool:
        """Whether it is about this name's alias."""
        return any(fnmatchcase(name, pattern) for pattern in self.names)


class Settings(BaseModel):
    """The registry's settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    aliases: dict[str, Rule] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Standing:
    """Settings and the row of the log that they are."""

    sequence: int
    settings: Settings

    def rule(self, name: str, alias: str) -> Rule | None:
        """What an alias asks for, if it is protected."""
        rule = self.settings.aliases.get(alias)
        return rule if rule is not None and rule.concerns(name) else None


def read_settings(file: Path) -> Settings:
    """Read a TOML file; the keys that it names are read too, relative to it.

    Raises:
        InvalidInput: naming the table and the key that cannot be.
    """
    from adapterworks.registry.lifecycle.signing import key_id

    try:
        table: dict[str, Any] = tomllib.loads(file.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidInput(f"`{file}` is not TOML: {error}") from error
    try:
        settings = Settings.model_validate(table)
    except ValidationError as error:
        faults = [
            f"`{'.'.join(map(str, fault['loc']))}`: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        ]
        raise InvalidInput(
            f"`{file}`: {'; '.join(faults)}",
            hint="write [aliases.prod] with names, gates, proof, signatures and keys; "
            "see the reference of the registry",
        ) from error
    rules = {}
    for alias, rule in settings.aliases.items():
        check_alias(alias)
        keys = [file.parent / key for key in rule.keys]
        identities = {key_id(key) for key in keys}
        if rule.signatures > len(identities):
            raise InvalidInput(
                f"`{file}`: `aliases.{alias}` asks for {rule.signatures} signatures and has "
                f"{len(identities)} different keys",
                hint='name the public keys: keys = ["release.pub", "review.pub"]',
            )
        pem = tuple(key.read_text() for key in keys)
        rules[alias] = rule.model_copy(update={"keys": pem})
    return Settings(aliases=rules)


def standing(connection: Connection) -> Standing | None:
    """The settings that hold now; None if there never were any."""
    newest = log.events(connection, REGISTRY, kinds=(KIND,), limit=1)
    if not newest:
        return None
    return Standing(newest[0].sequence, Settings.model_validate(newest[0].data))


def keep(connection: Connection, settings: Settings, *, who: str, why: str) -> Event:
    """Let settings hold from now on."""
    data = settings.model_dump(mode="json")
    return log.append(connection, REGISTRY, KIND, who=who, why=why, **data)


def require_cleared(
    connection: Connection, name: str, alias: str, cleared: int | None
) -> int | None:
    """Check, in the transaction of a move, that it was judged by the settings that hold.

    Args:
        cleared: the settings' row that the version was found to fulfil, if it was judged.

    Returns the row, for the log of the move; None where the alias is not protected.

    Raises:
        Refused: it was not.
    """
    found = standing(connection)
    if found is None or found.rule(name, alias) is None:
        return None
    if cleared != found.sequence:
        raise Refused(
            f"`{name}:{alias}` is protected: nothing moves it on the way",
            hint=f"publish first; then, when it is proved and signed: adapters promote {name}@N "
            f"{alias}",
        )
    return cleared


def unjudged(connection: Connection) -> list[tuple[str, str]]:
    """(ref, what is wrong) of moves of protected aliases that do not say by which settings."""
    kinds = (KIND, "promote", "canary")
    query = sa.select(_log).where(_log.c.kind.in_(kinds)).order_by(_log.c.sequence)
    held: Standing | None = None
    found = []
    for row in connection.execute(query):
        event = log.event_of(row)
        if event.kind == KIND and event.name == REGISTRY:
            held = Standing(event.sequence, Settings.model_validate(event.data))
        elif held is not None and event.alias is not None:
            rule = held.rule(event.name, event.alias)
            if rule is not None and event.data.get("cleared") != held.sequence:
                found.append(
                    (
                        f"{event.name}:{event.alias}",
                        f"row {event.sequence} of the log moved it, "
                        "though it was protected, and does not say that it was judged",
                    )
                )
    return found
