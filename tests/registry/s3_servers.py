"""Real S3 servers on loopback: nanio checks credentials, moto knows conditional writes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import botocore.session
import pytest

ACCESS_KEY, SECRET_KEY = "test-access-key", "test-secret-key-0123456789"
REGION = "us-east-1"


@dataclass(frozen=True)
class S3Server:
    """Where a server is."""

    endpoint: str

    def environment(self) -> dict[str, str]:
        """What a user would set."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
        }

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Point this process at the server."""
        for name, value in self.environment().items():
            monkeypatch.setenv(name, value)

    def new_bucket(self) -> str:
        """Make an empty bucket; returns its name."""
        client = botocore.session.get_session().create_client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name=REGION,
        )
        name = f"bucket-{uuid.uuid4().hex}"
        client.create_bucket(Bucket=name)
        client.close()
        return name


@pytest.fixture(scope="session")
def nanio_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """nanio, which refuses a wrong secret."""
    port, data = _free_port(), tmp_path_factory.mktemp("nanio")
    command = ["-m", "nanio", "serve", "--data-dir", str(data), "--port", str(port)]
    keys = {"NANIO_ACCESS_KEY": ACCESS_KEY, "NANIO_SECRET_KEY": SECRET_KEY}
    with _running([*command, "--region", REGION, "--host", "127.0.0.1"], port, data, keys):
        yield S3Server(f"http://127.0.0.1:{port}")


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """moto, which honours `If-None-Match`."""
    port, data = _free_port(), tmp_path_factory.mktemp("moto")
    with _running(["-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port, data, {}):
        yield S3Server(f"http://127.0.0.1:{port}")


@contextmanager
def _running(
    arguments: list[str], port: int, folder: Path, extra: dict[str, str]
) -> Iterator[None]:
    log = folder.parent / f"{folder.name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **extra},
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(30)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
