"""The same against the registry that most others are made of, and read by another client.

It is Debian's package `docker-registry` (`apt-get install docker-registry`); where the program is
not installed the tests are skipped and say so. It is of version 1.0 of the specification: what
refers to a manifest is in a tag.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from adapterworks.manifests.digests import digest_file
from adapterworks.manifests.errors import Refused
from adapterworks.registry.registry import Registry
from tests.registry.keys import make_key
from tests.registry.remotes.oci.conftest import ROWS
from tests.registry.remotes.oci.moves import REPOSITORY, pulled, pushed

_PROGRAM = shutil.which("docker-registry") or "/usr/bin/docker-registry"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not Path(_PROGRAM).exists(),
        reason="needs `docker-registry`: apt-get install docker-registry",
    ),
]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A `docker-registry` on a free port, with nothing in it."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = tmp_path / "registry.yml"
    config.write_text(
        "version: 0.1\n"
        f"storage: {{filesystem: {{rootdirectory: {tmp_path / 'registry'}}}}}\n"
        f"http: {{addr: '{address}'}}\n"
    )
    with (tmp_path / "registry.log").open("wb") as log:
        server = subprocess.Popen([_PROGRAM, "serve", str(config)], stdout=log, stderr=log)
    try:
        _wait_for(address, server)
        yield address
    finally:
        server.terminate()
        server.wait()


def _wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    while server.poll() is None:
        try:
            httpx2.get(f"http://{address}/v2/")
            return
        except httpx2.TransportError:
            time.sleep(0.01)
    raise AssertionError("the registry did not start")


def test_a_release_comes_back_signed_from_an_empty_machine(
    ours: Registry, theirs: Registry, host: str, tmp_path: Path
) -> None:
    private, public = make_key(tmp_path, "release")
    digest = ours.resolve("medical@1").digest
    ours.signatures.sign(digest, private, who="ann")
    with pytest.raises(Refused, match="is public"):
        pushed(ours, host, private=True)
    done = pushed(ours, host, chunk=1000, aliases=("prod",))
    assert done.created
    assert not pushed(ours, host, chunk=1000).created
    for source in (f"{REPOSITORY}:v1", f"{REPOSITORY}:prod", f"{REPOSITORY}@{done.commit}"):
        came = pulled(theirs, f"oci://{host}/{source}")
        assert (came.published.digest, came.commit) == (digest, done.commit)
    assert theirs.signatures.require(digest, [public])


def test_another_client_reads_the_files(ours: Registry, host: str, tmp_path: Path) -> None:
    oras = pytest.importorskip("oras.client", reason="needs `oras`: pip install oras")
    pushed(ours, host)
    client = oras.OrasClient(hostname=host, insecure=True)
    client.pull(target=f"{host}/{REPOSITORY}:v1", outdir=str(tmp_path / "oras"))
    release = ours.release(ours.resolve("medical@1").digest)
    for path in release.files.keys() - {ROWS}:
        assert digest_file(tmp_path / "oras" / path) == release.files[path].digest
