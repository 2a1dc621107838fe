"""The card of a repository: the release's own under the Hub's metadata, whatever it declares."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from adapterworks.registry.releases.release import BaseIdentity, FileEntry, Release
from adapterworks.registry.remotes.hub.card import build_card
from tests.registry.releases import BASE, draft


def made(path: str = "adapter/adapter_model.safetensors", **fields: Any) -> Release:
    entry = FileEntry.at(path, digest=f"sha256:{'1' * 64}", size=10)
    return Release.from_draft(draft(**fields), {path: entry})


def split(card: str) -> tuple[dict[str, Any], str]:
    """A card's metadata and its text."""
    before, front, text = card.split("---\n", 2)
    assert before == ""
    return yaml.safe_load(front), text


def metadata(**fields: Any) -> dict[str, Any]:
    return split(build_card(made(**fields), "", repository="org/x"))[0]


def base(model: str) -> BaseIdentity:
    return BASE.model_copy(update={"model": model})


@pytest.mark.parametrize(
    "manifest",
    [
        {"adapter": 7, "data": "x"},
        {"adapter": {"language": 5}, "data": {"train": 3, "mix": 4}},
        {"adapter": {"language": [1, "en"]}, "data": {"train": "hub:a/b@c", "mix": [5, {}]}},
    ],
)
def test_a_strangers_manifest_of_any_shape_has_a_card(manifest: dict[str, Any]) -> None:
    card = build_card(made(manifest=manifest), "", repository="org/x")
    assert "library_name: peft" in card
    assert ("- a/b" in card) == ("hub:a/b@c" in str(manifest))


def test_the_metadata_of_an_adapter() -> None:
    data = {
        "train": "hub:org/icd@main#train",
        "mix": [{"source": "hub:org/chat@v1"}, {"source": "hub:org/icd@main"}],
        "test": "icd-10-cm:test",
    }
    found = metadata(
        base=base(f"hub:org/tiny@{'a' * 40}"),
        license="Apache-2.0",
        manifest={"adapter": {"language": ["en", "de"]}, "data": data},
        metrics={"rouge_l": 0.75, "exact_match": 0.5},
    )
    (index,) = found.pop("model-index")
    assert found == {
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "license": "apache-2.0",
        "language": ["en", "de"],
        "base_model": "org/tiny",
        "base_model_relation": "adapter",
        "datasets": ["org/icd", "org/chat"],
        "tags": ["adapterworks", "lora", "icd", "coding"],
    }
    assert index["name"] == "medical"
    (results,) = index["results"]
    assert results["dataset"] == {"type": "icd-10-cm", "name": "icd-10-cm"}
    assert [(m["type"], m["value"]) for m in results["metrics"]] == [
        ("exact_match", 0.5), ("rouge_l", 0.75),
    ]  # fmt: skip


def test_what_is_not_known_is_not_said() -> None:
    found = metadata(base=base("/home/ann/tiny"), manifest=None, metrics={})
    assert found.keys() == {"library_name", "pipeline_tag", "license", "tags"}


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({"test": "hub:org/a@main#test", "train": "hub:org/b"}, "org/a"),
        ({"train": "hub:org/b"}, "org/b"),
        ({"train": "icd-10-cm"}, "icd-10-cm"),
        ({"train": "./rows.jsonl"}, "custom"),
        ({}, "custom"),
    ],
)
def test_results_are_on_the_test_rows_and_a_file_has_no_name(
    data: dict[str, str], name: str
) -> None:
    found = metadata(manifest={"data": data}, metrics={"exact_match": 0.5})
    assert found["model-index"][0]["results"][0]["dataset"]["type"] == name


def test_a_base_that_is_not_loaded_as_it_is_published_is_loaded_as_it_was_trained() -> None:
    """In NF4, and under a template that its manifest decided: else it is another model."""
    nf4 = base("hub:org/tiny@main").model_copy(update={"quantization": "nf4"})
    decided = {
        "chat_template": "chatml",
        "template_arguments": {"enable_thinking": False, "x` y": 1, "bad": ["`"]},
        "double_quantization": False,
    }
    text = split(build_card(made(base=nf4, manifest={"base": decided}), "", repository="o/x"))[1]
    assert 'from_pretrained("org/tiny",\n    quantization_config=BitsAndBytesConfig(' in text
    assert "bnb_4bit_use_double_quant=False" in text
    assert "another chat template than the base's own (`chatml`)" in text
    assert "with `apply_chat_template(…, enable_thinking=False)`" in text
    assert "adapters export medical --to peft" in text
    own = {"base": {"chat_template": "./mine.jinja"}}
    text = split(build_card(made(manifest=own), "", repository="o/x"))[1]
    assert "than the base's own (one of its author's)" in text
    plain = split(build_card(made(manifest={"base": {}}), "", repository="o/x"))[1]
    assert "chat template" not in plain
    assert "BitsAndBytesConfig" not in plain


def test_a_model_of_its_own_is_no_adapter() -> None:
    release = made("full/model.safetensors", base=base("hub:org/tiny@main"), method="full")
    found, text = split(build_card(release, "", repository="org/x"))
    assert (found["library_name"], found["base_model_relation"]) == ("transformers", "finetune")
    assert "peft" not in text
    assert f"release `{release.digest}`" in text


def test_the_releases_own_text_stays_and_its_front_matter_goes() -> None:
    release = made(base=base("hub:org/tiny@main"))
    body = "---\nlicense: mit\n---\n\n# medical\n\nA rule:\n\n---\n\nafter it\n"
    found, text = split(build_card(release, body, repository="org/x"))
    assert found["license"] == "other"
    assert text.startswith("\n# medical\n\nA rule:\n\n---\n\nafter it\n\n## Use\n")
    assert 'PeftModel.from_pretrained(base, "org/x")' in text
    assert 'AutoModelForCausalLM.from_pretrained("org/tiny")' in text
    assert "`adapters pull org/x` brings it back" in text


def test_a_release_without_a_card_has_its_description() -> None:
    _, text = split(build_card(made(), " \n", repository="org/x"))
    assert text.startswith("\n# medical\n\nICD-10-CM coding of clinical terms\n\n## Use")
    assert '"/' not in build_card(made(base=base("/home/ann/tiny")), "", repository="org/x")
