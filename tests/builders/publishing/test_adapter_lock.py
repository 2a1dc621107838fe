"""What a lock's code digest covers: all that turns rows into weights, and nothing else."""

from __future__ import annotations

from adapterworks.builders.publishing.adapter_lock import training_sources


def test_the_digest_covers_what_turns_rows_into_weights() -> None:
    covered = set(training_sources())
    assert {
        "data/render.py",
        "data/gates/near_duplicates.py",
        "methods/lora.py",
        "methods/prompt_cache.py",
        "methods/factors.py",
        "objectives/sft.py",
        "objectives/scoring.py",
        "training/loop.py",
        "training/shared_prefix.py",
    } <= covered
    assert not {
        path for path in covered if path.startswith(("evaluation/", "publishing/", "plan/"))
    }
