"""An OCI registry on a loopback socket: the distribution specification's calls that we use.

It counts the bytes of blobs it was sent and has sent, and can hang up in the middle of either. The
same tests run against Debian's `docker-registry` (`test_distribution.py`).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import secrets
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, cast
from urllib.parse import parse_qs, urlsplit

EMPTY = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
_PATH = re.compile(r"/v2/(?P<repo>.+)/(?P<kind>blobs|manifests|referrers)/(?P<rest>.+?)/?")


@dataclass
class OciStandin:
    """A registry in memory.

    Attributes:
        referrers: whether it knows what refers to a manifest (version 1.1).
        user, password: who may read and write; nobody is asked if there is none.
        bearer: it gives tokens for that, and takes no password itself.
        readers: repositories that anybody may read.
        received, served: bytes of blobs that came and went, by digest or upload.
        tls: what it speaks TLS with; without, plain HTTP.
        hang_up: after so many more bytes of blobs in either direction it drops the connection.
    """

    referrers: bool = True
    user: str | None = None
    password: str = "secret"
    bearer: bool = False
    readers: set[str] = field(default_factory=set)
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    received: int = 0
    served: int = 0
    hang_up: int | None = None
    asked: list[str] = field(default_factory=list)
    tokens: dict[str, bool] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        if self.tls is not None:
            listening = self._server.socket
            self._server.socket = self.tls.wrap_socket(listening, server_side=True)
        self._server.daemon_threads = True
        cast(Any, self._server).standin = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def host(self) -> str:
        """Its address, as it is written in names."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def manifest(self, tag: str, repository: str = "org/medical") -> Any:
        """The parsed manifest of a tag."""
        return json.loads(self.manifests[self.tags[f"{repository}:{tag}"]][1])

    def spend(self, size: int) -> int:
        """How many of `size` bytes may still pass."""
        if self.hang_up is None:
            return size
        passed = min(size, self.hang_up)
        self.hang_up -= passed
        return passed


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle()

    @property
    def standin(self) -> OciStandin:
        return cast(OciStandin, cast(Any, self.server).standin)

    def do_GET(self) -> None:
        self._route("GET")

    def do_HEAD(self) -> None:
        self._route("HEAD")

    def do_POST(self) -> None:
        self._route("POST")

    def do_PUT(self) -> None:
        self._route("PUT")

    def do_PATCH(self) -> None:
        self._route("PATCH")

    def _route(self, method: str) -> None:
        url = urlsplit(self.path)
        self.standin.asked.append(f"{method} {url.path}")
        if url.path == "/v2/":
            self._answer(200, b"{}")
        elif url.path == "/token":
            self._token(parse_qs(url.query))
        elif (match := _PATH.fullmatch(url.path)) is None:
            self._fail(404, "NAME_UNKNOWN")
        elif not self._may(method, match["repo"]):
            self._challenge(match["repo"], method)
        elif match["kind"] == "referrers":
            self._referrers(match["rest"])
        elif match["kind"] == "manifests":
            self._manifest(method, match["repo"], match["rest"])
        elif match["rest"].startswith("uploads"):
            self._upload(method, match["rest"].removeprefix("uploads").strip("/"), url.query)
        else:
            self._blob(method, match["rest"])

    # who

    def _may(self, method: str, repository: str) -> bool:
        standin, sent = self.standin, self.headers.get("Authorization", "")
        reads = method in ("GET", "HEAD")
        if standin.user is None or (reads and repository in standin.readers and not standin.bearer):
            return True
        if standin.bearer:
            writes = standin.tokens.get(sent.removeprefix("Bearer "))
            return writes is not None and (reads or writes)
        return sent == f"Basic {self._pair()}"

    def _pair(self) -> str:
        return base64.b64encode(f"{self.standin.user}:{self.standin.password}".encode()).decode()

    def _challenge(self, repository: str, method: str) -> None:
        self._drain()
        scheme = 'Basic realm="registry"'
        if self.standin.bearer:
            actions = "pull" if method in ("GET", "HEAD") else "pull,push"
            scheme = (
                f'Bearer realm="http://{self.standin.host}/token",service="registry",'
                f'scope="repository:{repository}:{actions}"'
            )
        self._fail(401, "UNAUTHORIZED", {"WWW-Authenticate": scheme})

    def _token(self, asked: dict[str, list[str]]) -> None:
        repository = asked["scope"][0].split(":")[1]
        known = self.headers.get("Authorization") == f"Basic {self._pair()}"
        if not known and repository not in self.standin.readers:
            self._fail(401, "DENIED")
            return
        token = secrets.token_hex(8)
        self.standin.tokens[token] = known
        self._answer(200, json.dumps({"token": token}).encode())

    # what

    def _referrers(self, digest: str) -> None:
        if not self.standin.referrers:
            self._fail(404, "UNSUPPORTED")
            return
        listed = []
        for name, (kind, data) in self.standin.manifests.items():
            table = json.loads(data)
            if table.get("subject", {}).get("digest") == digest:
                listed.append(
                    {
                        "mediaType": kind,
                        "digest": name,
                        "size": len(data),
                        "artifactType": table["artifactType"],
                    }
                )
        index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": listed}
        self._answer(200, json.dumps(index).encode(), {"Content-Type": _INDEX})

    def _manifest(self, method: str, repository: str, reference: str) -> None:
        standin = self.standin
        if method == "PUT":
            data = self._drain()
            digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
            standin.manifests[digest] = (self.headers["Content-Type"], data)
            if not reference.startswith("sha256:"):
                standin.tags[f"{repository}:{reference}"] = digest
            subject = json.loads(data).get("subject")
            told = {"OCI-Subject": subject["digest"]} if subject and standin.referrers else {}
            self._answer(201, b"", {"Docker-Content-Digest": digest, **told})
            return
        found = standin.manifests.get(standin.tags.get(f"{repository}:{reference}", reference))
        if found is None:
            self._fail(404, "MANIFEST_UNKNOWN")
        else:
            self._answer(200, found[1], {"Content-Type": found[0]})

    def _blob(self, method: str, digest: str) -> None:
        data = self.standin.blobs.get(digest)
        if data is None:
            self._fail(404, "BLOB_UNKNOWN")
            return
        start = 0
        if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(match[1])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if method == "GET":
            passed = self.standin.spend(len(data) - start)
            self.wfile.write(data[start : start + passed])
            self.standin.served += passed
            if passed < len(data) - start:
                self._drop()

    def _upload(self, method: str, name: str, query: str) -> None:
        standin = self.standin
        if method == "POST":
            name = secrets.token_hex(8)
            standin.uploads[name] = bytearray()
            self._at(202, name)
            return
        if name not in standin.uploads:
            self._drain()
            self._fail(404, "BLOB_UPLOAD_UNKNOWN")
            return
        there = standin.uploads[name]
        if method == "GET":
            self._at(204, name)
            return
        sent = self.headers.get("Content-Range")
        if sent is not None and int(sent.split("-")[0]) != len(there):
            self._drain()
            self._at(416, name)
            return
        length = int(self.headers.get("Content-Length", 0))
        passed = standin.spend(length)
        there += self.rfile.read(passed)
        standin.received += passed
        if passed < length:
            self._drop()
            return
        if method == "PATCH":
            self._at(202, name)
            return
        digest = parse_qs(query)["digest"][0]
        if f"sha256:{hashlib.sha256(there).hexdigest()}" != digest:
            self._fail(400, "DIGEST_INVALID")
            return
        standin.blobs[digest] = bytes(standin.uploads.pop(name))
        self._answer(201, b"", {"Docker-Content-Digest": digest})

    # how

    def _at(self, status: int, name: str) -> None:
        last = max(len(self.standin.uploads[name]) - 1, 0)
        place = f"/v2/org/medical/blobs/uploads/{name}?state={last}"
        self._answer(status, b"", {"Location": place, "Range": f"0-{last}"})

    def _drain(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _drop(self) -> None:
        self.close_connection = True
        self.connection.close()

    def _fail(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        body = {"errors": [{"code": code, "message": code.lower().replace("_", " ")}]}
        self._answer(status, json.dumps(body).encode(), headers)

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


_INDEX = "application/vnd.oci.image.index.v1+json"
