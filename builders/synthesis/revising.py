"""What a model is asked about its own answer under a principle, and how it is told.

The answer and its critique stand between marks, as material: an answer that says what to do next
does not say it to the critic.

Invariant: pure; a critique and a revision are asked without the turns that follow them.
"""

from __future__ import annotations

from collections.abc import Sequence

from adapterworks.builders.data.rows import Message
from adapterworks.builders.endpoints.chat import Chat
from adapterworks.builders.endpoints.comparing import MATERIAL, compared, conversation, marked
from adapterworks.builders.synthesis.constitution import Principle
from adapterworks.manifests.digests import digest_json

_CRITIQUE = (
    "You are a critic of an answer that was given in a conversation. {said} Be specific and brief. "
    "If there is nothing to say against it, say so. {material}"
)
_REVISION = (
    "You write an answer anew that was given in a conversation. {said} Use the critique where it "
    "is right. Keep the language of the answer. Give the new answer alone, without a word about "
    "it, and without marks. {material}"
)
_PREFERENCE = (
    "You compare two answers to the same question. {said} Nothing else counts, neither the order "
    "nor the length of the answers. Say in one or two sentences what decides it, and end with a "
    "line that is exactly `Verdict: A`, `Verdict: B` or `Verdict: tie`. {material}"
)
_CRITIQUE_TOKENS = 512


def answering(prompt: Sequence[Message], tokens: int, temperature: float, seed: int) -> Chat:
    """Ask for a first answer."""
    return Chat(prompt, tokens, temperature=temperature, seed=seed)


def criticising(prompt: Sequence[Message], answer: str, principle: Principle) -> Chat:
    """Ask what a principle has against an answer."""
    return marked(_told(_CRITIQUE, principle.critique), _parts(prompt, answer), _CRITIQUE_TOKENS)


def revising(
    prompt: Sequence[Message], answer: str, critique: str, principle: Principle, tokens: int
) -> Chat:
    """Ask for the answer anew."""
    parts = [*_parts(prompt, answer), ("CRITIQUE", critique)]
    return marked(_told(_REVISION, principle.revision), parts, tokens)


def preferring(
    prompt: Sequence[Message], one: str, other: str, principles: Sequence[Principle]
) -> tuple[Chat, Chat]:
    """Ask which of two answers is better under principles, in both orders."""
    said = " ".join(principle.preference for principle in principles)
    parts = [("QUESTION", conversation(prompt))]
    return compared(_told(_PREFERENCE, said), parts, one, other)


def prompt_digest(principles: Sequence[Principle]) -> str:
    """`sha256:…` of all that is said to the models beside a row's own texts."""
    nothing: Message = {"role": "user", "content": ""}
    return digest_json(
        [
            [
                criticising([nothing], "", principle).fields(),
                revising([nothing], "", "", principle, 1).fields(),
            ]
            for principle in principles
        ]
        + [[chat.fields() for chat in preferring([nothing], "", "", principles)]]
    )


def _parts(prompt: Sequence[Message], answer: str) -> list[tuple[str, str]]:
    return [("CONVERSATION", conversation(prompt)), ("ANSWER", answer)]


def _told(task: str, said: str) -> str:
    return task.format(said=said, material=MATERIAL)
