"""The model card a push puts at the repository's root: the release's own card under Hub metadata.

Invariant: the card is a pure function of the release, so pushing twice gives the same bytes.
Metadata: https://huggingface.co/docs/hub/model-cards
"""

from __future__ import annotations

import re
from typing import Any

from adapterworks.manifests.templates import TEMPLATES
from adapterworks.registry.releases.base_names import hub_id, public_name
from adapterworks.registry.releases.release import Release

_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n+", re.DOTALL)


def build_card(release: Release, body: str, *, repository: str) -> str:
    """README.md for the Hub.

    Args:
        body: the release's own README.md; empty if it has none.
        repository: `org/name`, for the example.
    """
    from huggingface_hub import ModelCardData

    text = _FRONT_MATTER.sub("", body).strip() or f"# {release.name}\n\n{release.description}"
    data = ModelCardData(**_metadata(release))
    return f"---\n{data.to_yaml()}\n---\n\n{text}\n\n{_usage(release, repository)}"


def _metadata(release: Release) -> dict[str, Any]:
    language = release.declared("adapter").get("language")
    base = hub_id(release.base.model)
    values: dict[str, Any] = {
        "library_name": "transformers" if release.whole_model else "peft",
        "pipeline_tag": "text-generation",
        "license": release.license.lower(),
        "language": _texts(language) or None,
        "base_model": base,
        "datasets": _datasets(release) or None,
        "tags": ["adapterworks", release.method, *release.tags],
    }
    if base is not None:
        values["base_model_relation"] = "finetune" if release.whole_model else "adapter"
    results = _results(release)
    if results:
        values |= {"model_name": release.name, "eval_results": results}
    return values


def _texts(value: Any) -> list[str]:
    """The texts of a list; none of what a stranger's manifest has in its place."""
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def _datasets(release: Release) -> list[str]:
    data = release.declared("data")
    mixed = data.get("mix")
    parts = [part for part in mixed if isinstance(part, dict)] if isinstance(mixed, list) else []
    sources = _texts([data.get("train"), *(part.get("source") for part in parts)])
    return list(dict.fromkeys(_dataset_id(s) for s in sources if _dataset_id(s)))


def _dataset_id(source: str) -> str:
    """`hub:org/name@rev#split` → `org/name`; a recipe → its name; a file has no name to publish."""
    if source.startswith("hub:"):
        return re.split(r"[@#]", source.removeprefix("hub:"))[0]
    name = source.partition(":")[0]
    return name if re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name) else ""


def _results(release: Release) -> list[Any]:
    from huggingface_hub import EvalResult

    data = release.declared("data")
    dataset = _dataset_id(str(data.get("test") or data.get("train") or "")) or "custom"
    return [
        EvalResult(
            task_type="text-generation",
            dataset_type=dataset,
            dataset_name=dataset,
            metric_type=metric,
            metric_name=metric,
            metric_value=value,
        )
        for metric, value in sorted(release.metrics.items())
    ]


def _usage(release: Release, repository: str) -> str:
    if release.whole_model:
        return f"Published by adapterworks as release `{release.digest}`.\n"
    base = public_name(release.base.model)
    classes, quantization = "AutoModelForCausalLM", ""
    if release.base.quantization == "nf4":
        double = release.declared("base").get("double_quantization") is not False
        classes += ", BitsAndBytesConfig"
        quantization = (
            ",\n    quantization_config=BitsAndBytesConfig(\n"
            '        load_in_4bit=True, bnb_4bit_quant_type="nf4",\n'
            f"        bnb_4bit_use_double_quant={double},\n    ),\n"
        )
    return (
        "## Use\n\n```python\n"
        "from peft import PeftModel\n"
        f"from transformers import {classes}\n\n"
        f'base = AutoModelForCausalLM.from_pretrained("{base}"{quantization})\n'
        f'model = PeftModel.from_pretrained(base, "{repository}")\n```\n\n'
        f"{_template(release)}"
        f"Published by adapterworks as release `{release.digest}`; "
        f"`adapters pull {repository}` brings it back byte for byte.\n"
    )


def _template(release: Release) -> str:
    """What its manifest decided of the base's chat template, which a repository does not have."""
    table = release.declared("base")
    name, arguments = table.get("chat_template"), table.get("template_arguments")
    given = arguments if isinstance(arguments, dict) else {}
    told = ", ".join(
        f"{key}={value!r}"
        for key, value in sorted(given.items())
        if key.isidentifier() and isinstance(value, str | int | float) and "`" not in str(value)
    )
    if not name and not told:
        return ""
    said = []
    if name:
        which = f"`{name}`" if name in TEMPLATES else "one of its author's"
        said.append(f"under another chat template than the base's own ({which})")
    if told:
        said.append(f"with `apply_chat_template(…, {told})`")
    return (
        f"It was trained {' and '.join(said)}: asked otherwise, it answers otherwise, or does not "
        f"stop. `adapters pull` and `adapters export {release.name} --to peft` write a folder that "
        "has tokenizer and template beside the adapter.\n\n"
    )
