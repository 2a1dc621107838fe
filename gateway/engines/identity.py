"""Which base an engine elsewhere says that it serves, so that a gateway needs no copy of it.

It is a word, not a proof: an adapter answers only after its fingerprint, taken on the base with
this digest, was reproduced by the engine (`[trust] proof`).
"""

from __future__ import annotations

from typing import Annotated

import aiohttp
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adapterworks.gateway.engines.target import ServedBase
from adapterworks.gateway.engines.tls import EngineTls, tls_of
from adapterworks.manifests.digests import digest_json
from adapterworks.manifests.errors import Unavailable

PATH = "/adapterworks/base"  # of gateway/engine_plugin/identity.py
_SECONDS = aiohttp.ClientTimeout(total=5.0)
_MOST_BYTES = 65536
_Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
_Word = Annotated[str, Field(max_length=200)]
_Name = Annotated[str, Field(min_length=1, max_length=200)]


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    model: _Name
    digest: _Digest
    quantization: Annotated[str, Field(pattern=r"^(none|nf4)$")]
    template_digest: _Digest
    exact: bool
    kind: Annotated[dict[_Word, _Word], Field(max_length=32)] | None = None

    def base(self) -> ServedBase:
        """As a gateway has it; the kind is a digest over all that an engine's numbers depend on."""
        values = self.model_dump(exclude={"kind"})
        if self.kind is None:
            return ServedBase(**values)
        of = {"engine": self.kind, "base": self.digest, "template": self.template_digest}
        return ServedBase(**values, kind=digest_json(of))


async def ask_base(url: str, key: str | None, tls: EngineTls | None = None) -> ServedBase:
    """Ask the engine at a URL.

    Raises:
        Unavailable: it does not answer, or does not say it.
    """
    headers = {"authorization": f"Bearer {key}"} if key else {}
    options = {"allow_redirects": False, **tls_of(tls)}
    try:
        async with (
            aiohttp.ClientSession(timeout=_SECONDS, cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.get(url + PATH, headers=headers, **options) as answer,
        ):
            status, body = answer.status, await _begin_of(answer.content)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise Unavailable(f"`{url}` does not answer: {type(error).__name__}") from error
    except ValueError as error:
        raise Unavailable(f"`{url}` is no address of an engine: {error}") from error
    if status != 200:
        raise Unavailable(
            f"`{url}` does not say which base it serves ({status})",
            hint="start it with our plugin and VLLM_PLUGINS=adapterworks, on a prepared base; or "
            "name its `base` in `[[engines]]`",
        )
    try:
        return _Said.model_validate_json(body).base()
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        what = f"`{url}` says something unknown of its base: {where} {fault['msg']}"
        raise Unavailable(what) from error


async def _begin_of(content: aiohttp.StreamReader) -> bytes:
    """All of it, or as much as there may be; one `read` gives what has come first."""
    data = bytearray()
    while len(data) < _MOST_BYTES and (more := await content.read(_MOST_BYTES - len(data))):
        data += more
    return bytes(data)
