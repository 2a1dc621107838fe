"""What all tables of `gateway.toml` are, and the values they share."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0.0)]
UrlPath = Annotated[str, Field(pattern=r"^/[A-Za-z0-9._~:/-]{1,255}$")]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Table(BaseModel):
    """Base of all tables: immutable, strict, unknown keys refused."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


def check_http_url(url: str) -> str:
    """The address, if it is one.

    Raises:
        ValueError: it is none, with what it should be.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("should be an address such as `http://host:8000`")
    return url
