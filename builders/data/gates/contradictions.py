"""One question with several answers: whatever is learnt from one row is unlearnt from another.

Questions and answers are compared without case, spacing and punctuation, the system turn included;
what they call is compared exactly.
Offending are the rows that do not give the most frequent answer; without a single most frequent
one, all rows of the question. Dropping leaves one answer to each question, or none.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from adapterworks.builders.data.gates.gate import Gate
from adapterworks.builders.data.gates.report import Context, Finding, Rows, number, offence
from adapterworks.builders.data.gates.text import calls, hashed, normalise


def check(rows: Rows, threshold: float, context: Context) -> Finding:
    """Measured: number of training questions with several answers."""
    train = rows["train"]
    groups: dict[bytes, list[int]] = defaultdict(list)
    for index, row in enumerate(train):
        # Of pairs, see `contradictory_pairs.py`; a bad answer beside a good one is what is meant.
        if row.text is None and not row.others and not row.scores:
            groups[hashed(*map(normalise, row.prompt))].append(index)
    offences, questions = [], 0
    for members in groups.values():
        answers = {index: normalise(train[index].messages[-1]) for index in members}
        ranking = Counter(answers.values()).most_common(2)
        if len(ranking) < 2:
            continue
        questions += 1
        usual = ranking[0][0] if ranking[0][1] > ranking[1][1] else None
        for index in members:
            if answers[index] != usual:
                other = next(i for i in members if answers[i] != answers[index])
                if usual is not None:
                    other = next(i for i in members if answers[i] == usual)
                last = train[other].messages[-1]
                given = " ".join(" ".join((last["content"], *calls(last))).split())[:60]
                reason = f"row {number(train[other], other)} answers the same with `{given}`"
                offences.append(offence("train", index, train[index], reason))
    offences.sort(key=lambda found: found.index)
    return Finding(tuple(offences), float(questions))


GATE = Gate(
    name="contradictions",
    description="One question with several answers.",
    check=check,
)
