"""Where a build can be sent to."""

from __future__ import annotations

import pytest

from adapterworks.manifests.errors import InvalidInput
from adapterworks.workers.executors.where import Where, parse_where


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("local", Where("local")),
        ("slurm", Where("slurm")),
        ("slurm:gpu", Where("slurm", "gpu")),
        ("slurm:a100_80.long-1", Where("slurm", "a100_80.long-1")),
    ],
)
def test_a_place_is_read_and_written(text: str, where: Where) -> None:
    assert parse_where(text) == where
    assert str(where) == text


@pytest.mark.parametrize(
    "text", ["", "local:", "local:x", "slurm:", "slurm:a b", "slurm:--wrap=x", "slurm:a,b", "pbs"]
)
def test_another_is_refused_with_those_that_there_are(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_where(text)
    assert "slurm:PARTITION" in str(refused.value.hint)
