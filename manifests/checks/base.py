"""What of `[base]` cannot be: another grammar, no such template, constants of no rounding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from adapterworks.manifests.checking import Problem, check, is_written
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.sources import parse_base
from adapterworks.manifests.templates import SUFFIX, TEMPLATES, names_template_file


@check("base.model")
def _base_grammar(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    try:
        parse_base(manifest.base.model)
    except InvalidInput as error:
        yield Problem(("base", "model"), error.message, error.hint or "")


@check("base.quantization", "base.double_quantization")
def _double_quantization(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    if manifest.base.quantization == "none" and is_written(written, "base", "double_quantization"):
        yield Problem(
            ("base", "double_quantization"),
            "the base is not quantized, so there are no constants to quantize",
            'remove it, or set `base.quantization = "nf4"`',
        )


@check("base.chat_template", "base.template_arguments")
def _chat_template(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    for argument in manifest.base.template_arguments:
        if not (argument.isidentifier() and argument.isascii()):
            yield Problem(
                ("base", "template_arguments", argument),
                f"`{argument}` is no name that a template could read",
                "a name has letters, digits and `_`",
            )
    name = manifest.base.chat_template
    if name is None or name in TEMPLATES:
        return
    known = ", ".join(f"`{known}`" for known in TEMPLATES)
    if not names_template_file(name):
        yield Problem(
            ("base", "chat_template"),
            f"there is no chat template `{name}`",
            f"known are {known}; a file ends in `{SUFFIX}`",
        )


BASE_CHECKS = (_base_grammar, _double_quantization, _chat_template)
