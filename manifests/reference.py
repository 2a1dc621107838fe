"""The manifest's page: `python -m adapterworks.manifests.reference > docs/reference/manifest.md`.

Made from the models, so that it cannot say anything else; a test holds the page equal to this.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from adapterworks.manifests.data_gates import standard_gate
from adapterworks.manifests.schema import manifest_schema

_HEAD = """\
# The manifest

Made by `python -m adapterworks.manifests.reference > docs/reference/manifest.md`.

A manifest is a TOML file that declares one adapter. Unknown keys, wrong types and impossible
combinations are refused, all of them at once: `adapters validate FILE`. `adapters schema` prints
the JSON Schema, from which editors complete: put `#:schema ./adapters.schema.json` on the first
line.

`[profiles.NAME]` holds keys that replace those of the manifest with `--profile NAME`; tables are
merged, everything else, arrays included, is replaced. `--set key.path=VALUE` replaces one key after
that; the value is TOML, or else text, and a table given as value replaces the whole table. Relative
paths are relative to the manifest.

`[[stages]]` makes several trainings of one manifest, each with a `name` and whatever differs in
`[objective]`, `[data]`, `[train]` and `[evaluate]`; each begins where the one before ended and
gives a release of its own, and the next one is begun only if that stage's own gates pass: the
manifest's `[[evaluate.gates]]` judge the last stage. A profile and `--set` name them:
`[profiles.quick.stages.sft]`, `--set stages.sft.train.epochs=1`.
"""


def reference() -> str:
    """The whole of docs/reference/manifest.md."""
    schema = manifest_schema()
    tables = schema["properties"]
    lines = [_HEAD]
    for name in tables:
        if name in ("method", "objective"):
            shared: dict[str, list[str]] = {}
            for option in tables[name]["oneOf"]:
                model = schema["$defs"][_name(option)]
                kinds = " · ".join(f"`{kind}`" for kind in _choices(model["properties"]["kind"]))
                title = f"[{name}] {kinds}"
                lines += _table(title, model, schema["$defs"], nested=False, below=shared)
            lines += [line for table in shared.values() for line in table]
        elif name not in ("profiles", "stages"):
            lines += _table(f"[{name}]", schema["$defs"][_name(tables[name])], schema["$defs"])
    return "\n".join(lines).rstrip() + "\n"


def _table(
    title: str,
    model: dict[str, Any],
    models: dict[str, Any],
    *,
    nested: bool = True,
    below: dict[str, list[str]] | None = None,
) -> Iterator[str]:
    """One table of the manifest and, behind it, the tables in it.

    Args:
        below: receives the tables in it instead, by title: of several that have the same ones.
    """
    inner: list[tuple[str, dict[str, Any]]] = []
    yield from (f"## `{title}`" if nested else f"## {title}", "")
    about = " ".join(model["description"].split("`: ", 1)[-1].split())
    yield from (about[0].upper() + about[1:], "")
    yield from ("| key | value | default | |", "|---|---|---|---|")
    required = model.get("required", [])
    for key, value in model["properties"].items():
        target = _name(value)
        if target == "DataGate":
            default = json.dumps(standard_gate(key).model_dump(exclude_none=True))
            yield f"| `{key}` | table | `{default}` | {_text(value)} |"
        elif target is not None:
            path = f"{title.partition(']')[0][1:]}.{key}"
            brackets = "[[{}]]" if value.get("type") == "array" else "[{}]"
            inner.append((brackets.format(path), models[target]))
        else:
            default = "required" if key in required else _default(value)
            yield f"| `{key}` | {_type(value)} | {default} | {_text(value)} |"
    yield ""
    for sub_title, sub_model in inner:
        if below is None:
            yield from _table(sub_title, sub_model, models)
        elif sub_title not in below:
            below[sub_title] = [*_table(sub_title, sub_model, models)]
    if title == "[data.gates]":
        yield from _table("[data.gates.GATE]", models["DataGate"], models)


def _name(value: dict[str, Any]) -> str | None:
    """The model a property refers to, directly, as an element or as an alternative to null."""
    for part in (value, value.get("items", {}), *value.get("anyOf", ())):
        if "$ref" in part:
            return str(part["$ref"].rpartition("/")[2])
    return None


def _choices(value: dict[str, Any]) -> list[str]:
    return [value["const"]] if "const" in value else list(value.get("enum", ()))


def _type(value: dict[str, Any]) -> str:
    if choices := _choices(value):
        return ", ".join(f'`"{choice}"`' for choice in choices)
    if any("pattern" in part for part in value.get("anyOf", ())):
        return "string"  # a name or a file's: the description says more than a list of both
    if "anyOf" in value:
        return " or ".join(_type(part) for part in value["anyOf"] if part.get("type") != "null")
    if "oneOf" in value:
        return "table"  # of several kinds, which the description names
    kind = str(value["type"])
    if kind == "array":
        return f"array of {_type(value['items'])}"
    if kind == "object":
        return f"table of {_type(value['additionalProperties'])}"
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [
        f"{sign} {value[name]:g}"
        for name, sign in signs.items()
        if name in value and abs(value[name]) < 2**20
    ]
    return " ".join([kind, ", ".join(bounds)]).strip()


def _default(value: dict[str, Any]) -> str:
    if value.get("default") is None:
        return ""
    return f"`{json.dumps(value['default'], ensure_ascii=False)}`"


def _text(value: dict[str, Any]) -> str:
    return " ".join(str(value.get("description", "")).split())


if __name__ == "__main__":
    import sys

    sys.stdout.write(reference())
