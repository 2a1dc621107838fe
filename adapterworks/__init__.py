"""Declare, build, publish and serve fine-tuned adapters: a registry and a serving gateway.

    import adapterworks

    manifest = adapterworks.load_manifest("medical", profile="quick")
    result = adapterworks.build(manifest)
    with adapterworks.serve(open=True) as gateway:
        print(gateway.url)

Names are imported when they are first used: `import adapterworks` costs nothing, and the parts that
need an extra (docs/reference/python-api.md says which) ask for it by name.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# module → what is public of it.
_PUBLIC = {
    "api": "build evaluate open_registry plan resolve serve",
    "builders.building.result": "BuildResult",
    "builders.evaluation.evaluate": "Evaluation",
    "builders.plan.plan": "Plan",
    "extras": "MissingExtra",
    "manifests.errors": "AdapterworksError Conflict IntegrityError InvalidInput NotFound Refused "
    "Unavailable",
    "manifests.faults": "Fault ManifestError",
    "manifests.load": "check_manifest load_manifest",
    "manifests.models": "Manifest",
    "manifests.refs": "Ref parse_ref",
    "registry.registry": "Registry",
    "registry.releases.release": "Draft Release",
    "registry.releases.types": "Published Resolved",
    "served": "Served",
    "settings": "Settings",
}
_FROM = {name: module for module, names in _PUBLIC.items() for name in names.split()}

__all__ = ["__version__", *_FROM]

if TYPE_CHECKING:  # the same names again, for type checkers and editors; a test compares them
    from adapterworks.api import build as build
    from adapterworks.api import evaluate as evaluate
    from adapterworks.api import open_registry as open_registry
    from adapterworks.api import plan as plan
    from adapterworks.api import resolve as resolve
    from adapterworks.api import serve as serve
    from adapterworks.builders.building.result import BuildResult as BuildResult
    from adapterworks.builders.evaluation.evaluate import Evaluation as Evaluation
    from adapterworks.builders.plan.plan import Plan as Plan
    from adapterworks.extras import MissingExtra as MissingExtra
    from adapterworks.manifests.errors import AdapterworksError as AdapterworksError
    from adapterworks.manifests.errors import Conflict as Conflict
    from adapterworks.manifests.errors import IntegrityError as IntegrityError
    from adapterworks.manifests.errors import InvalidInput as InvalidInput
    from adapterworks.manifests.errors import NotFound as NotFound
    from adapterworks.manifests.errors import Refused as Refused
    from adapterworks.manifests.errors import Unavailable as Unavailable
    from adapterworks.manifests.faults import Fault as Fault
    from adapterworks.manifests.faults import ManifestError as ManifestError
    from adapterworks.manifests.load import check_manifest as check_manifest
    from adapterworks.manifests.load import load_manifest as load_manifest
    from adapterworks.manifests.models import Manifest as Manifest
    from adapterworks.manifests.refs import Ref as Ref
    from adapterworks.manifests.refs import parse_ref as parse_ref
    from adapterworks.registry.registry import Registry as Registry
    from adapterworks.registry.releases.release import Draft as Draft
    from adapterworks.registry.releases.release import Release as Release
    from adapterworks.registry.releases.types import Published as Published
    from adapterworks.registry.releases.types import Resolved as Resolved
    from adapterworks.served import Served as Served
    from adapterworks.settings import Settings as Settings


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _FROM:
        raise AttributeError(f"module 'adapterworks' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"adapterworks.{_FROM[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
