"""What the three soft-prompt methods share: virtual tokens, and PEFT's configuration of them.

Invariant: the base's own weights are frozen; only what stands in front of the sequence is trained.
"""

from __future__ import annotations

from builders.methods.technique import Lint
from builders.shape import BaseShape
from manifests.models import PromptMethod


def key_value_width(shape: BaseShape) -> int:
    """Numbers of one virtual token in one layer's keys (or values), as PEFT sizes them for GQA."""
    return shape.kv_heads * shape.head_dim


def soft_prompt_lints(table: PromptMethod) -> list[Lint]:
    """Unusual lengths."""
    if table.virtual_tokens > 150:
        return [
            Lint(
                "method.virtual_tokens",
                f"{table.virtual_tokens} virtual tokens; gains level off above 20–100",
                "Lester et al. 2021, figure 3b; Li & Liang 2021, figure 4",
            )
        ]
    return []
