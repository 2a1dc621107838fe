"""An endpoint: an address that speaks OpenAI's chat API, and the name of a model there.

    URL "#" MODEL           https://api.openai.com/v1#gpt-4.1-mini, http://localhost:8000/v1#llama

Invariant: what is parsed here is asked as it stands. What is behind such a name is not ours and can
change: nothing of it is ever taken for a digest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from adapterworks.manifests.errors import InvalidInput

_HOW = "write URL#MODEL, as in `https://api.openai.com/v1#gpt-4.1-mini`"
KEY = "OPENAI_API_KEY"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model answers.

    Attributes:
        url: up to and with `/v1`, without a slash at its end.
        model: its name there.
        key: sent as a bearer token; None sends none.
    """

    url: str
    model: str
    key: str | None = field(default=None, repr=False)

    @property
    def host(self) -> str:
        """Who is sent what is asked, with the port if the address has one."""
        return urlsplit(self.url).netloc

    @property
    def name(self) -> str:
        """For reports and people: `gpt-4.1-mini at api.openai.com`."""
        return f"{self.model} at {self.host}"


def is_endpoint(text: str) -> bool:
    """Whether this is meant to be an endpoint, rather than a reference to a release."""
    return text.startswith(("http://", "https://"))


def parse_endpoint(text: str, environ: Mapping[str, str], key_variable: str | None) -> Endpoint:
    """The endpoint that somebody typed.

    Args:
        environ: where the key is read.
        key_variable: the variable that holds it. If not given, `OPENAI_API_KEY` is sent, and only
            to an address of `openai.com`: a key is never sent to somebody else unasked.

    Raises:
        InvalidInput: it is not such a text, has a user or password in it, or the variable is empty.
    """
    address, _, model = text.partition("#")
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError as error:
        raise InvalidInput(f"`{address}` is not a URL: {error}", hint=_HOW) from error
    if parts.scheme not in ("http", "https") or not host or not model.strip():
        raise InvalidInput(f"`{text}` names no endpoint and model", hint=_HOW)
    if parts.username is not None or parts.password is not None:
        raise InvalidInput(
            f"the address of `{host}` has a user or password in it",
            hint="keep the key in an environment variable, and name it with `--key-env`",
        )
    if parts.query:
        raise InvalidInput(f"`{address}` has a query, which is not sent", hint=_HOW)
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    url = f"{parts.scheme}://{parts.netloc}{path or '/v1'}"
    return Endpoint(url, model.strip(), _key(host, environ, key_variable))


def _key(host: str, environ: Mapping[str, str], variable: str | None) -> str | None:
    if variable is None:
        own = host == "openai.com" or host.endswith(".openai.com")
        return environ.get(KEY) or None if own else None
    if not environ.get(variable):
        raise InvalidInput(
            f"the environment variable `{variable}` is not set",
            hint=f"export {variable}=… with the key for `{host}`",
        )
    return environ[variable]
