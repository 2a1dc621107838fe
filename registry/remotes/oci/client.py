"""The few calls we make to an OCI registry, for one repository.

Invariants: every call has a time limit; reads that fail for a moment are tried again; TLS, unless
the registry is on this machine or plain http was asked for; a manifest is what its digest says, and
of bounded size, before it is parsed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx2

from adapterworks.manifests.digests import digest_bytes
from adapterworks.manifests.errors import IntegrityError, NotFound, Unavailable
from adapterworks.registry.remotes.oci.auth import Authorizer
from adapterworks.registry.remotes.oci.credentials import find_credential
from adapterworks.registry.remotes.oci.errors import from_status, reaching
from adapterworks.registry.remotes.oci.media import INDEX, MANIFEST
from adapterworks.registry.remotes.oci.names import OciName
from adapterworks.registry.remotes.oci.wire import WHOLE, hooks

T = TypeVar("T")
TIMEOUT_S = 30.0
ATTEMPTS = 3
_ACCEPT = f"{MANIFEST}, {INDEX}"


class Client:
    """A repository of a registry.

    Args:
        plain_http: speak http, without TLS, to a registry on another machine.
        push: ask for the right to write.
        anonymous: ask as somebody who is not logged in.
    """

    def __init__(
        self,
        name: OciName,
        *,
        plain_http: bool = False,
        push: bool = False,
        anonymous: bool = False,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.name = OciName(name.host, name.repository)
        self._plain = plain_http
        credential = None if anonymous else find_credential(name.host, environ)
        actions = "pull,push" if push else "pull"
        self._http = httpx2.Client(
            auth=Authorizer(self.name, credential, actions, plain=plain_http),
            timeout=httpx2.Timeout(TIMEOUT_S),
            headers={"User-Agent": "adapterworks"},
            event_hooks=hooks(self.name, plain=plain_http),
        )
        self.scheme = "http" if plain_http else self._scheme()

    @property
    def endpoint(self) -> str:
        """The registry's address."""
        return f"{self.scheme}://{self.name.host}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._http.close()

    def anybody(self) -> Client:
        """The same repository, asked by somebody who is not logged in."""
        return Client(self.name, plain_http=self.scheme == "http", anonymous=True)

    def manifest(self, reference: str) -> tuple[str, bytes] | None:
        """The digest and bytes of a tag's or digest's manifest; `None` if there is none.

        Raises:
            IntegrityError: its bytes are not what was asked for, or too many.
        """

        def ask() -> tuple[str, bytes] | None:
            with self._stream("GET", f"manifests/{reference}", accept=_ACCEPT) as response:
                if response.status_code == 404:
                    return None
                self._expect(response, "read", 200)
                data = b"".join(response.iter_raw())
            found = digest_bytes(data)
            if reference.startswith("sha256:") and found != reference:
                raise IntegrityError(f"`{self.name}@{reference}` has other bytes: {found}")
            return found, data

        return self._retried(ask)

    def put_manifest(self, reference: str, data: bytes, media_type: str) -> bool:
        """Store a manifest; returns whether the registry keeps what refers to its subject."""
        response = self.request(
            "PUT", f"manifests/{reference}", content=data, headers={"Content-Type": media_type}
        )
        self._expect(response, "push to", 201)
        return "OCI-Subject" in response.headers

    def referrers(self, digest: str) -> bytes | None:
        """The index of what refers to a manifest; `None` where the registry has no such call."""

        def ask() -> bytes | None:
            with self._stream("GET", f"referrers/{digest}", accept=INDEX) as response:
                if response.status_code in (400, 404, 405):
                    return None
                self._expect(response, "read", 200)
                return b"".join(response.iter_raw())

        return self._retried(ask)

    def blob_size(self, digest: str) -> int | None:
        """The bytes of a blob; `None` if it is not there."""

        def ask() -> int | None:
            response = self.request("HEAD", f"blobs/{digest}", follow=True)
            if response.status_code == 404:
                return None
            self._expect(response, "read", 200)
            said = response.headers.get("Content-Length", "")
            return int(said) if said.isdecimal() else -1

        return self._retried(ask)

    def may_read(self, digest: str) -> bool:
        """Whether a blob that is there is shown to us."""
        response = self._retried(lambda: self.request("HEAD", f"blobs/{digest}", follow=True))
        if response.status_code in (401, 403, 404):
            return False
        self._expect(response, "read", 200)
        return True

    def fetch(self, digest: str, target: Path, *, limit: int) -> None:
        """Add to `target` the bytes of a blob that it has not yet; not checked here.

        Raises:
            NotFound: there is no such blob.
            IntegrityError: it is longer than `limit` bytes.
        """

        def ask() -> None:
            have = target.stat().st_size if target.exists() else 0
            if have >= limit > 0:
                return
            headers = {"Range": f"bytes={have}-"} if have else {}
            with self._stream("GET", f"blobs/{digest}", whole=True, headers=headers) as response:
                self._expect(response, "read", 200, 206)
                if response.status_code == 200:  # it knows no ranges: from the beginning
                    have = 0
                with target.open("r+b" if have else "wb") as file:
                    file.seek(have)
                    for chunk in response.iter_raw():
                        have += len(chunk)
                        if have > limit:
                            raise IntegrityError(
                                f"`{self.name}` sends more than {limit} bytes for {digest}"
                            )
                        file.write(chunk)

        self._retried(ask)

    def request(
        self,
        method: str,
        path: str,
        *,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
        follow: bool = False,
    ) -> httpx2.Response:
        """One request, whatever it answers; `path` is below the repository, or a whole URL."""
        with reaching("ask", str(self.name)):
            return self._http.request(
                method,
                self._url(path),
                content=content,
                headers=dict(headers or {}),
                follow_redirects=follow,
            )

    def fail(self, response: httpx2.Response, action: str) -> Exception:
        """The error of an answer that was not the expected one."""
        return from_status(response, action, str(self.name))

    def _expect(self, response: httpx2.Response, action: str, *statuses: int) -> None:
        if response.status_code not in statuses:
            with reaching(action, str(self.name)):
                response.read()
            raise self.fail(response, action)

    def _stream(
        self,
        method: str,
        path: str,
        *,
        accept: str = "*/*",
        whole: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        # Coded bytes would be counted and hashed as others than the registry's.
        sent = {"Accept": accept, "Accept-Encoding": "identity", **(headers or {})}
        return self._http.stream(
            method,
            self._url(path),
            headers=sent,
            follow_redirects=whole,
            extensions={WHOLE: True} if whole else {},
        )

    def _url(self, path: str) -> httpx2.URL:
        own = httpx2.URL(f"{self.endpoint}/v2/{self.name.repository}/")
        return own.join(path)  # what a registry sends as a Location may be relative

    def _scheme(self) -> str:
        """`https`; on this machine `http`, where the registry there has no TLS."""
        if not self.name.is_loopback:
            return "https"
        try:
            self._http.get(f"https://{self.name.host}/v2/", auth=None)
        except httpx2.ConnectError:
            return "http"
        except httpx2.HTTPError:
            return "https"
        return "https"

    def _retried(self, call: Callable[[], T]) -> T:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with reaching("ask", str(self.name)):
                    return call()
            except Unavailable as error:
                if attempt == ATTEMPTS:
                    raise
                time.sleep(min(error.retry_after or 0.25 * 2**attempt, 10.0))
        raise AssertionError("unreachable")


def require_manifest(client: Client, reference: str) -> tuple[str, bytes]:
    """The digest and bytes of a manifest that must be there.

    Raises:
        NotFound: there is no such tag or digest, or no right to see it.
    """
    found = client.manifest(reference)
    if found is None:
        raise NotFound(
            f"`{client.name}` has no `{reference[:200]}`, or it may not be seen",
            hint="check the tag; if the repository is private, log in: "
            f"docker login {client.name.host}",
        )
    return found
