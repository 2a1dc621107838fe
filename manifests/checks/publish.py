"""What cannot be published or served as `[publish]` and `[serve]` say."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from adapterworks.manifests.checking import Problem, check, is_written
from adapterworks.manifests.extensions import load
from adapterworks.manifests.method import method_tables
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.sources import REPO_PATTERN


@check("publish.alias", "publish.hub", "publish.private")
def _publication(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    publish = manifest.publish
    if publish.alias is not None and publish.alias.isdigit():
        yield Problem(
            ("publish", "alias"), "a number alone is a version, not an alias", "use a word"
        )
    if publish.hub is not None and not REPO_PATTERN.fullmatch(publish.hub):
        yield Problem(
            ("publish", "hub"), f"`{publish.hub}` is not a Hub repository", "write `org/name`"
        )
    if publish.hub is None and is_written(written, "publish", "private"):
        yield Problem(
            ("publish", "private"), "there is no repository to be private", "name `publish.hub`"
        )


@check("publish.withhold")
def _withheld(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    for index, pattern in enumerate(manifest.publish.withhold or ()):
        needed = (f"{role}/adapter_model.safetensors" for role in ("adapter", "servable", "full"))
        if any(fnmatchcase(path, pattern) for path in needed):
            yield Problem(
                ("publish", "withhold", index),
                f"`{pattern}` means the weights, which no release is without",
                'name what holds texts of rows, such as "predictions.jsonl"',
            )


@check("publish.include", "publish.withhold")
def _included(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    for index, pattern in enumerate(manifest.publish.include):
        if pattern in (manifest.publish.withhold or ()):
            yield Problem(
                ("publish", "include", index),
                f"`{pattern}` is withheld and included",
                "take it out of one of them",
            )


@check("method", "serve.conversion_rank")
def _conversion(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    method = manifest.method
    if manifest.serve.conversion_rank is not None and not load("methods", method.kind).cut:
        cut = [f"`{kind}`" for kind in method_tables() if load("methods", kind).cut]
        others = " and ".join(part for part in (", ".join(cut[:-1]), *cut[-1:]) if part)
        yield Problem(
            ("serve", "conversion_rank"),
            f"method `{method.kind}` is served exactly: nothing is cut to a rank",
            f"remove it; it is for {others}"
            + (", and `method.rank` sets what is served" if hasattr(method, "rank") else ""),
        )


PUBLISH_CHECKS = (_publication, _withheld, _included, _conversion)
