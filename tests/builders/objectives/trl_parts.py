"""Classes and functions of TRL's, some of which may change under us at any release."""

from __future__ import annotations

import importlib
import warnings
from typing import Any


def part(module: str, name: str) -> Any:
    """`trl.MODULE.NAME`; what TRL's imports warn of is not about the losses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(importlib.import_module(f"trl.{module}"), name)
