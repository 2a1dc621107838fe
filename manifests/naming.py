"""What a manifest names of what can be added: methods, metrics, gates, formats, recipes, …

Found in the values by the annotations of their keys (`Named`), so that a new key is no second list.
"""

from __future__ import annotations

import json
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from adapterworks.manifests.builtin import Kind
from adapterworks.manifests.data_gates import DataGates
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.named import Named
from adapterworks.manifests.sources import RecipeSource, parse_source
from adapterworks.manifests.user_code import UserCode, names_a_file, refusal


def named_entries(manifest: Manifest) -> tuple[tuple[Kind, str], ...]:
    """Kind and name of all that a manifest uses, each once, sorted; a gate that is off is not."""
    method: tuple[Kind, str] = ("methods", manifest.method.kind)
    objective: tuple[Kind, str] = ("objectives", manifest.objective.kind)
    found = {method, objective, *_walk(Manifest, (), manifest), *_recipes(manifest)}
    return tuple(sorted(found))


def user_code(manifest: Manifest) -> dict[str, UserCode]:
    """The code beside the manifest that it names, by name."""
    return {name: name for _, name in named_entries(manifest) if isinstance(name, UserCode)}


def again(manifest: Manifest, values: Mapping[str, Any]) -> Manifest:
    """A manifest of JSON values that were derived from another's, with the other's code."""
    # JSON has no tuples; the strict models take them from JSON mode only.
    context = {"code": user_code(manifest)}
    copied = Manifest.model_validate_json(json.dumps(values), context=context)
    copied = copied.placed_in(manifest.folder)
    return copied if manifest.stage is None else copied.as_stage(manifest.stage, manifest.before)


def of_record(values: Mapping[str, Any], code: Mapping[str, UserCode] | None = None) -> Manifest:
    """A manifest as a record has it, with the keys of the version that wrote it.

    Records from before `[objective]` have the objective as a key of `[train]`.
    """
    table = {**values}
    train = {**table.get("train", {})}
    kind = train.pop("objective", None)
    if kind is not None:
        table |= {"train": train, "objective": table.get("objective", {"kind": kind})}
    return Manifest.model_validate_json(json.dumps(table), context={"code": code or {}})


def manifest_of_release(
    values: Mapping[str, Any],
    of: str,
    *,
    own: Manifest | None = None,
    digests: Mapping[str, str] | None = None,
) -> Manifest:
    """The manifest that a release carries, to be run again.

    Args:
        values: `Release.manifest`.
        of: the release's name, for messages.
        own: a manifest of the user's: code in files beside it may be run again, if the release's
            manifest names it too.
        digests: name → digest of the code that the release was built with, which it must still be.

    Raises:
        InvalidInput: it names what is not known here (a distribution that is not installed).
        Refused: it names code in a file, and `own` does not, or has other code there now.
    """
    code = {} if own is None else user_code(own)
    try:
        manifest = of_record(values, code)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"] if part != "[key]")
        raise InvalidInput(
            f"the manifest of `{of}` cannot be used here: {key}: {first['msg']}",
            hint="install the distribution it was built with (`extensions` in its adapter.lock), "
            "or name another manifest with `--manifest`",
        ) from error
    for _, name in named_entries(manifest):
        if names_a_file(name) and not isinstance(name, UserCode):
            raise refusal(name)
        if isinstance(name, UserCode) and name.digest != (digests or {}).get(name, name.digest):
            raise InvalidInput(
                f"`{name.path.name}` is not the file that `{of}` was built with",
                hint="take the version of that time, or evaluate by `adapters eval --manifest`",
            )
    return manifest


def _walk(annotation: Any, metadata: tuple[Any, ...], value: Any) -> Iterator[tuple[Kind, str]]:
    if isinstance(value, DataGates):
        yield from (("data_gates", name) for name, gate in value.items() if gate.on)
    elif isinstance(value, BaseModel):
        for key, field in type(value).model_fields.items():
            yield from _walk(field.annotation, tuple(field.metadata), getattr(value, key))
    elif get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        yield from _walk(inner, (*more, *metadata), value)
    elif get_origin(annotation) in (Union, types.UnionType):
        for inner in get_args(annotation):
            yield from _walk(inner, metadata, value)
    elif isinstance(value, tuple):
        inner = next(iter(get_args(annotation)), Any)
        for item in value:
            yield from _walk(inner, (), item)
    elif isinstance(value, str):
        yield from ((mark.kind, value) for mark in metadata if isinstance(mark, Named))


def _recipes(manifest: Manifest) -> Iterator[tuple[Kind, str]]:
    data = manifest.data
    general = () if data.replay is None else (data.replay.source,)
    own = (data.train, data.validation, data.test)
    for text in (*own, *(part.source for part in data.mix), *general):
        parsed = None if text is None else parse_source(text)
        if isinstance(parsed, RecipeSource):
            yield ("recipes", parsed.name)
