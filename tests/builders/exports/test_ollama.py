"""A Modelfile: the chat template in another language, and what ends an answer."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2
import pytest

from adapterworks.builders.exports.export import Settings
from adapterworks.builders.exports.material import gather
from adapterworks.builders.exports.ollama import EXPORT, go_template, modelfile
from adapterworks.builders.exports.readers.reader import Unrendered
from adapterworks.builders.exports.turns import Render, Turns, find_turns
from adapterworks.manifests.errors import Refused
from tests.builders.exports.test_proof import export
from tests.builders.merging.conftest import Shelf

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SMOLLM = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are SmolLM<|im_end|>\n{% endif %}"
    + CHATML
)
LLAMA = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}"
    "<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% elif m.role == 'system' %}[SYS] {{ m.content }} [/SYS]{% else %} {{ m.content }}</s>"
    "{% endif %}{% endfor %}"
)
THINKING = CHATML.replace("assistant\n{% endif", "assistant\n<think>\n\n</think>\n\n{% endif")
TRIMMED = CHATML.replace("m.content }}", "m.content.strip().upper() }}")
COUNTED = CHATML.replace("%}<|im_start|>{{", "%}<|im_start|>{{ loop.index }}{{")
KNOWN = {"chatml": CHATML, "smollm": SMOLLM, "llama": LLAMA, "mistral": MISTRAL, "think": THINKING}
TALKS = (
    [{"role": "user", "content": "Is 7 prime?"}],
    [
        {"role": "system", "content": "Answer in\none word."},
        {"role": "user", "content": "7?"},
        {"role": "assistant", "content": "Yes"},
        {"role": "user", "content": "病历 {{ 8 }}?"},
    ],
)


def renderer(template: str) -> Render:
    made = jinja2.Environment(autoescape=False).from_string(template)

    def render(talk: Any, answer: bool) -> str:
        return made.render(messages=talk, add_generation_prompt=answer, bos_token="<s>")

    return render


@pytest.mark.parametrize("template", KNOWN.values(), ids=KNOWN)
def test_a_template_of_turns_is_found_and_renders_other_talks_alike(template: str) -> None:
    render = renderer(template)
    turns = find_turns(render, "<s>")
    for talk in TALKS:
        assert turns.render(talk) == render(talk, True)


def test_what_stands_around_a_text() -> None:
    turns = find_turns(renderer(SMOLLM), "")
    assert turns.system == "You are SmolLM"
    assert turns.around["user"] == ("<|im_start|>user\n", "<|im_end|>\n")
    assert find_turns(renderer(LLAMA), "<s>").before == "<s>"
    assert find_turns(renderer(THINKING), "").answer.endswith("</think>\n\n")


@pytest.mark.parametrize("template", [TRIMMED, COUNTED, "{{ messages[-1].content }}", ""])
def test_a_template_that_does_more_is_refused(template: str) -> None:
    with pytest.raises(Refused, match="its chat template"):
        find_turns(renderer(template), "")


def test_a_context_that_a_laptop_loads(shelf: Shelf, tmp_path: Path) -> None:
    """Ollama allocates the cache of `num_ctx` at once: 131,072 tokens of an 8B are 16 GB."""
    material = gather(shelf.registry, shelf.bases, shelf.registry.resolve("one@1"))
    served = tmp_path / "served"
    shutil.copytree(shelf.base.served, served)
    config = json.loads((served / "config.json").read_text()) | {"max_position_embeddings": 131_072}
    (served / "config.json").write_text(json.dumps(config))
    long = replace(material, base=replace(material.base, served=served))
    lines = modelfile(long).splitlines()
    assert "PARAMETER num_ctx 8192" in lines
    assert any("it takes 131072 tokens" in line for line in lines)


def test_a_licence_is_a_licence_and_no_further_instruction(shelf: Shelf) -> None:
    material = gather(shelf.registry, shelf.bases, shelf.registry.resolve("one@1"))
    told = {"license": 'mit"""\nFROM evil/model\nSYSTEM """'}
    text = modelfile(replace(material, release=material.release.model_copy(update=told)))
    whole = text.rpartition("LICENSE ")[2]
    assert (whole.count('"""'), whole[-4:]) == (2, '"""\n')
    assert "FROM evil/model" in whole


def refusing(*refused: str) -> Render:
    """ChatML that takes no turn of these roles."""

    def render(talk: Any, answer: bool) -> str:
        if any(turn["role"] in refused for turn in talk):
            raise Unrendered("not this role")
        return renderer(CHATML)(talk, answer)

    return render


@pytest.mark.parametrize(
    ("refused", "words"),
    [
        (("system",), "refuses a system turn"),
        (("system", "user"), "refuses a question: not this role"),
        (("assistant",), "no row of turns"),
    ],
)
def test_a_template_that_refuses_turns_is_refused(refused: tuple[str, ...], words: str) -> None:
    with pytest.raises(Refused, match=words):
        find_turns(refusing(*refused), "")


def test_go_has_the_turns_of_each_role() -> None:
    assert go_template(find_turns(renderer(CHATML), "")) == (
        "{{ range .Messages }}"
        '{{ if eq .Role "system" }}<|im_start|>system\n{{ .Content }}<|im_end|>\n'
        '{{ else if eq .Role "user" }}<|im_start|>user\n{{ .Content }}<|im_end|>\n'
        '{{ else if eq .Role "assistant" }}<|im_start|>assistant\n{{ .Content }}<|im_end|>\n'
        "{{ end }}{{ end }}<|im_start|>assistant\n"
    )


@pytest.mark.parametrize("text", ["{{ x }}", "{", '"""'])
def test_what_that_language_would_read_is_refused(text: str) -> None:
    around = {"system": ("", ""), "user": (text, ""), "assistant": ("", "")}
    with pytest.raises(Refused, match="braces or quotation marks"):
        go_template(Turns("", around, "", ""))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("go") is None, reason="needs Go: apt-get install golang-go")
