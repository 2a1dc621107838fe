"""`adapters ps`: what a gateway says of itself is shown as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from adapterworks.cli.main import cli

LONG = " ".join(f"reason-{n}" for n in range(60))


def adapter(**changed: Any) -> dict[str, Any]:
    values = {
        "name": "medical", "digest": "sha256:" + "a" * 64, "form": "lora", "origin": "native",
        "state": "refused", "pinned": False, "error": None, "findings": [], "proof": None,
        "inflight": 0, "age": 3.0,
    }  # fmt: skip
    return {**values, **changed}


def gateway(*adapters: dict[str, Any], reason: str = "") -> dict[str, Any]:
    engine = {
        "id": "e1", "state": "ready", "reason": reason, "base": "b",
        "base_digest": "sha256:" + "b" * 64, "inflight": 0, "generation": 1,
        "adapters": list(adapters),
    }  # fmt: skip
    return {
        "host": "127.0.0.1", "port": 8080, "pid": 1, "uptime": 5.0, "ready": False,
        "reason": reason, "open": False, "engines": [engine],
    }  # fmt: skip


@pytest.mark.parametrize(
    "said",
    [
        "set [trust] proof to warn; see [residency] pins",
        "a path [/x] of markup",
        "[bold]not bold[/bold] \\[x]",
        LONG,
    ],
)
def test_words_in_brackets_and_long_ones_are_shown_whole(
    home: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    told = gateway(adapter(error=said, findings=["[residency] max_cpu_loras"]), reason=said)
    monkeypatch.setattr("adapterworks.gateways.running_gateways", lambda home: {home: told})
    shown = CliRunner().invoke(cli, ["ps"])
    assert shown.exit_code == 0, shown.exception
    first, engine, _, line = shown.stdout.splitlines()
    assert f"not ready: {said}" in first
    assert f"({said})" in engine
    assert f"refused: {said}; [residency] max_cpu_loras" in line


def test_what_a_release_is_called_does_nothing_to_a_terminal(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = gateway(adapter(error="\x1b[2Jgone"), reason="\x1b]0;x\x07")
    monkeypatch.setattr("adapterworks.gateways.running_gateways", lambda home: {home: told})
    shown = CliRunner().invoke(cli, ["ps"]).stdout
    assert "\x1b" not in shown
    assert "\\x1b[2Jgone" in shown
