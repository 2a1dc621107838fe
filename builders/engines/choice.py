"""Which member answers: what the manifest says, or, where it leaves that open, by a measured rule.

Invariant: the candidate and what it is compared with are asked of the same member, so that no gain
is a difference between two engines.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from adapterworks.builders.engines.answers import Answers
from adapterworks.builders.engines.engine import Opener
from adapterworks.builders.engines.huggingface import MEMBER as REFERENCE
from adapterworks.builders.engines.huggingface import HuggingFace
from adapterworks.builders.engines.session import Session, Subject
from adapterworks.manifests.errors import InvalidInput, Refused

AUTO = "auto"
VLLM = "vllm"
GATEWAY = "gateway"


@dataclass(frozen=True, slots=True)
class Engines:
    """The members there are, and what they answered before; the composition root hands it in.

    Attributes:
        openers: by name; without more, the reference implementation alone.
        answers: None keeps nothing.
        wanted: a member to be asked whatever the manifest says.
    """

    openers: Mapping[str, Opener] = field(default_factory=lambda: {REFERENCE: HuggingFace()})
    answers: Answers | None = None
    wanted: str | None = None

    def check_build(self, manifests: str) -> None:
        """Whether what is being built could be asked of that engine, before it is trained.

        Args:
            manifests: `evaluate.engine`.

        Raises:
            Refused: a gateway, which serves what is published.
        """
        if (self.wanted or manifests) == GATEWAY:
            raise Refused(
                "a gateway cannot evaluate a build: it serves what is published, and nothing is "
                "published before it is evaluated",
                hint='build with `evaluate.engine = "vllm"`, or leave it out; '
                "`adapters eval REF --engine gateway` asks a gateway for a release",
            )

    def session(
        self,
        manifests: str,
        subjects: Sequence[Subject],
        *,
        tokens: int,
        say: Callable[[str], None] | None = None,
    ) -> Session:
        """A session with the member that answers.

        Args:
            manifests: `evaluate.engine`.
            subjects: those that are compared with each other.
            tokens: most that each of them may generate.
            say: told what is not asked of that member, and why.

        Raises:
            InvalidInput: there is no such member.
            Refused: a gateway that cannot answer for one of the subjects.
        """
        wanted = self.wanted or manifests
        if wanted != AUTO and wanted not in self.openers:
            raise InvalidInput(
                f"there is no engine `{wanted}` here",
                hint=f"the engines are {', '.join((AUTO, *sorted(self.openers)))}",
            )
        if wanted == AUTO:
            wanted = automatic(self.openers, device=_device(), tokens=tokens * len(subjects))
        reason = None
        if wanted != REFERENCE:
            opener = self.openers[wanted]
            reasons = (opener.refuses(one.model, one.adapter) for one in subjects)
            reason = next((one for one in reasons if one is not None), None)
        if reason is not None and wanted == GATEWAY:
            raise Refused(
                f"the gateway {reason}",
                hint='evaluate with `evaluate.engine = "vllm"` or "huggingface" instead',
            )
        if reason is not None:
            return Session(
                self.openers,
                REFERENCE,
                answers=self.answers,
                say=say,
                because=f"`{wanted}` {reason}",
            )
        return Session(self.openers, wanted, answers=self.answers, say=say)


# Below so many generated tokens a vLLM on a GPU has hardly come up when Hugging Face has answered:
# a minute, at some hundred tokens a second. Reckoned, not measured.
LEAST_TOKENS = 20_000


def automatic(openers: Mapping[str, Opener], *, device: str, tokens: int) -> str:
    """The member that is likely to be done first.

    On a CPU always the reference: a vLLM takes a minute to come up, then needs as long for the same
    answers of a small model and longer for likelihoods (`python -m bench.evaluation_engines`).

    Args:
        device: `cpu` or `cuda`.
        tokens: most that all subjects together may generate.
    """
    installed = VLLM in openers and importlib.util.find_spec("vllm") is not None
    return VLLM if installed and device == "cuda" and tokens >= LEAST_TOKENS else REFERENCE


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
