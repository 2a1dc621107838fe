"""Fine-tuning methods: one file each, found through the closed table `METHODS`."""

from __future__ import annotations

from typing import Any

from adapterworks.builders.methods.adalora import Adalora
from adapterworks.builders.methods.dora import Dora
from adapterworks.builders.methods.full import Full
from adapterworks.builders.methods.lora import Lora
from adapterworks.builders.methods.p_tuning_v2 import PTuningV2
from adapterworks.builders.methods.prefix_tuning import PrefixTuning
from adapterworks.builders.methods.prompt_tuning import PromptTuning
from adapterworks.builders.methods.qlora import Qlora
from adapterworks.builders.methods.technique import Technique

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
