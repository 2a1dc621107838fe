"""The proof of an export: the engine that it is for gives the release's answers.

Five things are compared with the release itself, computed by Hugging Face and PEFT in float32:
distributions at the fingerprint's positions, greedy answers, what ends an answer, token ids of
texts, and the chat template's text. Invariant: everything that would make an export speak
gibberish, or not stop, moves one of these: a permuted weight or a lost scale the distributions, a
wrong pre-tokenizer the ids, a template the text.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from adapterworks.builders.exports.material import Material
from adapterworks.builders.exports.readers.reader import (
    Distribution,
    Reader,
    Talk,
    Unrendered,
)
from adapterworks.builders.exports.readers.reference import Reference
from adapterworks.manifests.errors import Refused

TOP = 20
ANSWER = 24
# The reader is asked for more than is compared, since its order may differ.
_ASKED = 400
_FLOOR = math.log(1e-9)
_GENERAL = (
    "The library opens at nine in the morning and closes when the last reader has gone home.",
    "def fibonacci(n):\n    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n",
)
# What tokenizers and pre-tokenizers disagree on: digits, spaces, scripts, contractions, controls.
_TEXTS = (
    "In 2024 there were 1234567 cases, 3.14 % more (+ 42).",
    "It's they'll WE'RE  two spaces\t tab\n\n  indented\n",
    "def f(x):\n    return x**2  # ² naïve façade",
    "病历编号 A12，患者主诉头痛三天。",
    "Größe, señor, Ελλάδα, привет, שלום, नमस्ते 🙂👩‍⚕️",
)
# As a Mac writes names of files, Vietnamese keyboards their vowels, and Hangul comes in letters.
_DECOMPOSED = unicodedata.normalize("NFD", "naïve façade, tiếng Việt, Größe, 한국어")
# The first that the release's template takes: Gemma's refuses a system turn, others a second one.
TALKS = (
    (
        {"role": "system", "content": "Answer in one word."},
        {"role": "user", "content": "Is 7 prime?  Say so.\n"},
        {"role": "assistant", "content": "Yes"},
        {"role": "user", "content": "And 8?"},
    ),
    (
        {"role": "user", "content": "Is 7 prime?  Say so.\n"},
        {"role": "assistant", "content": "Yes"},
        {"role": "user", "content": "And 8?"},
    ),
    ({"role": "user", "content": "Is 7 prime?  Say so.\n"},),
)


@dataclass(frozen=True, slots=True)
class Bound:
    """What a type of numbers may cost.

    Attributes:
        divergence: mean Kullback–Leibler divergence from the release, in nats a token.
        margin: nats within which two tokens are as likely as each other, for greedy answers; None
            where rounding is expected to change some.
    """

    divergence: float
    margin: float | None


# Measured on SmolLM2-135M (docs/log/exports-and-imports.md), with room: rounding grows with
# depth. Those of `q5_k_m` and `q4_k_m` are set between their neighbours.
BOUNDS = {
    "f32": Bound(1e-4, 0.01),
    "f16": Bound(1e-3, 0.05),
    "bf16": Bound(2e-2, None),
    "q8_0": Bound(2e-2, None),
    "q6_k": Bound(0.1, None),
    "q5_k_m": Bound(0.3, None),
    "q4_k_m": Bound(0.5, None),
    "q4_0": Bound(1.0, None),
    # Blocks of 32 with one scale, as q8_0 and q4_0.
    "int8": Bound(2e-2, None),
    "int4": Bound(1.0, None),
}


@dataclass(frozen=True, slots=True)
class Proof:
    """What was compared, and what it came to.

    Attributes:
        positions: distributions that were compared.
        divergence: mean of Σ p·ln(p/q) over the release's `TOP` likeliest tokens and all others
            as one: at most the full divergence, in nats.
        worst: the largest of these.
        base_divergence: of the base without the adapter, on the same positions; None for a model of
            its own.
        same_answers: greedy answers that are the same, up to ties within the bound's margin.
        ends: ids that end an answer of the release.
        same_ends: those of them after which the engine says nothing more.
        same_texts: texts that have the same token ids.
        template: whether a talk has the same text; None for a release without a template, and for
            a file that has none itself.
        composes: whether a text in decomposed characters has the same token ids too. llama.cpp
            composes none, Qwen's tokenizer all: that is said, not refused.
    """

    engine: str
    version: str
    type: str
    positions: int
    divergence: float
    worst: float
    base_divergence: float | None
    answers: int
    same_answers: int
    ends: int
    same_ends: int
    texts: int
    same_texts: int
    template: bool | None
    composes: bool = True

    def to_json(self) -> dict[str, Any]:
        """For the log."""
        return asdict(self)


def prove(
    reader: Reader, material: Material, type_: str, say: Callable[[str], None] = lambda line: None
) -> Proof:
    """Compare an engine's answers with the release's.

    Raises:
        Refused: they are not the release's; says which comparison failed, and by how much.
    """
    model = material.reference()
    reference = Reference(model, material.checkpoint)
    base = reference.base() if material.lora else None
    probes = _probes(material, reference)
    bound = BOUNDS[type_]
    talk = _talk(reference)
    # The talk has the template's control tokens.
    texts = _TEXTS if talk is None else (*_TEXTS, talk[1])
    same_texts = sum(reader.tokenize(text) == reference.tokenize(text) for text in texts)
    template = None if talk is None else renders(reader, *talk)
    say(f"comparing {sum(len(p) for _, p in probes)} distributions in {reader.name}")
    found: list[float] = []
    of_base: list[float] = []
    for ids, positions in probes:
        wanted = reference.next_tokens(ids, positions, TOP)
        for position, likely in zip(positions, wanted, strict=True):
            found.append(divergence(likely, reader.next_token(ids[:position], _ASKED)))
        if base is not None:
            without = base.next_tokens(ids, positions, _ASKED)
            of_base.extend(map(divergence, wanted, without))
    prompts = [ids[: positions[-1]] for ids, positions in probes]
    say(f"comparing {len(prompts)} greedy answers")
    same = sum(_same_answer(reader, reference, prompt, bound.margin or 0.0) for prompt in prompts)
    same_ends = sum(reader.ends_with(prompts[0], token) for token in reference.ends)
    proof = Proof(
        engine=reader.name,
        version=reader.version,
        type=type_,
        positions=len(found),
        divergence=_mean(found),
        worst=max(found),
        base_divergence=_mean(of_base) if of_base else None,
        answers=len(prompts),
        same_answers=same,
        ends=len(reference.ends),
        same_ends=same_ends,
        texts=len(texts),
        same_texts=same_texts,
        template=template,
        composes=reader.tokenize(_DECOMPOSED) == reference.tokenize(_DECOMPOSED),
    )
    judge(proof, bound)
    return proof


def judge(proof: Proof, bound: Bound) -> None:
    """Refuse what is not the release.

    Raises:
        Refused: names the first comparison that failed, and by how much.
    """
    if proof.same_texts < proof.texts:
        raise Refused(
            f"{proof.engine} splits {proof.texts - proof.same_texts} of {proof.texts} texts into "
            "other tokens than the release's tokenizer"
        )
    if proof.template is False:
        raise Refused(f"{proof.engine} renders the chat template to another text")
    if proof.same_ends < proof.ends:
        raise Refused(
            f"{proof.engine} goes on after {proof.ends - proof.same_ends} of {proof.ends} tokens "
            "that end an answer of the release"
        )
    if not proof.divergence <= bound.divergence:
        raise Refused(
            f"{proof.engine} gives other distributions: {proof.divergence:.2g} nats from the "
            f"release on average, at most {bound.divergence:g} is expected of {proof.type}"
        )
    if proof.base_divergence is not None and proof.divergence > proof.base_divergence / 2:
        raise Refused(
            f"{proof.engine} is {proof.divergence:.2g} nats from the release, and the base without "
            f"the adapter {proof.base_divergence:.2g}: as {proof.type} the adapter cannot be told "
            "from none",
            hint="use a type of higher precision",
        )
    if bound.margin is not None and proof.same_answers < proof.answers:
        raise Refused(
            f"{proof.answers - proof.same_answers} of {proof.answers} greedy answers differ from "
            "the release's"
        )


def divergence(wanted: Distribution, given: Distribution) -> float:
    """Σ p·ln(p/q) in nats over the tokens of `wanted`, and over all others together.

    A token that `given` does not have is taken to be as likely as nothing (1e-9).
    """
    total = 0.0
    for token, log_p in wanted.items():
        total += math.exp(log_p) * (log_p - max(given.get(token, _FLOOR), _FLOOR))
    p = 1 - sum(math.exp(value) for value in wanted.values())
    q = 1 - sum(math.exp(given.get(token, _FLOOR)) for token in wanted)
    if p > 1e-9:
        total += p * (math.log(p) - math.log(max(q, 1e-9)))
    return total


def _same_answer(
    reader: Reader, reference: Reference, prompt: Sequence[int], margin: float, count: int = ANSWER
) -> bool:
    """Whether both continue a prompt alike and end alike; what follows a tie is not compared.

    The release's own answer is that of the engine up to the first token that it would not give: it
    is asked once what it would say after each of them.
    """
    given = reader.greedy(prompt, count)
    lengths = range(len(prompt), len(prompt) + len(given) + 1)
    for index, likely in enumerate(reference.next_tokens([*prompt, *given], lengths, TOP)):
        if index == count:
            break  # both were cut
        token = next(iter(likely))
        if index == len(given):  # it ended: engines do not say by which token
            return token in reference.control or token in reference.ends
        if given[index] != token:
            return likely[token] - likely.get(given[index], -math.inf) <= margin
        if token in reference.ends:  # an engine that goes on after the end has another answer
            return index == len(given) - 1
    return True


def _talk(reference: Reference) -> tuple[Talk, str] | None:
    """A talk that the release's template takes, and its text; None for a model without a template.

    Raises:
        Refused: it takes none.
    """
    if not reference.has_template:
        return None
    why = ""
    for talk in TALKS:
        try:
            return talk, reference.render(talk)
        except Unrendered as error:
            why = str(error)
    raise Refused(
        f"its chat template refuses every talk that is tried, a question alone too: {why}",
        hint="give its base another one: `base.chat_template`",
    )


def renders(reader: Reader, talk: Talk, text: str) -> bool:
    """Whether an engine renders a talk to this text; one that refuses the talk does not."""
    try:
        return reader.render(talk) == text
    except Unrendered:
        return False


def _probes(material: Material, reference: Reference) -> list[tuple[list[int], list[int]]]:
    """Token ids and positions of the fingerprint; of fixed prose, where that is not here."""
    if material.fingerprint is not None:
        probes = material.fingerprint["probes"]
        return [(list(p["token_ids"]), list(p["positions"])) for p in probes]
    texts = [reference.tokenize(text) for text in _GENERAL]
    return [(ids, list(range(2, len(ids), 3))) for ids in texts]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
