"""A training that continues a release: begun exactly there, told in the record, else refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapterworks.builders.rebuilding.rebuild import rebuild
from adapterworks.cli.plan import command as plan
from adapterworks.registry.bases.store import BaseStore
from tests.builders.workshop import Workshop

PAIRS = '[objective]\nkind = "dpo"\n[start]\nfrom = "tiny@1"\n'


def pairs(workshop: Workshop, kind: str = "lora", more: str = PAIRS, **given: Any) -> str:
    """A manifest of pairs that continues `tiny@1`, and its rows."""
    for split, count, start in (("train", 24, 0), ("validation", 6, 100), ("test", 6, 200)):
        rows = (
            {
                "prompt": f"code of case {n}?",
                "chosen": f"A{n % 7}",
                "rejected": f"B{n % 5}" + "!" * (n % 3),
            }
            for n in range(start, start + count)
        )
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (workshop.folder / f"pairs-{split}.jsonl").write_text(text)
    path = Path(workshop.manifest(kind, more=more, **({"epochs": 1, "rate": 1e-3} | given)))
    text = path.read_text().replace("[data]\n", '[data]\nformat = "preference"\n')
    for split in ("train", "validation", "test"):
        text = text.replace(f'"{split}.jsonl"', f'"pairs-{split}.jsonl"')
    text = text.replace('name = "tiny"', 'name = "tiny-pairs"')
    text = text.replace('["exact_match"]', '["preference_accuracy", "preference_margin"]')
    target = workshop.folder / f"{kind}-pairs.toml"
    target.write_text(text)
    return str(target)


@pytest.mark.train
@pytest.mark.parametrize(
    "kind",
    [
        "lora",
        *(
            pytest.param(kind, marks=pytest.mark.slow)
            for kind in ("dora", "prompt-tuning", "prefix-tuning", "full")
        ),
    ],
)
def test_a_release_is_continued_where_it_ended(workshop: Workshop, kind: str) -> None:
    """Policy and reference agree before the first step; the reference of an adapter is read from
    its files by another way than the policy was. The loss begins at ln 2."""
    rate = 1e-3 if kind == "full" else 2e-2
    first = workshop.json(workshop.manifest(kind, epochs=2, rate=rate))
    built = workshop.json(pairs(workshop, kind))
    training = built["report"]["training"]
    beginning = training["beginning"]
    assert beginning["reference"] == "start"
    assert beginning["tokens"] > 20
    assert beginning["max_difference"] <= 1e-5
    registry = workshop.registry()
    lines = registry.read(built["digest"], "training.jsonl").decode().splitlines()
    steps = [e for e in map(json.loads, lines) if e["event"] == "step"]
    assert steps[0]["loss"] == pytest.approx(0.693147, abs=2e-4)
    release = registry.release(built["digest"])
    (parent,) = release.parents
    assert (parent.relation, parent.digest, parent.ref) == ("start", first["digest"], "tiny@1")
    (ancestor,) = registry.origins.lineage(built["ref"]).parents
    assert (ancestor.ref, ancestor.relation) == ("tiny@1", "start")
    lock = json.loads(registry.read(built["digest"], "adapter.lock"))
    assert lock["origins"] == {"start": first["digest"], "reference": "start"}
    card = registry.read(built["digest"], "README.md").decode()
    assert f"- continues tiny@1 (`{first['digest']}`)" in card
    assert "reference: `start`; before the first step the policy differs" in card
    report = built["report"]
    assert report["subjects"][:1] == ["candidate"]
    assert {"base", "start"} <= {*report["subjects"]}
    told = report["preferences"]["start"]
    low, high = told["interval"]
    assert 0 <= low <= told["reward_accuracy"] <= high <= 1
    # Unchanged, it is the release that it was: the digest covers what it began from.
    assert workshop.json(pairs(workshop, kind))["ref"] == built["ref"]


@pytest.mark.slow
@pytest.mark.train
def test_plain_fine_tuning_goes_on_too(workshop: Workshop) -> None:
    """The first loss is what the release ended with, far below the base's."""
    first = workshop.json(workshop.manifest(epochs=8))
    text = Path(workshop.manifest(epochs=1, rate=1e-5)).read_text()
    path = workshop.folder / "more.toml"
    path.write_text(text.replace('name = "tiny"', 'name = "more"') + '[start]\nfrom = "tiny@1"\n')
    built = workshop.json(str(path))
    ended, begun = (one["report"]["training"]["best_value"] for one in (first, built))
    assert begun == pytest.approx(ended, rel=0.02)
    assert built["report"]["training"]["beginning"] is None
    assert workshop.registry().release(built["digest"]).parents[0].relation == "start"


