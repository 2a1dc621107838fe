"""A constitution: principles in a TOML file, by which a model criticises and mends its answers.

    name = "careful"

    [[principles]]
    name = "harmless"
    critique = "Say whether the answer …"
    revision = "Write the answer anew …"
    preference = "The better answer …"

Invariant: what is read is known by a digest of its words, which every row that it made carries.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, model_validator

from adapterworks.manifests.digests import digest_json
from adapterworks.manifests.errors import InvalidInput, NotFound
from adapterworks.manifests.values import Frozen

SHIPPED = Path(__file__).parent / "constitutions"
_MOST_BYTES = 1 << 20
_Words = Annotated[str, Field(min_length=1, max_length=8_000)]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]


class Principle(Frozen):
    """What is asked of an answer.

    Attributes:
        critique: what the model is to say about the answer.
        revision: how it is to write the answer anew.
        preference: what makes one of two answers the better one.
    """

    name: _Name
    critique: _Words
    revision: _Words
    preference: _Words


class Constitution(Frozen):
    """Principles.

    Attributes:
        description: one sentence for people.
    """

    name: _Name
    description: Annotated[str, Field(max_length=500)] = ""
    principles: Annotated[list[Principle], Field(min_length=1, max_length=200)]

    @model_validator(mode="after")
    def _apart(self) -> Constitution:
        names = [principle.name for principle in self.principles]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two principles are called `{twice[0]}`")
        return self

    @property
    def digest(self) -> str:
        """`sha256:…` of its principles, in their order."""
        return digest_json([principle.model_dump() for principle in self.principles])


def read_constitution(source: str) -> Constitution:
    """A constitution of a file, or of those that come with adapterworks by its name.

    Raises:
        NotFound: there is no such file or name.
        InvalidInput: it is no constitution; every fault is named.
    """
    path = Path(source)
    if not path.suffix and not path.exists():
        path = SHIPPED / f"{source}.toml"
    if not path.is_file():
        raise NotFound(
            f"there is no constitution `{source}`",
            hint=f"name a TOML file, or one of {', '.join(f'`{name}`' for name in shipped())}",
        )
    if path.stat().st_size > _MOST_BYTES:
        raise InvalidInput(f"`{source}` has more than {_MOST_BYTES} bytes")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"`{source}` is no TOML: {error}") from error
    try:
        return Constitution.model_validate(values)
    except ValidationError as error:
        told = error.errors(include_url=False, include_context=False, include_input=False)
        faults = "\n".join(
            f"  {'.'.join(str(part) for part in one['loc']) or 'the file'}: "
            f"{one['msg'].removeprefix('Value error, ')}"
            for one in told
        )
        raise InvalidInput(
            f"`{source}` is no constitution:\n{faults}",
            hint="it has a `name` and `[[principles]]`, each with `name`, `critique`, `revision` "
            "and `preference`",
        ) from error


def shipped() -> list[str]:
    """The names of those that come with adapterworks."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))
