"""What we ask of the client: time limits, reads that are tried again, writes that are not."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

from adapterworks.manifests.errors import NotFound, Unavailable
from adapterworks.registry.remotes.hub import client
from adapterworks.registry.remotes.hub.client import ATTEMPTS, TIMEOUT_S, Hub, RepoState
from adapterworks.registry.remotes.hub.names import HubSource
from tests.registry.remotes.hub.test_errors import http


class Api:
    """The library's client: each call gives or raises what was set, and is noted."""

    endpoint = "https://hub.test"

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        signature = inspect.signature(getattr(HfApi, name))

        def call(*arguments: Any, **named: Any) -> Any:
            signature.bind(self, *arguments, **named)  # the library does take these
            self.calls.append((name, arguments, named))
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited between attempts; nothing waits."""
    seconds: list[float] = []
    monkeypatch.setattr(client, "time", SimpleNamespace(sleep=seconds.append))
    return seconds


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, slept: list[float]) -> Api:
    made = Api()
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda **_: made)
    return made


def info(**sizes: int | None) -> SimpleNamespace:
    siblings = [SimpleNamespace(rfilename=name, size=size) for name, size in sizes.items()]
    return SimpleNamespace(sha="c" * 40, private=True, siblings=siblings)


def test_a_state_is_a_commit_and_the_sizes_of_its_files(api: Api) -> None:
    api.answers = [info(a=7, empty=None)]
    hub = Hub()
    assert hub.endpoint == "https://hub.test"
    assert hub.state(HubSource("org/a", "v1")) == RepoState(
        "org/a", "c" * 40, True, {"a": 7, "empty": 0}
    )
    ((name, arguments, named),) = api.calls
    assert (name, arguments) == ("model_info", ("org/a",))
    assert named == {"revision": "v1", "files_metadata": True, "timeout": TIMEOUT_S}
    api.answers = [SimpleNamespace(sha="d", private=None, siblings=None)]
    assert hub.state(HubSource("org/a")) == RepoState("org/a", "d", False, {})


def test_every_call_has_a_time_limit(api: Api) -> None:
    session = huggingface_hub.get_session()
    session.timeout = None
    Hub()
    assert session.timeout.read == session.timeout.connect == TIMEOUT_S == 30.0


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_for_terminals(
    api: Api, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    disabled: list[bool] = []
    monkeypatch.setattr(
        "huggingface_hub.utils.disable_progress_bars", lambda: disabled.append(True)
    )
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: terminal))
    Hub()
    assert bool(disabled) is not terminal


def test_a_read_is_tried_three_times_and_waits_as_long_as_the_hub_says(
    api: Api, slept: list[float]
) -> None:
    api.answers = [http(503), http(429, headers={"Retry-After": "3"}), info(a=1)]
    assert Hub().state(HubSource("org/a")).files == {"a": 1}
    assert slept == [0.5, 3.0]
    assert ATTEMPTS == 3


def test_it_is_given_up_after_the_third(api: Api, slept: list[float]) -> None:
    api.answers = [http(503)] * 4
    with pytest.raises(Unavailable, match="answers 503"):
        Hub().state(HubSource("org/a"))
    assert slept == [0.5, 1.0]
    assert len(api.calls) == 3


def test_nobody_waits_for_an_hour(api: Api, slept: list[float]) -> None:
    api.answers = [http(429, headers={"Retry-After": "3600"}), info()]
    Hub().state(HubSource("org/a"))
    assert slept == [10.0]


def test_what_will_not_change_is_not_tried_again(api: Api, slept: list[float]) -> None:
    offline = huggingface_hub.errors.OfflineModeIsEnabled("offline")
    for error, expected in ((http(404), NotFound), (offline, Unavailable)):
        api.answers = [error]
        with pytest.raises(expected):
            Hub().state(HubSource("org/a"))
    assert slept == []


def test_what_is_not_there_is_found_as_nothing_and_other_trouble_is_told(api: Api) -> None:
    api.answers = [http(404), info(a=1), http(401)]
    hub = Hub()
    assert hub.find("org/a") is None
    found = hub.find("org/a")
    assert found is not None
    assert found.commit == "c" * 40
    with pytest.raises(Exception, match="refuses this token"):
        hub.find("org/a")
    assert api.calls[0][2]["revision"] == "main"


def test_a_tag_is_found_by_its_name(api: Api) -> None:
    tags = [SimpleNamespace(name=name, target_commit=f"commit of {name}") for name in ("v1", "v2")]
    for name, expected in (("v2", "commit of v2"), ("v3", None)):
        api.answers = [SimpleNamespace(tags=tags)]
        assert Hub().tag("org/a", name) == expected
    assert api.calls[0][:2] == ("list_repo_refs", ("org/a",))


def test_a_download_is_of_the_commit_and_never_of_the_shared_cache(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    signature = inspect.signature(huggingface_hub.hf_hub_download)

    def download(*arguments: Any, **named: Any) -> str:
        signature.bind(*arguments, **named)
        asked.append((arguments, named))
        if len(asked) == 1:
            raise http(503)
        (tmp_path / "w").write_bytes(b"1234")
        return str(tmp_path / "w")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    state = RepoState("org/a", "c" * 40, False, {"w": 4})
    assert Hub().download(state, "w", tmp_path, limit=4).read_bytes() == b"1234"
    assert asked[0] == asked[1]
    arguments, named = asked[0]
    assert arguments == ("org/a", "w")
    assert named["revision"] == "c" * 40
    assert named["local_dir"] == tmp_path
    assert named["cache_dir"].is_relative_to(tmp_path)
    assert named["force_download"] is True


def test_writes_are_asked_once(api: Api, tmp_path: Path, slept: list[float]) -> None:
    (tmp_path / "w").write_bytes(b"weights")
    add = {"a": b"bytes", "w": tmp_path / "w"}
    hub = Hub()
    writes: list[Callable[[], object]] = [
        lambda: hub.create("org/a", private=True),
        lambda: hub.commit("org/a", add=add, delete=["old"], parent="p" * 40, message="medical@1"),
        lambda: hub.create_tag("org/a", "v1", "c" * 40),
    ]
    for write in writes:
        api.answers = [http(503)]
        with pytest.raises(Unavailable):
            write()
    assert slept == []
    assert len(api.calls) == 3
    assert api.calls[0] == ("create_repo", ("org/a",), {"private": True, "exist_ok": True})
    _, (repository, operations), named = api.calls[1]
    assert repository == "org/a"
    assert [type(operation) for operation in operations] == [
        CommitOperationAdd, CommitOperationAdd, CommitOperationDelete,
    ]  # fmt: skip
    assert [operation.path_in_repo for operation in operations] == ["a", "w", "old"]
    assert named == {"commit_message": "medical@1", "parent_commit": "p" * 40}
    assert api.calls[2] == ("create_tag", ("org/a",), {"tag": "v1", "revision": "c" * 40})


def test_a_commit_is_named_by_its_id(api: Api) -> None:
    api.answers = [SimpleNamespace(oid="d" * 40), None, None]
    hub = Hub()
    assert hub.commit("org/a", add={}, delete=[], parent="p", message="m") == "d" * 40
    hub.create("org/a", private=False)
    hub.create_tag("org/a", "v1", "c")
    assert api.calls[1][2]["private"] is False
