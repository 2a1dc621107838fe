"""Distillation: the divergence against TRL's own code and numbers by hand, and what is shown to
whom."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adapterworks.builders.data.rows import Row, chat
from adapterworks.builders.objectives import OBJECTIVES
from adapterworks.builders.objectives.distillation import Distillation, generalized_jsd
from adapterworks.builders.objectives.scores import Scores
from adapterworks.builders.objectives.sdft import TEMPLATE
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.load import check_manifest
from adapterworks.manifests.objective import objective_table
from tests.builders.objectives import formulas
from tests.builders.objectives.trl_parts import part
from tests.builders.workshop import Workshop

BETAS = (0.0, 0.1, 0.5, 0.9, 1.0)


def configured(kind: str = "distill", **settings: Any) -> Distillation:
    given = {"kind": kind, **({"teacher": "tiny@1"} if kind == "distill" else {}), **settings}
    made = OBJECTIVES[kind].configured(objective_table(kind).model_validate(given))
    assert isinstance(made, Distillation)
    return made


@pytest.fixture
def logits() -> tuple[torch.Tensor, torch.Tensor]:
    """[2 sequences, 5 places, 11 words] of student and teacher."""
    generator = torch.Generator().manual_seed(7)
    student, teacher = (3 * torch.randn(2, 5, 11, generator=generator).double() for _ in range(2))
    return student.requires_grad_(), teacher


@pytest.mark.parametrize("beta", BETAS)
def test_the_loss_and_every_gradient_are_trls(
    logits: tuple[torch.Tensor, torch.Tensor], beta: float
) -> None:
    """`generalized_jsd_loss`, with places that have no label."""
    student, teacher = logits
    trainer = part("experimental.gkd.gkd_trainer", "GKDTrainer")
    labels = torch.tensor([[-100, 3, 4, 5, -100], [1, 2, -100, -100, -100]])
    theirs = trainer.generalized_jsd_loss(student, teacher, labels, beta=beta)
    kept = labels != -100
    apart = configured(beta=beta).apart(student[kept], teacher[kept])
    scores = Scores(-torch.ones(5), torch.zeros(5, dtype=torch.long), 1, apart=apart)
    own = configured(beta=beta).losses(scores)
    assert own.count == 5
    mean = own.sum / own.count
    assert mean.item() == pytest.approx(theirs.item(), abs=1e-9)
    (mine,) = torch.autograd.grad(mean, student, retain_graph=True)
    torch.testing.assert_close(mine, *torch.autograd.grad(theirs, student), rtol=0, atol=1e-9)
    assert float(mine.abs().max()) > 1e-3, "nothing would have been compared"


@pytest.mark.parametrize("beta", BETAS)
def test_self_distillation_is_trls_of_whole_vocabularies(
    logits: tuple[torch.Tensor, torch.Tensor], beta: float
) -> None:
    student, teacher = logits
    whole = part("experimental.sdft.loss_utils", "compute_full_logit_self_distillation_loss")
    theirs = whole(student, teacher, distillation_alpha=beta)
    own = configured("sdft", beta=beta).apart(student.flatten(0, 1), teacher.flatten(0, 1))
    torch.testing.assert_close(own, theirs.flatten(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("beta", BETAS)
def test_the_divergence_is_the_papers(beta: float) -> None:
    student, teacher = np.array([0.7, 0.2, 0.1]), np.array([0.25, 0.25, 0.5])
    own = generalized_jsd(
        torch.tensor(student).log()[None], torch.tensor(teacher).log()[None], beta
    )
    assert own.item() == pytest.approx(formulas.generalized_jsd(student, teacher, beta), rel=1e-12)


def test_which_end_is_which_by_hand() -> None:
    """A teacher of two words, a student that says one of them alone: reverse KL forgives it ln 2,
    forward KL does not."""
    student, teacher = torch.tensor([[0.999, 0.001]]).log(), torch.tensor([[0.5, 0.5]]).log()
    reverse = 0.999 * math.log(0.999 / 0.5) + 0.001 * math.log(0.001 / 0.5)
    forward = 0.5 * math.log(0.5 / 0.999) + 0.5 * math.log(0.5 / 0.001)
    assert configured(beta=1.0).apart(student, teacher).item() == pytest.approx(reverse, rel=1e-4)
    assert configured(beta=0.0).apart(student, teacher).item() == pytest.approx(forward, rel=1e-4)
    assert reverse < math.log(2) < 2 < forward


def test_models_that_agree_are_not_apart(logits: tuple[torch.Tensor, torch.Tensor]) -> None:
    same = logits[1][0]
    for beta in BETAS:
        assert configured(beta=beta).apart(same, same + 4.0).abs().max() < 1e-9


def test_rows_of_a_vocabulary_that_no_token_has_are_left_out() -> None:
    """Sizes of one family are padded to different numbers."""
    student, teacher = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 2.0, 50.0, 60.0]])
    assert configured().apart(student, teacher).item() == pytest.approx(0.0, abs=1e-6)
    assert configured().apart(teacher, student).item() == pytest.approx(0.0, abs=1e-6)


@pytest.fixture(scope="module")
def tokenizer(tiny: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny)


def texts(tokenizer: Any, objective: Distillation, row: Row, longest: int = 64) -> list[str]:
    """What student and teacher are shown, the answer behind a bar."""
    ((student, teacher),) = [
        e.sequences for e in objective.encode(tokenizer, [row], longest, "all")
    ]
    found = []
    for one in (student, teacher):
        learnt = [place for place, label in enumerate(one.labels) if label != -100]
        assert learnt == [*range(learnt[0], len(one.labels))]
        assert one.labels[learnt[0] :] == one.input_ids[learnt[0] :]
        before, after = one.input_ids[: learnt[0]], one.input_ids[learnt[0] :]
        found.append(f"{tokenizer.decode(before)}|{tokenizer.decode(after)}")
    return found


def test_a_teacher_has_a_system_message_of_its_own(tokenizer: Any) -> None:
    told = configured(teacher="base", teacher_system="Say A", lmbda=0.5)
    plain = chat("case 1", "A1")
    asked = replace(plain, messages=({"role": "system", "content": "Be brief"}, *plain.messages))
    student, teacher = texts(tokenizer, told, asked)
    assert student == "<s>system Be brief</s><s>user case 1</s><s>assistant |A1</s>"
    assert teacher == "<s>system Say A</s><s>user case 1</s><s>assistant |A1</s>"
    assert texts(tokenizer, configured(lmbda=0.5), asked) == [student, student]
    # Where all is sampled, the row's own answer is not learnt: its first token marks the place.
    assert texts(tokenizer, configured(), asked) == [student.removesuffix("1</s>")] * 2


def test_a_teacher_of_oneself_is_shown_the_answer(tokenizer: Any) -> None:
    """In place of the last user turn, in the authors' words; what looks like a slot in a text is
    none."""
    asked = chat("{demonstration}?", "{question}!")
    student, teacher = texts(tokenizer, configured("sdft"), asked)
    assert student == "<s>user {demonstration}?</s><s>assistant |{"
    said = (
        "{demonstration}?\n\nThis is an example for a response to the question:\n{question}!\n\n"
        "Now answer with a response of your own, including the thinking process."
    )
    assert teacher == f"<s>user {said}</s><s>assistant |{{"
    assert TEMPLATE.startswith("{question}\n\n")
    own = configured("sdft", template="{demonstration} was said to {question}")
    assert texts(tokenizer, own, chat("q", "a"))[1].startswith("<s>user a was said to q</s>")


def test_an_answer_that_is_cut_is_cut_for_both_and_the_teachers_prompt_is_not(
    tokenizer: Any,
) -> None:
    asked = chat("q" * 40, "a" * 30)
    student, teacher = texts(tokenizer, configured(lmbda=0.5), asked, longest=32)
    assert student.rpartition("|")[2] == teacher.rpartition("|")[2] == "a" * 24
    assert "q" * 40 in teacher
    assert "q" * 40 not in student
    # One that is never learnt takes no room.
    student, teacher = texts(tokenizer, configured("sdft"), asked, longest=80)
    assert student.rpartition("|")[2] == teacher.rpartition("|")[2] == "a"
    assert "q" * 40 in student


@pytest.mark.parametrize(
    "row",
    [
        Row(({"role": "tool", "content": "42"}, {"role": "assistant", "content": "a"})),
        Row(({"role": "user", "content": "q"}, {"role": "assistant", "content": " "})),
    ],
)
def test_rows_without_a_demonstration_are_refused(tokenizer: Any, row: Row) -> None:
    with pytest.raises(InvalidInput, match="row 3 has no question with an answer in words"):
        configured("sdft").encode(tokenizer, [row.with_meta(row=3)], 64, "completion")


def test_what_is_planned_is_the_longest_answer_and_the_teachers_prompt(tokenizer: Any) -> None:
    asked = chat("question", "an answer of its own")
    for settings, most in (({}, 9), ({"lmbda": 0.5}, 21), ({"lmbda": 0.0}, 21)):
        objective = configured(max_completion=9, teacher_system="s" * 50, **settings)
        (example,) = objective.encode(tokenizer, [asked], 64, "completion")
        student, teacher = example.sequences
        shown, taught = student.labels.count(-100), teacher.labels.count(-100)
        assert taught == shown + 50 + len("system ") + 2, "a token a byte, and one a mark"
        assert objective.planned_supervised(example) == most
        assert objective.planned_tokens(example) == shown + most
        assert objective.planned_longest(example) == taught + most


def test_what_is_held_beside_the_model() -> None:
    assert configured().held(1000) == 0
    assert configured("sdft").held(1000) == 4000
    assert configured("sdft", teacher_rate=1.0).held(1000) == 0


def test_an_answer_counts_its_tokens_and_nothing_else_is_learnt_of_a_row() -> None:
    objective = configured()
    assert objective.count(7) == 7.0
    assert objective.takes == {"conversation"}
    assert (objective.rollouts, objective.compares, objective.reference) == (True, True, False)
    assert (objective.reports, objective.unit) == ("loss", "nats a token")
    assert objective.learning_rate.value == 0.5


@pytest.mark.parametrize(
    ("table", "key", "said"),
    [
        ('kind = "distill"', "objective.teacher", "nothing says who teaches"),
        (
            'kind = "distill"\nteacher = "a@1"\nteacher_base = "b"',
            "objective.teacher",
            "there are two teachers",
        ),
        ('kind = "distill"\nteacher = "base"', "objective.teacher", "nothing to teach it"),
        ('kind = "distill"\nteacher = "a@b@c"', "objective.teacher", "is not a"),
        ('kind = "distill"\nteacher_base = "./x"', "objective.teacher_base", "is a folder"),
        (
            'kind = "distill"\nteacher = "a@1"\nlmbda = 0.0\ngenerations = 2',
            "objective.generations",
            "nothing is sampled",
        ),
        (
            'kind = "distill"\nteacher = "a@1"\nbeta = 1.5',
            "objective.beta",
            "a number of at most 1",
        ),
        ('kind = "distill"\nteacher = "a@1"\nrewards = ["chrf"]', "objective.rewards", "no key"),
        (
            'kind = "distill"\nteacher = "a@1"\n[objective.alarms]\nkl = 1.0',
            "objective.alarms.kl",
            "no reference",
        ),
        ('kind = "sdft"\ntemplate = "{question}"', "objective.template", "no `{demonstration}`"),
        ('kind = "sdft"\nteacher = "a@1"', "objective.teacher", "no key"),
    ],
)
def test_what_means_nothing_is_a_fault(workshop: Workshop, table: str, key: str, said: str) -> None:
    path = workshop.manifest(more=f"[objective]\n{table}\n")
    ((found, message),) = [(fault.key, fault.message) for fault in check_manifest(path)[1]]
    assert found == key
    assert said in message


@pytest.mark.parametrize(
    "table",
    [
        'kind = "distill"\nteacher = "big@1"\nbeta = 0.5\nlmbda = 0.5\ngenerations = 2',
        'kind = "distill"\nteacher = "base"\nteacher_system = "You know all codes: A0 to A6."',
        'kind = "distill"\nteacher_base = "smollm2-135m-instruct"',
        'kind = "distill"\nteacher = "base"\n[start]\nfrom = "tiny@1"',
        'kind = "sdft"',
        'kind = "sdft"\nteacher_rate = 1.0\ntemplate = "{demonstration}\\n{question}"',
    ],
)
def test_manifests_that_say_who_teaches_are_whole(workshop: Workshop, table: str) -> None:
    assert check_manifest(workshop.manifest(more=f"[objective]\n{table}\n"))[1] == ()
