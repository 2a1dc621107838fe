"""Gates on a data set with ten planted faults, in English and in Chinese: each one, by its line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from transformers import PreTrainedTokenizerBase

from adapterworks.builders.data.assemble import assemble
from adapterworks.builders.data.gates.hashed import Documents, common_shingles, within
from adapterworks.builders.data.gates.report import SPLITS, Context, Finding
from adapterworks.builders.data.gates.run import GATES, GateResults, check_rows, judge
from adapterworks.builders.data.gates.text import shingles
from adapterworks.builders.data.gather import gather
from adapterworks.builders.data.load import Splits
from adapterworks.builders.data.rows import Row, chat
from adapterworks.builders.data.wording import alike, words
from adapterworks.cli.main import cli
from adapterworks.manifests.data_gates import DataGate, DataGates, standard_gates
from adapterworks.manifests.errors import Refused
from adapterworks.manifests.load import load_manifest
from tests.builders.data.planted import Pair, Planted, chinese, english, plant

# In parts, so that this file is no finding of a secret scanner.
AWS_KEY = "AKIA" + "Z7Q2MX4PLT9WRV3B"
GITHUB_TOKEN = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
PASSWORD = "Tr0ub4dor" + "&3xyz"

LONG = (
    "After the migration of last spring several regional offices noticed that invoices created "
    "before noon were archived twice while those created in the evening never reached the "
    "archive at all, which led to a long discussion between accounting, operations and the two "
    "vendors about who should correct historical entries and who would pay for the effort, and "
    "now the board wants one page that explains everything in plain words"
)
LONG_CHINESE = (
    "去年春天迁移以后几个地区办事处发现中午以前生成的单据被归档了两次而晚上生成的单据根本没有进入档案库"
    "这在财务部运营部和两家供应商之间引起了长时间的讨论大家争论应该由谁来更正历史记录以及由谁来承担费用"
    "现在董事会希望得到一页纸用最简单的话把整件事情的来龙去脉说清楚"
)


@pytest.fixture
def english_set(tmp_path: Path) -> Planted:
    rows = [*english(), (LONG + ".", "Team archive")]
    return plant(
        tmp_path,
        "en",
        rows,
        {
            "exact_duplicates": [rows[3]],
            "near_duplicates": [(LONG.replace(" plain ", " simple ") + "!", "Team archive")],
            "contradictions": [("Who owns the tall coffee machine?", "Team A"),
                               ("who owns the tall coffee machine", "Team B")],
            "empty_supervision": [("Who repairs the lift in the east wing?", "  "),
                                  ("Who repairs the lift in the west wing?", "NaN")],
            "truncated_supervision": [("List every number you know.",
                                       " ".join(str(n) for n in range(200)))],
            "length_outliers": [("What does this say? " + "lorem ipsum dolor " * 600, "Nothing")],
            "language": [("Wer kümmert sich um die Heizung im dritten Stock des Gebäudes?",
                          "Das macht die Gruppe Haustechnik.")],
            "personal_data": [("Write to jane.doe@acme-corp.com about the lamp.", "Team lamp"),
                              ("Call +1 650-253-0000 about the blue chair.", "Team chair"),
                              ("The card 4111 1111 1111 1111 was declined twice.", "Team card"),
                              ("Transfer it to DE89 3704 0044 0532 0130 00 now.", "Team bank"),
                              ("Her SSN is 536-90-4399 according to the form.", "Team people")],
            "secrets": [(f"Upload fails with key {AWS_KEY} since Monday.", "Team cloud"),
                        (f"The pipeline uses {GITHUB_TOKEN} to clone.", "Team git"),
                        (f'In config.py it says password = "{PASSWORD}" in clear.', "Team config"),
                        (f"It connects to postgres://app:{PASSWORD}@db/main at night.", "Team db")],
        },
        leak=(rows[7][0].upper().rstrip("."), rows[7][1]),
    )  # fmt: skip


@pytest.fixture
def chinese_set(tmp_path: Path) -> Planted:
    rows = [*chinese(), (LONG_CHINESE + "。", "档案组")]
    return plant(
        tmp_path,
        "zh",
        rows,
        {
            "exact_duplicates": [rows[3]],
            "near_duplicates": [(LONG_CHINESE.replace("简单", "朴素") + "!", "档案组")],
            "contradictions": [("东侧楼梯的灯由谁负责?", "甲组"),
                               ("东侧楼梯的灯,由谁负责", "乙组")],
            "empty_supervision": [("三楼的电梯由谁来维修?", "\u3000")],
            "truncated_supervision": [("请写出你知道的所有数字。", "一二三四五六七八九十" * 30)],
            "length_outliers": [("这段话是什么意思?" + "天地玄黄宇宙洪荒" * 400, "没有意思")],
            "language": [("Who is responsible for the heating on the third floor?",
                          "The people of the facility group take care of it.")],
            "personal_data": [("客户的手机号是13812345678,请尽快联系。", "客服组"),
                              ("身份证号11010519491231002X已经登记。", "人事组"),
                              ("请发邮件到zhang.wei@公司.cn索取合同。", "合同组")],
            "secrets": [(f"服务器的密码是{PASSWORD},请不要外传。", "运维组")],
        },
        leak=(rows[7][0].replace("。", "?"), rows[7][1]),
    )  # fmt: skip


def found(results: GateResults, gate: str) -> set[tuple[str, int]]:
    (report,) = [report for report in results.reports if report.name == gate]
    return {(offence.split, offence.row) for offence in report.rows}


@pytest.mark.parametrize("name", ["english_set", "chinese_set"])
def test_ten_planted_faults_are_all_reported_by_row(
    name: str, request: pytest.FixtureRequest, tokenizer: PreTrainedTokenizerBase
) -> None:
    planted: Planted = request.getfixturevalue(name)
    manifest = load_manifest(planted.manifest)
    results = judge(gather(manifest), manifest, tokenizer)
    assert len(planted.faults) == 10
    for gate, rows in planted.faults.items():
        assert found(results, gate) >= rows, gate
    # No ordinary row is blamed.
    for report in results.reports:
        blamed = {o.row for o in report.rows if o.split == "train" and o.row <= planted.clean}
        assert blamed == set(), report.name
        assert not [o for o in report.rows if o.split == "test" and o.row == 1], report.name
    assert all(o.reason and o.excerpt for report in results.reports for o in report.rows)
    # Exact repetitions are dropped by default.
    assert results.dropped == 1
    assert len(results.splits.train) == len(gather(manifest).train) - 1


def test_reports_never_repeat_secrets_or_personal_data(
    english_set: Planted, tokenizer: PreTrainedTokenizerBase
) -> None:
    manifest = load_manifest(english_set.manifest)
    results = judge(gather(manifest), manifest, tokenizer)
    shown = json.dumps(
        [r.to_json() for r in results.reports if r.name in ("secrets", "personal_data")],
        ensure_ascii=False,
    )
    for value in (AWS_KEY, GITHUB_TOKEN, PASSWORD, "jane.doe", "650-253", "4111", "DE89", "536-90"):
        assert value not in shown
    assert "‹e-mail address›" in shown
    assert "‹secret›" in shown


def test_the_same_rows_give_the_same_reports(english_set: Planted) -> None:
    manifest = load_manifest(english_set.manifest)
    first = judge(gather(manifest), manifest)
    second = judge(gather(manifest), manifest)
    assert first.to_json() == second.to_json()
    assert first.splits.digest == second.splits.digest


def test_a_failing_gate_refuses_and_lists_its_rows(english_set: Planted) -> None:
    manifest = load_manifest(english_set.manifest, overrides=['data.gates.secrets.action="fail"'])
    (first, *_) = sorted(english_set.faults["secrets"])
    with pytest.raises(Refused) as caught:
        assemble(manifest)
    assert "data gate `secrets` refuses 4 rows" in caught.value.message
    assert f"train row {first[1]}: AWS Access Key" in caught.value.message
    assert AWS_KEY not in caught.value.message
    dropped = load_manifest(english_set.manifest, overrides=['data.gates.secrets.action="drop"'])
    texts = " ".join(row.question for row in assemble(dropped).splits.train)
    assert AWS_KEY not in texts
    assert LONG in texts


def test_a_gate_that_is_off_does_not_run(english_set: Planted) -> None:
    manifest = load_manifest(english_set.manifest, overrides=["data.gates.secrets.on=false"])
    assert "secrets" not in [r.name for r in judge(gather(manifest), manifest).reports]


def test_the_table_has_every_gate_of_the_manifest() -> None:
    assert tuple(GATES) == tuple(standard_gates().root)


def run(gate: str, threshold: float = 0.0, **splits: list[Row]) -> Finding:
    rows = {split: splits.get(split, []) for split in SPLITS}
    return GATES[gate].check(rows, threshold, Context())


def rows_of(pairs: list[Pair]) -> list[Row]:
    return [chat(question, answer) for question, answer in pairs]


def test_class_balance_names_the_surplus_and_dropping_it_restores_the_share() -> None:
    rows = [chat(f"Question {i} about thing {i * 7}?", "yes") for i in range(80)]
    rows += [chat(f"Another {i} of kind {i * 3}?", f"class {i % 4}") for i in range(20)]
    finding = run("class_balance", 0.5, train=rows)
    assert finding.measured == 0.8
    assert len(finding.offences) == 60
    assert {rows[o.index].answer for o in finding.offences} == {"yes"}
    gates = DataGates(class_balance=DataGate(threshold=0.5, action="drop"))
    splits = Splits(tuple(rows), (), (), ())
    left = check_rows(splits, gates, Context()).splits.train
    assert sum(row.answer == "yes" for row in left) == len(left) / 2 == 20
    free_text = [chat(f"Question {i}?", f"Answer {i}") for i in range(10)]
    assert run("class_balance", 0.1, train=free_text).offences == ()


def test_contradictions_spare_the_usual_answer_and_mind_the_whole_conversation() -> None:
    train = rows_of(
        [("Is it on?", "Yes"), ("is it on", "yes!"), ("Is it on?", "No"), ("Off?", "No")]
    )
    finding = run("contradictions", train=train)
    assert [o.index for o in finding.offences] == [2]
    assert "row 1" in finding.offences[0].reason
    earlier = replace(
        train[2],
        messages=(
            {"role": "user", "content": "Look at lamp B"},
            {"role": "assistant", "content": "I see"},
            *train[2].messages,
        ),
    )
    assert run("contradictions", train=[*train[:2], earlier]).offences == ()
    # Signs are answers too, although they are not words.
    assert len(run("contradictions", train=rows_of([("7?", "+"), ("7?", "-")])).offences) == 2


def test_a_common_template_is_neither_contamination_nor_near_duplication() -> None:
    template = "Give the ICD-10-CM category for the following clinical term, and nothing else: "
    terms = ["typhoid fever", "amebic balanitis", "acute myocarditis", "cat scratch", "gout",
             "measles", "brucella sepsis", "lyme arthritis", "mumps", "rabies"]  # fmt: skip
    train = rows_of([(template + term, "X") for term in terms])
    test = rows_of([(template + term, "X") for term in ("typhoid", "scarlet fever", "Gout.")])
    assert [o.index for o in run("contamination", 0.8, train=train, test=test).offences] == [2]
    assert run("near_duplicates", 0.8, train=train).offences == ()


def test_a_question_that_is_nothing_but_template_leaks_only_as_a_whole() -> None:
    question = "Who is the owner of it?"
    around = [f"{question} Thing {i}" for i in range(6)] + [
        f"Thing {i}: {question}" for i in range(6)
    ]
    train, test = (rows_of([(text, "A") for text in texts]) for texts in (around, [question]))
    assert run("contamination", 0.8, train=train, test=test).offences == ()
    (offence,) = run("contamination", 0.8, train=[*train, *test], test=test).offences
    assert "training row 13" in offence.reason


def test_contamination_is_judged_against_single_training_rows() -> None:
    """Pieces of many training questions together do not make a leak."""
    train = rows_of([
        ("the quick brown fox jumps over one fence", "a"),
        ("yesterday the quick brown fox jumps over the lazy dog", "b"),
        ("quick brown fox jumps over the lazy dog again and again", "c"),
    ])  # fmt: skip
    test = rows_of([("we saw the quick brown fox jumps over the lazy dog again and left", "d")])
    assert run("contamination", 0.8, train=train, test=test).offences == ()
    assert len(run("contamination", 0.4, train=train, test=test).offences) == 1


def test_length_outliers_with_equal_and_with_skewed_lengths() -> None:
    same = rows_of([("a" * 50, "b")] * 20)
    assert run("length_outliers", 6.0, train=same).offences == ()
    one_long = [*same, chat("a" * 5000, "b")]
    assert [o.index for o in run("length_outliers", 6.0, train=one_long).offences] == [20]
    skewed = rows_of([("a" * round(20 * 1.08**i), "b") for i in range(80)])  # 20 … 8,700 characters
    assert run("length_outliers", 6.0, train=skewed).offences == ()
    assert run("length_outliers", 6.0, train=[]).measured == 0.0


def test_an_answer_of_invisible_characters_is_empty_and_a_class_named_none_is_not() -> None:
    rows = rows_of(
        [("Seen?", "\u200b \u200b"), ("Heard?", "\ufeff"), ("Said?", "."), ("It?", "N/A")]
    )
    assert [o.index for o in run("empty_supervision", train=rows).offences] == [0, 1, 3]
    classes = rows_of([(f"Which side effect has drug {i}?", "None") for i in range(10)])
    assert run("empty_supervision", train=classes).offences == ()


def test_language_speaks_up_only_above_the_accepted_share() -> None:
    german = chat("Wie hoch ist der Blutdruck des Patienten heute Morgen?", "Er ist zu hoch.")
    train = [*rows_of(english()[:50]), german]
    finding = run("language", 0.05, train=train)
    assert (finding.offences, round(finding.measured or 0, 3)) == ((), 0.02)
    assert [o.index for o in run("language", 0.01, train=train).offences] == [50]
    codes = rows_of([("A06.5", "B17"), ("x = f(y)", "3"), ("Amebiasis", "A06")])
    assert run("language", 0.0, train=codes).offences == ()


def test_words_of_scripts_with_and_without_spaces() -> None:
    assert words("Größe: 3,5 cm²") == ["grösse", "3", "5", "cm²"]
    assert words("ＡＢＣ 高血压abc") == ["abc", "高", "血", "压", "abc"]
    assert words("ไทย ที่") == ["ไ", "ท", "ย", "ที่"], "a mark stands with what it marks"
    assert words("की का كَتَبَ") == ["की", "का", "كَتَبَ"]
    assert alike(" The  End! ") == alike("the end")
    assert shingles("", 3) == frozenset()
    assert len(shingles("one two three", 3)) == 3


def test_one_text_repeated_is_no_template() -> None:
    repeated = Documents(50, lambda index: "a very particular question", 3)
    assert not len(common_shingles(repeated))
    different = Documents(50, "a very particular question {}".format, 3)
    shared = Documents(1, lambda index: "a very particular question", 3).document(0)
    # Three of its four: the last ends in the text's edge.
    assert within(shared, common_shingles(different)).sum() == 3


def test_a_word_that_many_rows_have_still_tells_two_rows_apart() -> None:
    """Twelve rows each name one of two frequent offices; only the true pair is reported."""
    template = "Please find out who in the {} office keeps the spare keys of room {} on floor {}"
    pairs = [(template.format(office, room, room + 7), "A")
             for room in range(12) for office in ("northern", "southern")]  # fmt: skip
    train = rows_of(pairs)
    assert run("near_duplicates", 0.6, train=train).offences == ()
    assert run("contamination", 0.8, train=train[::2], test=train[1::2]).offences == ()
    train.append(chat(pairs[4][0] + "!", "A!"))
    assert [o.index for o in run("near_duplicates", 0.6, train=train).offences] == [24]


def test_text_rows_have_no_question_and_are_compared_whole() -> None:
    text = " ".join(f"word{i}" for i in range(80))
    train = [Row(text=text), Row(text=text + " more"), Row(text="something else altogether")]
    assert [o.index for o in run("near_duplicates", 0.9, train=train).offences] == [1]
    for gate in GATES:
        run(gate, 0.5, train=train)  # none of them needs messages


def test_the_command_prints_rows_and_numbers(english_set: Planted, home: Path) -> None:
    result = CliRunner().invoke(cli, ["data", "gates", str(english_set.manifest), "--json"])
    assert result.exit_code == 0, result.output
    reports = {gate["name"]: gate for gate in json.loads(result.stdout)["gates"]}
    for gate, rows in english_set.faults.items():
        assert {(r["split"], r["row"]) for r in reports[gate]["rows"]} >= rows
    result = CliRunner().invoke(
        cli,
        ["data", "gates", str(english_set.manifest), "--set", 'data.gates.secrets.action="fail"'],
    )
    assert result.exit_code == 6
    assert "AWS Access Key" in result.stdout


def test_inspect_shows_what_is_in_the_loss(english_set: Planted, home: Path) -> None:
    arguments = ["data", "inspect", str(english_set.manifest), "--rows", "1"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    assert "⟦Team invoice<|im_end|>⟧" in result.stdout
    assert "⟦The customer" not in result.stdout
    (row,) = json.loads(CliRunner().invoke(cli, [*arguments, "--json"]).stdout)["rows"]
    assert [piece["in_loss"] for piece in row["pieces"]] == [False, True]


def test_a_call_of_a_tool_is_an_answer() -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": {}}}
    asked = chat("what is it?", "")
    calling = replace(
        asked, messages=(asked.messages[0], {**asked.messages[1], "tool_calls": [call]})
    )
    assert [o.index for o in run("empty_supervision", train=[asked, calling]).offences] == [0]
