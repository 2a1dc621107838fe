"""`botocore-passages`: a few sentences of documentation, and which operation one of them is about.

Of every third question the sentence was taken out: then the answer is that the documentation does
not say.

For each service that botocore documents: five operations with the first sentence of each are what
a search would give, and the question is one operation's sentence without its name. Invariant: a row
without an answer has as many sentences as one with it, all of the same service, so that nothing but
the missing sentence tells them apart. Splits are made as those of `botocore-kb`.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

from adapterworks.builders.data.recipes.botocore_kb import (
    LONGEST,
    SHORTEST,
    TEST,
    VALIDATION,
    display_name,
    first_sentence,
    resource,
)
from adapterworks.builders.data.recipes.recipe import (
    SPLITS,
    Derived,
    NearIndex,
    Recipe,
    hash_split,
    package_folder,
)
from adapterworks.builders.data.rows import Row, chat
from adapterworks.manifests.digests import digest_bytes, digest_json, hash64

ABSTENTION = "The documentation does not say."
SENTENCES = 5  # of a row
MOST = 12  # rows of a service
UNANSWERABLE = 3  # every third
QUESTION = (
    "{service}:\n{passage}\n\nWhich operation does this? {sentence}\nAnswer with its name, or with "
    f'"{ABSTENTION}"'
)


def derive(cache: Path | None = None) -> Derived:
    """The recipe's rows; a few seconds once per process, so nothing is cached."""
    folder, origin = package_folder("botocore", "botocore")
    digests: dict[str, str] = {}
    splits: dict[str, list[Row]] = {split: [] for split in SPLITS}
    for service in sorted(path for path in (folder / "data").iterdir() if path.is_dir()):
        versions = sorted(service.glob("*/service-2.json.gz"))
        if not versions:
            continue
        packed = versions[-1].read_bytes()
        digests[str(versions[-1].relative_to(folder / "data"))] = digest_bytes(packed)
        description = json.loads(gzip.decompress(packed))
        said = {
            name: first_sentence(body["documentation"])
            for name, body in sorted(description["operations"].items())
            if "documentation" in body
        }
        for split, row in _rows(service.name, display_name(description["metadata"]), said):
            splits[split].append(row)
    index = NearIndex(row.meta["term"] for row in splits["train"])
    kept = {
        split: tuple(
            row for row in rows if split == "train" or not index.has_near(row.meta["term"])
        )
        for split, rows in splits.items()
    }
    test = kept["test"]
    return Derived(
        kept,
        origin,
        {"data/*/*/service-2.json.gz": digest_json(digests)},
        {
            "services": len(digests),
            "near": sum(len(splits[split]) - len(kept[split]) for split in SPLITS),
            "test_unanswerable": sum(not row.meta["answerable"] for row in test),
        },
    )


def _rows(service: str, display: str, said: dict[str, str]) -> list[tuple[str, Row]]:
    """Rows with their splits; a sentence that several operations share asks for none of them."""
    often = Counter(said.values())
    fit = {
        name: sentence
        for name, sentence in said.items()
        if often[sentence] == 1 and SHORTEST <= len(sentence) <= LONGEST
    }
    if len(fit) <= SENTENCES:
        return []
    rows = []
    for name in sorted(fit, key=lambda name: _number(service, name))[:MOST]:
        others = sorted(fit.keys() - {name}, key=lambda other: _number(service, name, other))
        answerable = bool(_number(service, name, "asked") % UNANSWERABLE)
        shown = [name, *others[: SENTENCES - 1]] if answerable else others[:SENTENCES]
        shown.sort(key=lambda one: _number(service, name, one, "place"))
        passage = "\n".join(f"- {one}: {fit[one]}" for one in shown)
        split = hash_split(f"{service}:{resource(name)}", test=TEST, validation=VALIDATION)
        row = chat(
            QUESTION.format(service=display, passage=passage, sentence=fit[name]),
            name if answerable else ABSTENTION,
            term=fit[name],
            service=service,
            operation=name,
            answerable=answerable,
            slices=["answerable" if answerable else "unanswerable"],
        )
        rows.append((split, row))
    return rows


def _number(*words: str) -> int:
    """A number that is nobody's choice."""
    return hash64("\n".join(words))


RECIPE = Recipe(
    name="botocore-passages",
    description="Five sentences of service documentation → the operation that is asked for, or "
    "that the documentation does not say",
    license="Apache-2.0",
    derive=derive,
)
