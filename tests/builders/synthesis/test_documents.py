"""PDF and Word files: their text with its page, within bounds, and every fault by name."""

from __future__ import annotations

import zipfile
from pathlib import Path

import docx
import pytest
from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from adapterworks.builders.synthesis import documents
from adapterworks.builders.synthesis.passages import read_passages
from adapterworks.manifests.errors import InvalidInput

SENTENCE = "The lamp of room twelve is switched off by the porter at ten in the evening. "


def pdf(path: Path, *pages: str, password: str | None = None, owner: str | None = None) -> Path:
    """A PDF of these texts, written by hand in Helvetica."""
    writer = PdfWriter()
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        }
    )
    for text in pages:
        page = writer.add_blank_page(612, 792)
        page[NameObject("/Resources")] = DictionaryObject(
            {NameObject("/Font"): DictionaryObject({NameObject("/F1"): font})}
        )
        content = DecodedStreamObject()
        lines = [text[at : at + 80] for at in range(0, len(text), 80)]
        shown = " ".join(f"({line}) Tj 0 -14 Td" for line in lines)
        content.set_data(f"BT /F1 12 Tf 50 700 Td {shown} ET".encode())
        page[NameObject("/Contents")] = writer._add_object(content)
    if password is not None:
        writer.encrypt(password, owner, algorithm="AES-256")
    with path.open("wb") as file:
        writer.write(file)
    return path


def test_a_pdf_names_the_page_of_each_passage(tmp_path: Path) -> None:
    path = pdf(tmp_path / "house.pdf", SENTENCE * 2, "", SENTENCE.replace("lamp", "door") * 2)
    first, second = read_passages([path])
    assert (first.page, second.page) == (1, 3)
    assert (first.number, second.number) == (1, 2)
    assert "".join(second.text.split()) == "".join((SENTENCE.replace("lamp", "door") * 2).split())


def test_word_has_headings_and_tables(tmp_path: Path) -> None:
    document = docx.Document()
    document.add_heading("House", level=2)
    document.add_paragraph(SENTENCE)
    table = document.add_table(rows=1, cols=2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "Porter", "Ann"
    document.save(str(tmp_path / "house.docx"))
    (passage,) = read_passages([tmp_path / "house.docx"])
    assert passage.text == f"## House\n\n{SENTENCE.strip()}\n\nPorter | Ann"
    assert passage.page is None


def test_every_fault_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = pdf(tmp_path / "secret.pdf", SENTENCE, password="x")
    with pytest.raises(InvalidInput, match=r"secret\.pdf` is encrypted"):
        read_passages([secret])
    # Without a password to read it, only to change it: anybody may.
    assert read_passages([pdf(tmp_path / "owned.pdf", SENTENCE * 2, password="", owner="y")])
    whole = pdf(tmp_path / "whole.pdf", SENTENCE * 2).read_bytes()
    for name, data in (("cut.pdf", whole[:200]), ("none.pdf", b""), ("a.docx", b"PK\x03\x04 no")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InvalidInput, match=f"{name}` (is damaged|has text|.*no page)"):
            read_passages([tmp_path / name])
    with pytest.raises(InvalidInput, match=r"no page of .* has text"):
        read_passages([pdf(tmp_path / "scan.pdf", "", "")])
    monkeypatch.setattr(documents, "MOST_PAGES", 1)
    with pytest.raises(InvalidInput, match="has 2 pages, and at most 1"):
        read_passages([pdf(tmp_path / "long.pdf", SENTENCE, SENTENCE)])
    monkeypatch.setattr(documents, "MOST_BYTES", 4000)
    with zipfile.ZipFile(tmp_path / "bomb.docx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", "a" * 100_000)
    assert (tmp_path / "bomb.docx").stat().st_size < 4000
    with pytest.raises(InvalidInput, match="unpacks to 100000 bytes"):
        read_passages([tmp_path / "bomb.docx"])
