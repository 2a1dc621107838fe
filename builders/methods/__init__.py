"""Fine-tuning methods: one file each, found through the closed table `METHODS`."""

from __future__ import annotations

from typing import Any

from builders.methods.adalora import Adalora
from builders.methods.dora import Dora
from builders.methods.full import Full
from builders.methods.lora import Lora
from builders.methods.p_tuning_v2 import PTuningV2
from builders.methods.prefix_tuning import PrefixTuning
from builders.methods.prompt_tuning import PromptTuning
from builders.methods.qlora import Qlora
from builders.methods.technique import Technique

METHODS: dict[str, Technique[Any]] = {
    technique.kind: technique
    for technique in (
        Full(),
        Lora(),
        Qlora(),
        Adalora(),
        Dora(),
        PrefixTuning(),
        PromptTuning(),
        PTuningV2(),
    )
}
