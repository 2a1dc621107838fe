"""The key of an engine elsewhere is there, or the gateway does not start."""

from __future__ import annotations

import pytest

from adapterworks.gateway.config.engines import RemoteEngine
from adapterworks.manifests.errors import InvalidInput
from adapterworks.serving import _key_of


def test_a_key_that_is_not_set_is_no_key_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    table = RemoteEngine(url="http://gpu:8000", base="llama", api_key_env="GPU_KEY")
    monkeypatch.setenv("GPU_KEY", "secret")
    assert _key_of(table) == "secret"
    assert _key_of(RemoteEngine(url="http://gpu:8000", base="llama")) is None
    for value in ("", None):
        if value is None:
            monkeypatch.delenv("GPU_KEY")
        else:
            monkeypatch.setenv("GPU_KEY", value)
        with pytest.raises(InvalidInput, match="`GPU_KEY`, the key of the engine of `llama`"):
            _key_of(table)
