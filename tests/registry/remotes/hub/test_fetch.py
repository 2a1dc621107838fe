"""What is fetched of somebody's repository, and what its listing is refused for."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from adapterworks.manifests.errors import Refused
from adapterworks.registry.imports.errors import ImportRefused
from adapterworks.registry.remotes.hub.client import Hub, RepoState
from adapterworks.registry.remotes.hub.fetch import Fetched, fetch_adapter
from tests.registry.remotes.hub.memory import REPOSITORY, MemoryHub

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
TEMPLATE = "chat_template.jinja"
GOOD = {CONFIG: b"{}", WEIGHTS: b"weights"}


def fetch(tmp_path: Path, files: dict[str, bytes]) -> tuple[Fetched, MemoryHub]:
    hub = MemoryHub()
    state = hub.fill(files)
    fetched = fetch_adapter(cast(Hub, hub), state, tmp_path)
    assert fetched.commit == state.commit
    return fetched, hub


def test_only_config_weights_and_card_are_fetched(tmp_path: Path) -> None:
    others = {"README.md": b"# theirs", "optimizer.pt": b"x", "deep/evil.py": b"x", "notes": b"x"}
    fetched, hub = fetch(tmp_path, {**GOOD, **others})
    assert {path.name: path.read_bytes() for path in fetched.folder.iterdir()} == GOOD
    assert hub.fetched == [(CONFIG, 1 << 20), (WEIGHTS, 8 << 30), ("README.md", 1 << 20)]
    assert fetched.origin.source == f"hub:{REPOSITORY}@{fetched.commit}"
    assert fetched.origin.description == f"{REPOSITORY} from the Hub"


def test_an_index_comes_along_for_the_check_that_refuses_it(tmp_path: Path) -> None:
    fetched, _ = fetch(tmp_path, {**GOOD, INDEX: b"[]"})
    assert {path.name for path in fetched.folder.iterdir()} == {CONFIG, WEIGHTS, INDEX}


@pytest.mark.parametrize("missing", [CONFIG, WEIGHTS])
def test_what_is_missing_or_only_below_is_named(tmp_path: Path, missing: str) -> None:
    files = {name: data for name, data in GOOD.items() if name != missing}
    with pytest.raises(ImportRefused, match=f"it is missing in `{REPOSITORY}`") as refused:
        fetch(tmp_path, {**files, f"sub/{missing}": b"x"})
    assert refused.value.file == missing


def test_what_is_not_fetched_is_nobodys_harm(tmp_path: Path) -> None:
    """As in a folder: pickles beside the weights, a handler, a script, a picture."""
    others = ("adapter_model.bin", "handler.py", "train.sh", "embeddings.npy", "训练.png")
    fetched, hub = fetch(tmp_path, {**GOOD, **dict.fromkeys(others, b"x")})
    assert {path.name for path in fetched.folder.iterdir()} == set(GOOD)
    assert {name for name, _ in hub.fetched} == set(GOOD)


@pytest.mark.parametrize(
    ("listing", "says"),
    [
        ({**GOOD, "Adapter_Config.json": b"{}"}, "where case does not count"),
        ({**GOOD, "аdapter_config.json": b"{}"}, "can be mistaken for others"),
        ({CONFIG: b"{}", "adapter_model.bin": b"x"}, "pickle"),
        ({"zero_to_fp32.py": b"x", "latest": b"x"}, "DeepSpeed"),
        ({"global_step100/mp_rank_00_model_states.pt": b"x"}, "DeepSpeed"),
        ({"pytorch_model_fsdp_0/__0_0.distcp": b"x"}, "FSDP"),
        ({CONFIG: b"{}", "adapters.safetensors": b"x"}, "MLX"),
    ],
)
def test_a_listing_is_refused_as_a_folders_is(
    tmp_path: Path, listing: dict[str, bytes], says: str
) -> None:
    hub = MemoryHub()
    state = hub.fill(listing)
    with pytest.raises(ImportRefused, match=says):
        fetch_adapter(cast(Hub, hub), state, tmp_path)
    assert hub.fetched == []


def test_a_template_comes_along_for_the_comparison_with_the_bases(tmp_path: Path) -> None:
    fetched, _ = fetch(tmp_path, {**GOOD, TEMPLATE: b"{{ messages }}"})
    assert (fetched.folder / TEMPLATE).read_bytes() == b"{{ messages }}"
    (tmp_path / "again").mkdir()
    fetched, hub = fetch(tmp_path / "again", {**GOOD, TEMPLATE: b"x" * ((1 << 20) + 1)})
    assert TEMPLATE not in dict(hub.fetched)


def test_a_template_that_the_tokenizer_has_comes_along(tmp_path: Path) -> None:
    older = "tokenizer_config.json"
    fetched, _ = fetch(tmp_path, {**GOOD, older: b"{}"})
    assert (fetched.folder / older).read_bytes() == b"{}"
    (tmp_path / "again").mkdir()
    fetched, hub = fetch(tmp_path / "again", {**GOOD, older: b"{}", TEMPLATE: b"x"})
    assert older not in dict(hub.fetched), "one is enough"


def test_an_adapter_that_has_no_room_is_not_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = SimpleNamespace(free=4 * len(GOOD[WEIGHTS]) - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: room)
    with pytest.raises(Refused, match="are free where"):
        fetch(tmp_path, GOOD)
    room.free += 1
    (tmp_path / "again").mkdir()
    fetch(tmp_path / "again", GOOD)


@pytest.mark.parametrize(("name", "limit"), [(CONFIG, 1 << 20), (WEIGHTS, 8 << 30)])
def test_sizes_are_bounded_by_the_listing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, limit: int
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4 * limit))

    class Listed(MemoryHub):
        def download(self, state: RepoState, path: str, into: Path, *, limit: int) -> Path:
            self.fetched.append((path, limit))
            into.mkdir(exist_ok=True)
            (into / path).write_bytes(b"{}")
            return into / path

    hub = Listed()
    state = RepoState(REPOSITORY, "c" * 40, False, {CONFIG: 2, WEIGHTS: 7, name: limit + 1})
    with pytest.raises(ImportRefused, match=f"{limit + 1} bytes, {limit} are the limit"):
        fetch_adapter(cast(Hub, hub), state, tmp_path)
    assert hub.fetched == []
    (tmp_path / "again").mkdir()
    state = RepoState(REPOSITORY, "c" * 40, False, {CONFIG: 2, WEIGHTS: 7, name: limit})
    fetch_adapter(cast(Hub, hub), state, tmp_path / "again")


@pytest.mark.parametrize(
    ("card", "license_id"),
    [
        (b"---\nlicense: mit\n---\n# theirs\n", "mit"),
        (b"---\ntags: [a]\nlicense:  'apache-2.0' \n---\n", "apache-2.0"),
        (b'---\nlicense: "cc-by-4.0"\n---\n', "cc-by-4.0"),
        (b"---\nlicense: " + b"x" * 39 + b"\n---\n", "x" * 39),
        (b"---\nlicense: " + b"x" * 40 + b"\n---\n", "other"),
        (b"---\nlicense: a b\n---\n", "other"),
        (b"---\nlicense: \x1b[31m\n---\n", "other"),
        (b"---\nlicense: --\n---\n", "other"),
        (b"---\nlicense_name: mit\n---\n", "other"),
        (b"---\ntags: x\n---\nlicense: mit\n", "other"),
        (b"license: mit\n", "other"),
        (b"", "other"),
        (b"---\nlicense: mit\n---\n" + b"x" * (1 << 20), "other"),
        (b"---\nlicense: mit\n---\n" + b"x" * ((1 << 20) - 21), "mit"),
    ],
)
def test_the_licence_is_the_cards(tmp_path: Path, card: bytes, license_id: str) -> None:
    fetched, _ = fetch(tmp_path, {**GOOD, "README.md": card})
    assert fetched.origin.license == license_id


def test_without_a_card_the_licence_is_not_known(tmp_path: Path) -> None:
    assert fetch(tmp_path, GOOD)[0].origin.license == "other"