@pytest.mark.parametrize("template", KNOWN.values(), ids=KNOWN)
def test_go_renders_the_same_text(template: str, tmp_path: Path) -> None:
    """Go's own `text/template`, which Ollama uses, over Ollama's values."""
    render = renderer(template)
    turns = find_turns(render, "<s>")
    (tmp_path / "main.go").write_text(GO)
    for talk in TALKS:
        said = [*talk]
        if turns.system and talk[0]["role"] != "system":  # Ollama puts SYSTEM there
            said = [{"role": "system", "content": turns.system}, *said]
        asked = {
            "template": go_template(turns),
            "messages": [{"Role": turn["role"], "Content": turn["content"]} for turn in said],
        }
        done = subprocess.run(
            ["go", "run", "main.go"],
            cwd=tmp_path,
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == render(talk, True)


GO = """package main

import ("encoding/json"; "os"; "text/template")

type message struct { Role, Content string }

func main() {
	var asked struct { Template string; Messages []message }
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil { panic(err) }
	made := template.Must(template.New("").Parse(asked.Template))
	if err := made.Execute(os.Stdout, asked); err != nil { panic(err) }
}
"""


def test_the_folder_has_what_ollama_creates_from(shelf: Shelf, tmp_path: Path) -> None:
    material = gather(shelf.registry, shelf.bases, shelf.registry.resolve("one@1"))
    settings, place = Settings("f32"), tmp_path / "ollama"
    assert list(EXPORT.objections(material, settings)) == []
    EXPORT.write(material, settings, place)
    assert {path.name for path in place.iterdir()} == {"model.gguf", "Modelfile"}
    lines = (place / "Modelfile").read_text().splitlines()
    assert lines[1] == "FROM ./model.gguf"
    assert "PARAMETER num_ctx 512" in lines
    assert 'PARAMETER stop "</s>"' in lines


@pytest.mark.slow
def test_it_is_proved_in_llama_cpp(shelf: Shelf) -> None:
    proof = export(shelf, "ollama", type_="f32").proof
    assert proof is not None
    assert proof.same_answers == proof.answers
