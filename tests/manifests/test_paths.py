"""Where declared paths lead: what a file is called is as declared, whatever it is a link to."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterworks.builders.building.prepare import prepare
from adapterworks.builders.data.load import load_source
from adapterworks.manifests.errors import InvalidInput, NotFound
from adapterworks.manifests.load import load_manifest
from adapterworks.manifests.paths import place, require_files
from adapterworks.registry.bases.store import BaseStore

ROW = '{"prompt": "a", "completion": "b"}\n'


def test_a_link_is_called_what_it_is_declared_as(tmp_path: Path) -> None:
    """Stores of data sets (DVC, git-annex, the Hub's cache) link names to digests."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "3f2a9c").write_text(ROW)
    (tmp_path / "linked").symlink_to(tmp_path / "ads", target_is_directory=True)
    (tmp_path / "ads").mkdir()
    (tmp_path / "ads" / "rows.jsonl").symlink_to("../store/3f2a9c")
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "rows.jsonl").write_text(ROW)
    here = load_source("rows.jsonl", "prompt-completion", folder=tmp_path / "linked")
    assert here == load_source("rows.jsonl", "prompt-completion", folder=plain)
    assert place("rows.jsonl", tmp_path / "linked") == tmp_path / "ads" / "rows.jsonl"


@pytest.mark.parametrize(
    ("path", "place_"), [("..", "."), ("a.jsonl", "ads/a.jsonl"), ("../x/../a", "a"), ("", "ads")]
)
def test_dots_are_followed(tmp_path: Path, path: str, place_: str) -> None:
    (tmp_path / "x").mkdir()
    assert place(path, tmp_path / "ads") == (tmp_path / place_).resolve()


def test_what_leads_nowhere_is_said(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for path in ("loop/rows.jsonl", "~no-such-user-here/rows.jsonl"):
        with pytest.raises(InvalidInput, match="leads nowhere"):
            place(path, tmp_path)


def test_what_lacks_is_named_before_anything_is_prepared(tmp_path: Path) -> None:
    manifest = tmp_path / "m.toml"
    manifest.write_text(
        '[adapter]\nname = "m"\n[base]\nmodel = "smollm2-135m-instruct"\n[method]\nkind = "lora"\n'
        '[data]\ntrain = "rows.jsonl"\ntest = "~/nowhere-at-all.jsonl"\nformat = "messages"\n'
    )
    loaded = load_manifest(str(manifest))
    with pytest.raises(NotFound, match=r"rows\.jsonl`, `.*nowhere-at-all\.jsonl`"):
        require_files(loaded)
    bases = BaseStore(tmp_path / "bases")
    with pytest.raises(NotFound, match="names files that do not exist"):
        prepare(loaded, bases)
    assert not bases.root.exists()
