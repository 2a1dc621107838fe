"""The chat template that a release was trained under is in its exports, and is what is compared."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFReader
from transformers import AutoTokenizer

from adapterworks.builders.exports import peft
from adapterworks.builders.exports.material import gather
from adapterworks.builders.exports.proof import TALKS, renders
from adapterworks.builders.exports.readers.reader import Talk, Unrendered
from adapterworks.manifests.errors import Refused
from adapterworks.registry.bases.files import chat_template
from adapterworks.registry.bases.template import Template
from tests.builders.build_support import TEMPLATE
from tests.builders.exports.conftest import OPTIONS
from tests.builders.exports.models import make_model
from tests.builders.exports.test_proof import export, left
from tests.builders.merging.conftest import Shelf, copy_shelf, make_shelf

# As Gemma's and Mistral-7B-Instruct's are: what they do not take they refuse.
NO_SYSTEM = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
)
GEMMA = (
    NO_SYSTEM + "{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
    "{% endif %}{{ '<s>' + message['role'] + '\\n' + message['content'] | trim + '</s>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<s>model\\n' }}{% endif %}"
)
ALONE = (
    "{% if messages | length > 1 %}{{ raise_exception('One question only') }}{% endif %}"
    "{{ messages[0]['content'] + '</s>' }}"
)
NEVER = "{{ raise_exception('Not for talks') }}"
# Another one than the base has itself.
DECIDED = "<s>" + TEMPLATE + "{# decided #}"


@pytest.fixture(scope="module")
def stocked_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Shelf]:
    """What the registries of `shelf_of` are copies of."""

    @cache
    def make(template: str) -> Shelf:
        folder = tmp_path_factory.mktemp("stocked")
        checkpoint = make_model(folder / "model")
        (checkpoint / "chat_template.jinja").write_text(template)
        shelf = make_shelf(folder, checkpoint)
        shelf.publish("one", 1, **OPTIONS)
        shelf.registry.close()
        return shelf

    return make


@pytest.fixture
def shelf_of(tmp_path: Path, stocked_of: Callable[[str], Shelf]) -> Callable[[str], Shelf]:
    """A registry on a model with a template, with the adapter `one@1`."""

    def make(template: str) -> Shelf:
        stocked = stocked_of(template)
        return copy_shelf(stocked, tmp_path, stocked.folder / "model")

    return make


@pytest.mark.parametrize("form", ["merged", "peft", "gguf"])
@pytest.mark.parametrize("template", [GEMMA, ALONE], ids=["no-system", "one-turn"])
def test_a_template_that_refuses_a_talk_is_asked_another(
    shelf_of: Callable[[str], Shelf], template: str, form: str
) -> None:
    done = export(shelf_of(template), form, type_="f32")
    assert done.proof is not None
    assert done.proof.template is True
    assert done.proof.same_texts == done.proof.texts == 6


def test_a_template_that_takes_no_talk_is_refused_in_its_own_words(
    shelf_of: Callable[[str], Shelf],
) -> None:
    shelf = shelf_of(NEVER)
    with pytest.raises(Refused, match=r"refuses every talk .*: Not for talks"):
        export(shelf, "merged", type_="f32")
    assert left(shelf) == []


def test_ollama_says_what_its_template_refuses(shelf_of: Callable[[str], Shelf]) -> None:
    with pytest.raises(Refused, match=r"refuses a system turn.*System role not supported"):
        export(shelf_of(GEMMA), "ollama", type_="f32")


def test_an_engine_that_refuses_the_talk_does_not_render_it() -> None:
    class Strict:
        def render(self, messages: Talk) -> str:
            raise Unrendered("it does not say")

    assert not renders(Strict(), TALKS[0], "text")  # type: ignore[arg-type]


@pytest.fixture
def decided(shelf: Shelf, checkpoints: Callable[[str], Path]) -> Shelf:
    """With `two@1`, trained under a template of its manifest's on the same model."""
    base = shelf.bases.ensure(str(checkpoints("llama")), template=Template(DECIDED))
    shelf.publish("two", 2, base=base, **OPTIONS)
    return shelf


def test_a_peft_folder_has_what_it_was_trained_under(decided: Shelf) -> None:
    done = export(decided, "peft", ref="two@1")
    assert chat_template(done.place) == DECIDED
    tokenizer = AutoTokenizer.from_pretrained(done.place)
    assert tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False)
    material = gather(decided.registry, decided.bases, decided.registry.resolve("two@1"))
    told = json.loads((done.place / "generation_config.json").read_text())
    assert told["eos_token_id"] == list(material.ends())
    assert done.proof is not None
    assert done.proof.template is True
    card = (done.place / "README.md").read_text()
    assert material.release.digest in card
    assert "BitsAndBytesConfig" not in card
    four = replace(material, base=replace(material.base, quantization="nf4"))
    assert "BitsAndBytesConfig(\n        load_in_4bit=True" in peft.card(four)
    assert "another adapter on the weights before quantization" in peft.card(four)


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_a_peft_folder_says_with_which_attention_its_base_is_loaded(
    decided: Shelf, monkeypatch: pytest.MonkeyPatch, quantization: Any
) -> None:
    """Of its own, `transformers` passes over a soft cap of the scores (Gemma 2)."""
    found = gather(decided.registry, decided.bases, decided.registry.resolve("two@1"))
    material = replace(found, base=replace(found.base, quantization=quantization))
    assert "attn_implementation" not in peft.card(material)
    monkeypatch.setattr(peft, "needs_eager", lambda checkpoint: True)
    code = peft.card(material).partition("```python\n")[2].partition("```")[0]
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    (load,) = (one for one in calls if "AutoModel" in ast.unparse(one.func))
    told = {word.arg: ast.unparse(word.value) for word in load.keywords}
    assert told["attn_implementation"] == "'eager'"
    assert ("quantization_config" in told) is (quantization == "nf4")


def test_a_peft_folder_with_the_public_bases_template_is_refused(
    decided: Shelf, checkpoints: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = peft._write_texts

    def lose(material: object, place: Path) -> None:
        write(material, place)  # type: ignore[arg-type]
        (place / "chat_template.jinja").write_text(TEMPLATE)

    monkeypatch.setattr(peft, "_write_texts", lose)
    with pytest.raises(Refused, match="renders the chat template to another text"):
        export(decided, "peft", ref="two@1")


def test_a_lora_for_llama_cpp_keeps_its_template_and_claims_none_of_a_base_that_is_gone(
    decided: Shelf,
) -> None:
    done = export(decided, "gguf-lora", ref="two@1", type_="f32")
    assert done.proof is not None
    assert done.proof.template is None
    assert any("`--base FILE` keeps" in line for line in done.remarks())
    assert GGUFReader(done.place).fields["tokenizer.chat_template"].contents() == DECIDED
    base = decided.folder / "base.gguf"
    kept = export(decided, "gguf-lora", ref="two@1", type_="f32", base_file=base)
    assert kept.proof is not None
    assert kept.proof.template is True
    assert list(kept.remarks()) == []
    assert GGUFReader(base).fields["tokenizer.chat_template"].contents() == DECIDED
