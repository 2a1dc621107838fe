"""What LoRA's factors start from: one file each, found by name."""

from __future__ import annotations

from typing import Literal

from adapterworks.builders.methods.inits.eva import EVA
from adapterworks.builders.methods.inits.gaussian import GAUSSIAN
from adapterworks.builders.methods.inits.init import Init
from adapterworks.builders.methods.inits.kaiming import KAIMING
from adapterworks.builders.methods.inits.loftq import LOFTQ
from adapterworks.builders.methods.inits.olora import OLORA
from adapterworks.builders.methods.inits.orthogonal import ORTHOGONAL
from adapterworks.builders.methods.inits.pissa import PISSA

InitName = Literal["kaiming", "gaussian", "orthogonal", "pissa", "olora", "eva", "loftq"]
INITS: dict[str, Init] = {
    init.name: init for init in (KAIMING, GAUSSIAN, ORTHOGONAL, PISSA, OLORA, EVA, LOFTQ)
}
