"""Threads that wait spin for a short while only, unless the user has said otherwise."""

from __future__ import annotations

import os
from unittest import mock

import pytest

from adapterworks.cli.main import main
from adapterworks.registry.bases.threads import waiting


def test_what_the_user_has_said_stays() -> None:
    assert waiting({}) == {"GOMP_SPINCOUNT": "1000"}
    assert waiting({"GOMP_SPINCOUNT": "7"}) == {}
    assert waiting({"OMP_WAIT_POLICY": "active"}) == {}


def test_a_command_says_it_before_torch_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["adapters", "--version"])
    kept = {key: value for key, value in os.environ.items() if key != "GOMP_SPINCOUNT"}
    with mock.patch.dict(os.environ, kept, clear=True):
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
        assert os.environ["GOMP_SPINCOUNT"] == "1000"
