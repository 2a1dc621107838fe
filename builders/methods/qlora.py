"""QLoRA (Dettmers et al. 2023, arXiv:2305.14314): LoRA on a base stored in 4-bit NormalFloat.

Invariant: the adapter differs from LoRA's only in the base it was trained on; it must be served on
the same values (`Base.served`), which the release's base digest pins.
"""

from __future__ import annotations

from adapterworks.builders.methods.lora import Lora
from adapterworks.builders.methods.technique import Default


class Qlora(Lora):
    """LoRA whose frozen base is NF4 with double quantization."""

    kind = "qlora"
    title = "LoRA on an NF4 base"
    source = "Dettmers et al. 2023, arXiv:2305.14314"
    learning_rate = Default(2e-4, "Dettmers et al. 2023, table 9 (7B and 13B)")
