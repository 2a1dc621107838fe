"""`botocore-kb`: one sentence of internal documentation → the service that owns it.

Support routing on the API documentation that botocore carries: the first sentence of each
operation's documentation, for the 40 services with the most. Invariant: all operations on one
resource of a service (Create/Delete/List…) share a split, and no validation or test sentence has a
near-equal one in train. `meta["named"]` tells whether the sentence names its service; rows that do
not are a slice of their own in the evaluation.
"""

from __future__ import annotations

import gzip
import html
import json
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from adapterworks.builders.data.recipes.recipe import (
    SPLITS,
    Derived,
    NearIndex,
    Recipe,
    hash_split,
    package_folder,
    tokens,
)
from adapterworks.builders.data.rows import Row, chat
from adapterworks.manifests.digests import digest_bytes, digest_json

SERVICES = 40
TEST, VALIDATION = 15, 10  # per cent of resources
SHORTEST, LONGEST = 40, 240  # characters
QUESTION = "Which service owns this? {term}"
NOT_NAMED = "service_not_named"  # the slice
_TELLING = 6  # from this length a name inside run-together words is no accident
# Words of a service's name that any sentence may use.
_COMMON = frozenset(["amazon", "aws", "service", "services", "manager", "management", "for", "and"])


def derive(cache: Path | None = None) -> Derived:
    """The recipe's rows; takes a few seconds once per process, so nothing is cached."""
    folder, origin = package_folder("botocore", "botocore")
    digests: dict[str, str] = {}
    owners: dict[str, dict[str, str]] = defaultdict(dict)  # sentence → service → operation
    names: dict[str, str] = {}
    operations = 0
    for service in sorted(path for path in (folder / "data").iterdir() if path.is_dir()):
        versions = sorted(service.glob("*/service-2.json.gz"))
        if not versions:
            continue
        packed = versions[-1].read_bytes()
        digests[str(versions[-1].relative_to(folder / "data"))] = digest_bytes(packed)
        description = json.loads(gzip.decompress(packed))
        names[service.name] = display_name(description["metadata"])
        for operation, body in sorted(description["operations"].items()):
            if "documentation" in body:
                operations += 1
                sentence = first_sentence(body["documentation"])
                if SHORTEST <= len(sentence) <= LONGEST:
                    owners[sentence].setdefault(service.name, operation)

    single = {s: next(iter(o.items())) for s, o in owners.items() if len(o) == 1}
    sizes = Counter(service for service, _ in single.values())
    top = dict(sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:SERVICES])
    splits: dict[str, list[Row]] = {split: [] for split in SPLITS}
    for sentence, (service_name, operation) in single.items():
        if service_name in top:
            key = f"{service_name}:{resource(operation)}"
            split = hash_split(key, test=TEST, validation=VALIDATION)
            splits[split].append(_row(sentence, service_name, names[service_name], operation))
    index = NearIndex(row.meta["term"] for row in splits["train"])
    kept = {
        split: tuple(
            row for row in rows if split == "train" or not index.has_near(row.meta["term"])
        )
        for split, rows in splits.items()
    }
    return Derived(
        kept,
        origin,
        {"data/*/*/service-2.json.gz": digest_json(digests)},
        {
            "services": len(names),
            "documented_operations": operations,
            "several_services": len(owners) - len(single),
            "classes": len(top),
            "near": sum(len(splits[s]) - len(kept[s]) for s in SPLITS),
            "test_not_named": sum(not row.meta["named"] for row in kept["test"]),
        },
    )


def first_sentence(documentation: str) -> str:
    """The first sentence of an operation's HTML documentation, as plain text."""
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", documentation)).split())
    text = re.sub(r" ([.,;:])", r"\1", text)
    return re.split(r"(?<=[.!?])\s+(?=[A-Z])", text, maxsplit=1)[0]


def resource(operation: str) -> str:
    """The noun an operation acts on: its name without the verb, singular (`ListVpcs` → `vpc`)."""
    noun = re.sub(r"^[A-Z][a-z]*", "", operation) or operation
    return re.sub(r"s$", "", noun.lower())


def display_name(metadata: dict[str, Any]) -> str:
    """How people call the service."""
    name: str = metadata.get("serviceAbbreviation") or metadata["serviceFullName"]
    return name


def names_service(sentence: str, service: str, display: str) -> bool:
    """Whether the sentence says its service's name: run together, word by word, or by its id."""
    words = tokens(sentence)
    telling = [word for word in re.findall(r"[a-z0-9]+", display.lower()) if word not in _COMMON]
    name = "".join(telling)
    squeezed = re.sub(r"[^a-z0-9]", "", sentence.lower())
    return (
        set(telling) <= words
        or (len(name) >= _TELLING and name in squeezed)
        or service.replace("-", "") in words
    )


def _row(sentence: str, service: str, display: str, operation: str) -> Row:
    named = names_service(sentence, service, display)
    return chat(
        QUESTION.format(term=sentence),
        display,
        term=sentence,
        label=display,
        service=service,
        operation=operation,
        resource=resource(operation),
        named=named,
        slices=[] if named else [NOT_NAMED],
    )


RECIPE = Recipe(
    name="botocore-kb",
    description="A sentence of service documentation → the service that owns it (40 services)",
    license="Apache-2.0",
    derive=derive,
)
