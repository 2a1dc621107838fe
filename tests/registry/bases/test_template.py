"""A base under another chat template is another base, with the same weights and its own digest."""

from __future__ import annotations

import json
from functools import partialmethod
from pathlib import Path

import pytest

from adapterworks.builders.data.render import encode
from adapterworks.builders.data.rows import chat
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.templates import TEMPLATES
from adapterworks.registry.bases.ends import ends
from adapterworks.registry.bases.store import BaseStore
from adapterworks.registry.bases.template import (
    Template,
    template_of,
    template_of_record,
)
from tests.builders.build_support import make_tiny_base, manifest_for

TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "one?"},
    {"role": "assistant", "content": "two."},
]
THINKS = "{{ 'on' if enable_thinking is not defined or enable_thinking else 'off' }}{{ messages }}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The tests' random base, without a template."""
    bare = make_tiny_base(tmp_path / "bare")
    (bare / "chat_template.jinja").unlink(missing_ok=True)
    return bare


def test_it_has_its_own_digest_and_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    store = BaseStore(tmp_path / "bases")
    plain = store.ensure(str(folder))
    chatml = template_of_record({"chat_template": "chatml"})
    changed = store.ensure(str(folder), template=chatml)
    assert changed.digest != plain.digest
    assert changed.template_digest != plain.template_digest
    assert "<|im_start|>" in (changed.checkpoint / "chat_template.jinja").read_text()
    assert changed.served == changed.checkpoint
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        assert (changed.checkpoint / name).read_bytes() == (plain.checkpoint / name).read_bytes()
    again = BaseStore(tmp_path / "bases")
    assert again.ensure(str(folder), template=chatml) == changed
    assert again.prepared(str(folder), template=chatml) == changed
    assert again.prepared(str(folder), template=Template("{{ messages }}")) is None
    assert again.find(changed.digest) == changed
    assert store.ensure(str(folder)) == plain  # which stays what it is


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_known_template_opens_the_answer_as_it_writes_it(
    folder: Path, tmp_path: Path, name: str
) -> None:
    from transformers import AutoTokenizer

    base = BaseStore(tmp_path / "bases").ensure(
        str(folder), template=template_of_record({"chat_template": name})
    )
    tokenizer = AutoTokenizer.from_pretrained(base.checkpoint)
    asked = tokenizer.apply_chat_template(TURNS[:2], tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template(TURNS, tokenize=False)
    assert whole.startswith(asked)
    assert "two." in whole[len(asked) :]
    assert "Be brief." in asked
    assert tokenizer.apply_chat_template(TURNS[1:], tokenize=False)  # without a system turn


@pytest.mark.parametrize("own", [None, {"eos_token_id": [1, 9], "top_p": 0.8}])
def test_the_end_of_an_answer_is_what_the_base_is_stopped_at(
    folder: Path, tmp_path: Path, own: dict[str, object] | None
) -> None:
    """As SmolLM2's and Qwen's bases: `<|im_end|>` is a token of theirs, and not their end of text.
    The original's file, whose bytes may be shared, stays as it is."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.save_pretrained(folder)
    path = folder / "generation_config.json"
    path.unlink(missing_ok=True)
    if own is not None:
        path.write_text(json.dumps(own))
    before = path.read_text() if own is not None else None
    store = BaseStore(tmp_path / "bases")
    plain = store.ensure(str(folder))
    changed = store.ensure(str(folder), template=template_of_record({"chat_template": "chatml"}))
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert ends(plain.served, 1) == ((1, 9) if own else (1,))
    assert ends(changed.served, 1) == ((1, 9, end) if own else (1, end))
    learnt = encode(AutoTokenizer.from_pretrained(changed.checkpoint), chat("one?", "two."), 64)
    assert learnt.labels[-1] == end
    written = json.loads((changed.served / "generation_config.json").read_text())
    assert written.get("top_p") == (0.8 if own else None)
    assert (path.read_text() if path.exists() else None) == before
    assert store.ensure(str(folder)) == plain


@pytest.mark.parametrize(("name", "again"), [("chatml", True), ("vicuna", False)])
def test_a_base_that_was_prepared_before_it_was_stopped_there_is_prepared_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, again: bool
) -> None:
    """The earlier one stays, found by its digest; where nothing would change it is the base."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.save_pretrained(folder)
    store, template = BaseStore(tmp_path / "bases"), template_of_record({"chat_template": name})
    with monkeypatch.context() as patched:
        patched.setattr("adapterworks.registry.bases.template.stop_at_end", lambda checkpoint: None)
        patched.setattr(BaseStore, "_place", partialmethod(BaseStore._place, ends=False))
        earlier = store.ensure(str(folder), template=template)
    assert store.prepared(str(folder), template=template) == (None if again else earlier)
    base = store.ensure(str(folder), template=template)
    assert (base.digest != earlier.digest) is again
    assert store.prepared(str(folder), template=template) == base
    assert store.find(earlier.digest) == earlier
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert (end in ends(base.served, 1)) is again
    assert len(store.list()) == (3 if again else 2)


def test_a_template_that_ends_as_the_base_does_leaves_its_settings(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "generation_config.json").unlink(missing_ok=True)
    for name in ("vicuna", "chatml"):  # whose `<|im_end|>` is no token of this base
        base = BaseStore(tmp_path / "bases").ensure(
            str(folder), template=template_of_record({"chat_template": name})
        )
        assert not (base.checkpoint / "generation_config.json").exists()


def test_arguments_are_written_into_it_and_a_request_has_precedence(
    folder: Path, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    store = BaseStore(tmp_path / "bases")
    on = store.ensure(str(folder), template=Template(THINKS))
    off = store.ensure(str(folder), template=Template(THINKS, {"enable_thinking": False}))
    assert on.digest != off.digest

    def begins(base: Path, **given: bool) -> str:
        tokenizer = AutoTokenizer.from_pretrained(base)
        text: str = tokenizer.apply_chat_template(TURNS, tokenize=False, **given)
        return text.partition("[")[0]

    assert (begins(on.checkpoint), begins(off.checkpoint)) == ("on", "off")
    assert begins(off.checkpoint, enable_thinking=True) == "on"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (Template(THINKS, {"enable_thinkin": False}), "does not read `enable_thinkin`"),
        (Template(None, {"enable_thinking": False}), "the base has no chat template"),
        (Template("{% for m in messages %}"), "cannot be read: line 1"),
        (Template(THINKS, {"messages": "x"}), "does not read `messages`"),
    ],
)
def test_what_cannot_be_rendered_is_refused(template: Template, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        template.applied("")


def test_a_manifest_says_it_by_name_or_file(tmp_path: Path) -> None:
    (tmp_path / "mine.jinja").write_text(THINKS)
    manifest = manifest_for("lora").placed_in(tmp_path)
    assert template_of(manifest) is None

    def of(**keys: object) -> Template | None:
        base = manifest.base.model_copy(update=keys)
        return template_of(manifest.model_copy(update={"base": base}).placed_in(tmp_path))

    assert of(chat_template="mine.jinja") == Template(THINKS)
    assert of(template_arguments={"a": 1}) == Template(None, {"a": 1})
    assert of(chat_template="zephyr") == template_of_record({"chat_template": "zephyr"})
    with pytest.raises(InvalidInput, match="cannot be read"):
        of(chat_template="other.jinja")
    (tmp_path / "blank.jinja").write_text(" \n")
    with pytest.raises(InvalidInput, match="is empty"):
        of(chat_template="blank.jinja")
    # A file of its author's is not known from the record.
    assert template_of_record({"chat_template": "mine.jinja"}) is None
    assert template_of_record({}) is None
