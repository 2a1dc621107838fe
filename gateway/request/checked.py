"""JSON of a request → one of our own frozen tables, or its first fault with the field's name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import to_json

from adapterworks.gateway.config.table import Table
from adapterworks.gateway.request.errors import InvalidField

T = TypeVar("T", bound=Table)


def checked(type_: type[T], values: Mapping[str, Any]) -> T:
    """Values as they are typed; unknown fields are refused.

    Raises:
        InvalidField: the first fault.
    """
    try:
        # Strict JSON takes an array for a tuple, and nothing else that strict refuses.
        return type_.model_validate_json(to_json(values))
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        parts = [str(part)[:100] for part in fault["loc"]]
        name = ".".join(parts) or "body"
        if fault["type"] == "missing":
            said = f"`{name}` is missing"
        elif fault["type"] == "extra_forbidden":
            said = f"unknown field `{name}`"
        else:
            message = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
            said = f"`{name}` {message[:1].lower()}{message[1:]}"
        raise InvalidField(said, param=parts[0] if parts else None) from error