@pytest.mark.slow
@pytest.mark.train
def test_a_rebuild_begins_with_the_release_of_that_time(workshop: Workshop) -> None:
    """The alias has moved on since; the record knows the digest."""
    first = workshop.json(workshop.manifest(epochs=1))
    built = workshop.json(pairs(workshop, more=PAIRS.replace("tiny@1", "tiny:candidate")))
    later = workshop.json(workshop.manifest(epochs=2))
    assert workshop.registry().resolve("tiny:candidate").digest == later["digest"]
    result = rebuild(
        built["ref"],
        registry=workshop.registry(),
        bases=BaseStore(workshop.home / "bases"),
        home=workshop.home,
    )
    assert result.weights.bit_equal
    assert first["digest"] != later["digest"]
    # With the alias at another release it is another training.
    again = workshop.json(pairs(workshop, more=PAIRS.replace("tiny@1", "tiny:candidate")))
    assert again["ref"] == "tiny-pairs@2"


@pytest.mark.slow
@pytest.mark.train
def test_a_reference_that_the_training_does_not_start_from_is_refused(workshop: Workshop) -> None:
    workshop.json(workshop.manifest(epochs=2))
    far = '[objective]\nkind = "dpo"\nreference = "tiny@1"\n'
    failed = workshop.build(pairs(workshop, more=far))
    assert failed.exit_code != 0
    assert "before the first step policy and reference (`sha256:" in str(failed.output) + str(
        failed.exception
    )
    meant = workshop.json(pairs(workshop, more=far + "max_start_distance = 30.0\n"))
    beginning = meant["report"]["training"]["beginning"]
    assert beginning["max_difference"] > 1e-3
    first = workshop.registry().resolve("tiny@1").digest
    assert beginning["reference"] == first
    (parent,) = workshop.registry().release(meant["digest"]).parents
    assert (parent.relation, parent.digest) == ("reference", first)


@pytest.mark.train
def test_what_cannot_be_continued_is_refused_before_anything_is_trained(
    workshop: Workshop,
) -> None:
    workshop.json(workshop.manifest(epochs=1))
    for kind, change, said in (
        ("lora", ('kind = "lora"', 'kind = "lora"\nrank = 4'), "was trained with another `[met"),
        ("prompt-tuning", ("", ""), "was trained with another `[method]`"),
        ("adalora", ("", ""), "a training of `adalora` cannot be continued"),
        ("lora", ('"tiny@1"', '"tiny@9"'), "tiny@9"),
        ("lora", ('model = "', 'quantization = "nf4"\nmodel = "'), "was trained on another base"),
    ):
        path = Path(pairs(workshop, kind))
        if change[0]:
            path.write_text(path.read_text().replace(*change))
        failed = workshop.build(str(path))
        assert failed.exit_code != 0, said
        assert said in str(failed.output) + str(failed.exception)
        assert not [*(workshop.home / "builds").glob("tiny-pairs-*")], said


@pytest.mark.train
def test_what_was_taken_out_of_the_base_is_continued_at_the_ranks_that_hold_it(
    workshop: Workshop,
) -> None:
    """PiSSA's release of rank 3 is a LoRA of 6, which are 8 to an engine, its scale folded in."""
    settings = ("--set", "method.rank=3", "--set", 'method.init="pissa"')
    workshop.json(workshop.manifest(epochs=1, rate=2e-2), *settings)
    path = Path(pairs(workshop))
    for method in ("rank = 3\n", "rank = 8\n", "rank = 6\nalpha = 6\n"):
        failed = workshop.build(
            _with_method(path, method),
        )
        assert "holds another `[method]` than it was trained with" in str(failed.exception)
        assert "`rank = 8`, `alpha = 8`" in str(failed.exception.hint)  # type: ignore[union-attr]
        assert not [*(workshop.home / "builds").glob("tiny-pairs-*")]
    built = workshop.json(_with_method(path, "rank = 8\nalpha = 8\n"))
    beginning = built["report"]["training"]["beginning"]
    assert (beginning["reference"], beginning["max_difference"] <= 1e-5) == ("start", True)


def _with_method(path: Path, method: str) -> str:
    target = path.with_name("changed.toml")
    target.write_text(path.read_text().replace('kind = "lora"\n', f'kind = "lora"\n{method}'))
    return str(target)


@pytest.mark.train
@pytest.mark.parametrize(
    ("built", "kind", "method", "said"),
    [
        ("lora", "ia3", "", "cannot be the reference of a training of `ia3`: it is `lora`"),
        (
            "prompt-tuning",
            "prompt-tuning",
            "virtual_tokens = 5\n",
            "another `[method]`: {'virtual_tokens': 20}",
        ),
    ],
)
def test_a_reference_that_cannot_take_the_policys_place_is_refused_by_the_plan(
    workshop: Workshop, built: str, kind: str, method: str, said: str
) -> None:
    """It was refused when the training had begun, or scored at the wrong positions."""
    workshop.json(workshop.manifest(built, epochs=1))
    path = Path(pairs(workshop, kind, more='[objective]\nkind = "dpo"\nreference = "tiny@1"\n'))
    path.write_text(path.read_text().replace(f'kind = "{kind}"\n', f'kind = "{kind}"\n{method}'))
    failed = workshop.invoke(plan, str(path))
    assert failed.exit_code != 0
    assert said in str(failed.exception)
