"""What a browser does at the console: cookies, forms with their tokens, the headers it adds."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import httpx

_TOKEN = re.compile(r'name="form" value="([^"]+)"')
# What a browser says of a form that one of the console's own pages has sent.
OWN = {"sec-fetch-site": "same-origin"}


@dataclass
class Browser:
    """One browser with its cookies; a context manager."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.client = httpx.Client(base_url=self.url, headers=self.headers, timeout=60.0)

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.client.close()

    def get(self, path: str, **options: Any) -> httpx.Response:
        """A page, by its address below `/console`; redirects are not followed."""
        return self.client.get("/console" + path, **options)

    def token(self, path: str = "/login") -> str:
        """The token in the forms of a page."""
        found = _TOKEN.search(self.get(path).text)
        assert found is not None
        return found[1]

    def send(self, path: str, form: dict[str, str] | None = None, **options: Any) -> httpx.Response:
        """A form of the console's own, with this session's token."""
        data = {"form": self.token(), **(form or {})}
        return self.client.post("/console" + path, data=data, headers=OWN, **options)

    def upload(self, name: str, data: bytes, purpose: str = "fine-tune") -> httpx.Response:
        """A file."""
        return self.client.post(
            "/console/files",
            params={"form": self.token()},
            data={"purpose": purpose},
            files={"file": (name, data)},
            headers=OWN,
        )

    def log_in(self, key: str) -> httpx.Response:
        """With a key."""
        return self.send("/login", {"key": key, "next": "/console/"})
