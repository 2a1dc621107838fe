"""A template renders here what `transformers` renders, without a tokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterworks.manifests.templates import TEMPLATES
from adapterworks.registry.bases.rendering import CONVERSATIONS, renderings
from adapterworks.registry.bases.store import BaseStore
from adapterworks.registry.bases.template import template_of_record
from tests.builders.build_support import make_tiny_base

SMOL = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are helpful<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TRIMS = """
{%- for message in messages %}
    {%- if message.role == "system" %}{{ raise_exception("no system turns") }}{% endif %}
    {%- generation %}{{ bos_token or "" }}[{{ message.role }}] {{ message.content | trim }}
    {% endgeneration -%}
    {% if loop.index > 5 %}{% break %}{% endif %}
{%- endfor %}
{{ messages | tojson }} {{ eos_token }}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_tiny_base(tmp_path / "tiny")


def _alike(checkpoint: Path) -> int:
    """How many conversations are rendered; each as `transformers` does."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    known = renderings(checkpoint)
    for one in known:
        text = tokenizer.apply_chat_template(
            [dict(turn) for turn in one.turns], tokenize=False, add_generation_prompt=True
        )
        assert one.text == text
        assert not one.dated
    return len(known)


@pytest.mark.parametrize("name", TEMPLATES)
def test_known_templates_are_rendered_alike(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    base = BaseStore(tmp_path / "bases").ensure(
        str(folder), template=template_of_record({"chat_template": name})
    )
    assert _alike(base.checkpoint) == len(CONVERSATIONS)


def test_other_templates_are_rendered_alike(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text(SMOL)
    assert _alike(folder) == len(CONVERSATIONS)
    # The roles that it refuses are left out.
    (folder / "chat_template.jinja").write_text(TRIMS)
    assert _alike(folder) == len(CONVERSATIONS) - 1


def test_the_day_is_said_to_be_in_it_and_faults_give_nothing(folder: Path) -> None:
    dated = "{{ strftime_now('%Y') }} {{ messages[-1].content }}"
    (folder / "chat_template.jinja").write_text(dated)
    assert [one.dated for one in renderings(folder)] == [True] * len(CONVERSATIONS)
    assert renderings(folder)[0].text.startswith("20")
    for broken in ("{% for m in messages %}", "{{ messages + 1 }}", "{{ ().__class__.mro() }}", ""):
        (folder / "chat_template.jinja").write_text(broken)
        assert renderings(folder) == ()
