"""Which engines builders may ask: the one place where they are put together."""

from __future__ import annotations

from collections.abc import Callable

from adapterworks.app import App
from adapterworks.builders.engines.answers import Answers, answers_folder
from adapterworks.builders.engines.choice import GATEWAY, VLLM, Engines
from adapterworks.builders.engines.huggingface import MEMBER as REFERENCE
from adapterworks.builders.engines.huggingface import HuggingFace
from adapterworks.engines.gateway import GatewayOpener
from adapterworks.engines.vllm import Vllm


def compose_builders_engines(
    app: App, *, wanted: str | None = None, say: Callable[[str], None] | None = None
) -> Engines:
    """All members there are, with what they answered before; starts and asks none.

    Args:
        wanted: a member to be asked whatever the manifest says.
        say: told how far an engine is that starts.
    """
    settings = app.settings
    return Engines(
        openers={
            REFERENCE: HuggingFace(),
            VLLM: Vllm(settings.home / "run", say),
            GATEWAY: GatewayOpener(settings.gateway, settings.gateway_key),
        },
        answers=Answers(answers_folder(settings.home)),
        wanted=wanted,
    )
