"""The private socket of a gateway, wherever its home lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterworks.gateway.http import sockets
from adapterworks.gateways import _UnixConnection
from adapterworks.manifests.errors import InvalidInput


@pytest.mark.parametrize("length", [10, 200])
def test_a_path_of_any_length_can_be_listened_on_and_asked(tmp_path: Path, length: int) -> None:
    path = tmp_path / ("d" * length) / "run" / "gateway-8080.sock"
    with sockets.bind_unix(path) as listener:
        listener.listen()
        assert path.is_socket()
        assert path.stat().st_mode & 0o777 == 0o600
        connection = _UnixConnection(path, 5)
        connection.connect()
        connection.close()
    sockets.bind_unix(path).close()  # a stale one is replaced


def test_where_descriptors_have_no_names_the_home_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "_DESCRIPTORS", tmp_path / "absent")
    with pytest.raises(InvalidInput, match="too long for a socket") as caught:
        sockets.bind_unix(tmp_path / ("d" * 200) / "gateway-8080.sock")
    assert "ADAPTERS_HOME" in (caught.value.hint or "")
