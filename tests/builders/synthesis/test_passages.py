"""Documents as passages: nothing lost, nothing made up, cut where it may be."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterworks.builders.synthesis.passages import read_passages
from adapterworks.manifests.errors import InvalidInput, NotFound

SENTENCE = "The lamp of room twelve is switched off by the porter at ten in the evening. "


def test_paragraphs_stay_together_and_a_heading_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "house.md"
    path.write_text(f"# House\r\n\r\n{SENTENCE}\r\n\r\n{SENTENCE}\n\n## Yard\n\n{SENTENCE * 2}\n")
    first, second = read_passages([path])
    text = SENTENCE.strip()
    assert first.text == f"# House\n\n{text}\n\n{text}"
    assert second.text == f"## Yard\n\n{(SENTENCE * 2).strip()}"
    assert (second.document, second.number) == ("house.md", 2)


@pytest.mark.parametrize("text", [SENTENCE * 100, "x" * 5000, "房间的灯在晚上十点关闭。" * 300])
def test_what_is_too_long_is_cut_and_all_of_it_is_there(tmp_path: Path, text: str) -> None:
    path = tmp_path / "long.txt"
    path.write_text(text, encoding="utf-8")
    passages = read_passages([path], most=400)
    assert all(len(passage.text) <= 400 for passage in passages)
    assert "".join("".join(p.text.split()) for p in passages) == "".join(text.split())


def test_html_is_its_text(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(
        "<html><head><style>p {color: red}</style><script>if (a < b) {}</script></head><body>"
        f"<nav>Home</nav><h2>Lamps &amp; more</h2><p>{SENTENCE}<b>At</b>\n  ten.</p>"
        f"<p>{SENTENCE}</p>"
    )
    (passage,) = read_passages([path])
    text = SENTENCE.strip()
    assert passage.text == f"## Lamps & more\n\n{text} At ten.\n\n{text}"


def test_folders_are_read_in_order_and_others_refused(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    (docs / "b").mkdir(parents=True)
    for name in ("z.md", "b/a.TXT"):
        (docs / name).write_text(SENTENCE * 2)
    (docs / "picture.png").write_bytes(b"\x89PNG")
    assert [p.document for p in read_passages([docs])] == ["docs/b/a.TXT", "docs/z.md"]
    with pytest.raises(InvalidInput, match=r"picture\.png` is none of"):
        read_passages([docs / "picture.png"])
    with pytest.raises(NotFound, match="there is no"):
        read_passages([tmp_path / "nothing"])
    (docs / "latin.txt").write_bytes("Büro".encode("latin-1"))
    with pytest.raises(InvalidInput, match="is no UTF-8"):
        read_passages([docs])
    (tmp_path / "short.md").write_text("# Nothing\n\nhere")
    with pytest.raises(InvalidInput, match="no passage"):
        read_passages([tmp_path / "short.md"])
