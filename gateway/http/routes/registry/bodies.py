"""What those who change something say: one frozen table for each body."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from adapterworks.gateway.capture.asked import AskedFeedback
from adapterworks.gateway.config.table import Table
from adapterworks.gateway.tokens.tokens import LONGEST_PERSON
from adapterworks.manifests.texts import harmless
from adapterworks.registry.releases.types import UNSET, Unset


def _printable(text: str) -> str:
    """A text that is one line wherever it is shown."""
    if not text.isprintable():
        raise ValueError("has a character that cannot be shown")
    return text


def _shown(text: str) -> str:
    """A text of several lines that a database keeps and a terminal only shows."""
    if harmless(text.replace("\r\n", "\n")) != text.replace("\r\n", "\n"):
        raise ValueError("has a character that cannot be shown")
    return text


_Why = Annotated[str, Field(max_length=2000), AfterValidator(_shown)]
_Reason = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_shown)]
_Version = Annotated[int, Field(ge=1, lt=10**9)]
_Tag = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_printable)]
_Place = Annotated[str, Field(max_length=1000), AfterValidator(_printable)]


class Publication(Table):
    """A release whose bytes were sent.

    Attributes:
        record: the record's exact bytes, as text.
        built: whether it was built for this registry, so that its plan and gates count here.
    """

    record: Annotated[str, Field(min_length=2, max_length=4 * 1024 * 1024)]
    built: bool = False
    why: _Why = ""


class _Movement(Table):
    """An alias is to move. `expect` is the version that holds it now; null: none does."""

    version: _Version
    expect: _Version | None = None
    percent: Annotated[int, Field(ge=1, le=100)] = 100
    why: _Why = ""

    @property
    def expected(self) -> int | Unset | None:
        """As the registry takes it: what is not said is not expected."""
        return self.expect if "expect" in self.model_fields_set else UNSET


class Move(_Movement):
    """It moves.

    Attributes:
        since: because the version was published, unless somebody has moved it after this sequence
            of the name's log.
    """

    since: Annotated[int, Field(ge=0, le=2**53)] | None = None


class Wish(_Movement):
    """It is asked for, and somebody else is to approve it."""

    why: _Reason


class Decision(Table):
    """A move that was asked for is approved, or denied."""

    why: _Why = ""


class Back(Table):
    """An alias is to go back, or to be taken away. `expect` is the version that goes."""

    expect: _Version | None = None
    why: _Why = ""

    @property
    def expected(self) -> int | Unset:
        """As the registry takes it."""
        return UNSET if self.expect is None else self.expect


class Tags(Table):
    """Tags to give and to take."""

    add: Annotated[tuple[_Tag, ...], Field(max_length=64)] = ()
    remove: Annotated[tuple[_Tag, ...], Field(max_length=64)] = ()
    why: _Why = ""


class Deprecation(Table):
    """A version should no longer be used, or should again."""

    deprecated: bool = True
    why: _Why = ""


class Moved(BaseModel):
    """What the note of a push or a pull says: where the other copy is, and which paths' bytes did
    not go along. Erasing tells people of it."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow")

    repository: _Place
    endpoint: _Place = ""
    commit: _Place
    withheld: list[_Place] = Field(default_factory=list)


class Made(BaseModel):
    """What the note of an export says: in which form."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow")

    form: _Place


_NOTES: dict[str, type[BaseModel]] = {"push": Moved, "pull": Moved, "export": Made}


class Note(Table):
    """Something that was done with a version elsewhere. A proof is only said by a gateway."""

    kind: Literal["push", "pull", "import", "export"]
    data: Annotated[dict[str, Any], Field(max_length=32)] = Field(default_factory=dict)
    why: _Why = ""

    @model_validator(mode="after")
    def _says_what_its_kind_does(self) -> Self:
        """The log keeps it for ever, and others read it there."""
        form = _NOTES.get(self.kind)
        if form is None:
            return self
        try:
            form.model_validate(self.data)
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(str(part)[:64] for part in ("data", *fault["loc"]))
            raise ValueError(f"`{where}` of a `{self.kind}`: {fault['msg']}") from error
        return self


class Signature(Table):
    """A signature of a record, and the public key (PEM) that it is by; one that came with the
    release from elsewhere has the `key`'s id alone, and counts where somebody names that key."""

    public_key: Annotated[str, Field(max_length=10_000)] = ""
    key: Annotated[str, Field(max_length=100)] = ""
    bundle: Annotated[str, Field(min_length=1, max_length=200_000)]
    why: _Why = ""


class Revocation(Table):
    """What a key signed up to now is not to count; without one, what every key did."""

    key: Annotated[str, Field(max_length=100)] = ""
    why: _Reason


class Deletion(Table):
    """A version is to become a tombstone."""

    with_aliases: bool = False
    why: _Why = ""


class NewToken(Table):
    """A token is to be made, for a person who may have several."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    person: Annotated[str, Field(min_length=1, max_length=LONGEST_PERSON)] | None = None
    role: Literal["reader", "publisher", "promoter", "admin"]
    seconds: Annotated[int, Field(ge=1, le=10 * 366 * 86400)] | None = None


class NewSeal(Table):
    """A test set is to be sealed: the digest of its seal, which was sent, and whose it is."""

    blob: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    owner: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]


_Bound = Annotated[int, Field(ge=1, lt=2**62)] | None
_Patterns = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=200)], ...],
    Field(min_length=1, max_length=1000),
]
_Weight = Annotated[float, Field(ge=0.001, le=1000.0)]


class NewSettings(Table):
    """Which aliases are protected from now on, and by what: all of them anew."""

    settings: dict[str, Any]
    why: _Why = ""


class NewTenant(Table):
    """A tenant is to be there; a limit that is null is the gateway's default.

    Attributes:
        allow: patterns of what it may use.
        weight: its share of a busy engine, and of the workers, relative to others.
    """

    name: Annotated[str, Field(min_length=1, max_length=64)]
    allow: _Patterns
    weight: _Weight = 1.0
    rpm: _Bound = None
    tpm: _Bound = None
    max_concurrency: _Bound = None
    monthly_tokens: _Bound = None


class TenantChange(Table):
    """What is to be another one of a tenant; what is not said stays, null lifts a limit."""

    allow: _Patterns = ("*",)
    weight: _Weight = 1.0
    rpm: _Bound = None
    tpm: _Bound = None
    max_concurrency: _Bound = None
    monthly_tokens: _Bound = None


class NewKey(Table):
    """A further key of a tenant, and for how long it works."""

    seconds: Annotated[int, Field(ge=1, le=10 * 366 * 86400)] | None = None


class Nothing(Table):
    """Nothing needs to be said."""


class Resending(Table):
    """An event is to be sent again; `to`: only to this address."""

    to: Annotated[str, Field(min_length=1, max_length=64)] | None = None


class Erasing(Table):
    """Something goes for good."""

    why: _Reason


class Purging(Erasing):
    """A version is to be deleted, and what is its alone to go at once."""

    with_aliases: bool = False


class Collection(Table):
    """Bytes that nothing needs are to go; see `adapters gc`."""

    grace: Annotated[float, Field(ge=0, le=10 * 365 * 86400.0)] = 7 * 86400.0
    unlisted: bool = False
    dry_run: bool = False


class NewFeedback(AskedFeedback):
    """Something is said of an answer of a tenant's, by the tenant's name."""

    tenant: Annotated[str, Field(min_length=1, max_length=100)]
