"""Defects in what is scored: a right answer would be wrong, or a wrong one right."""

from __future__ import annotations

from bench.mutants.mutant import Named

_DATA = "builders/data"
_METRICS = "builders/evaluation/metrics"
_SHAPES = "tests/builders/data/test_template_shapes.py"
_SHOWN = "tests/builders/data/test_shown.py"
_PAIRS = "tests/builders/data/test_pair_gates.py"
_WORDING = "tests/builders/data/test_wording.py"
_TESTS = "tests/builders/evaluation"
_REASONING = f"{_TESTS}/test_reasoning.py"
_NUMBERS = f"{_TESTS}/test_numbers.py"
_FENCED = f"{_TESTS}/test_fenced.py"
_VERIFIERS = f"{_TESTS}/test_verifiers.py"

NAMED = (
    Named(
        "reasoning-is-scored-with-the-answer",
        f"{_METRICS}/metric.py",
        "p if (text := spoken(p.text)) == p.text else replace(p, text=text) for p in predictions",
        "p for p in predictions",
        (f"{_REASONING}::test_a_right_answer_behind_reasoning_is_right",),
        "every right answer of a base that reasons would be wrong, as a metric and as a reward",
    ),
    Named(
        "a-references-reasoning-is-scored",
        f"{_METRICS}/metric.py",
        "return self.statistics(said, [as_spoken(row) for row in rows])",
        "return self.statistics(said, rows)",
        (f"{_REASONING}::test_a_right_answer_behind_reasoning_is_right",),
        "no answer would be that of a row that was written with its reasoning",
    ),
    Named(
        "unfinished-reasoning-is-an-answer",
        f"{_DATA}/reasoning.py",
        "return text[opened.end() :].partition(BLOCKS[opened[0]])[2].lstrip()",
        "return text[opened.end() :].rpartition(BLOCKS[opened[0]])[2].lstrip()",
        (f"{_SHAPES}::test_an_answer_is_what_is_said_behind_the_reasoning",),
        "a number that was thought of and never said would be right",
    ),
    Named(
        "the-opening-of-a-prompt-is-forgotten",
        f"{_DATA}/reasoning.py",
        "    return opening(str(tokenizer.decode([*prompt[-_TAIL:]]))) + said",
        "    return said",
        (f"{_SHAPES}::test_a_prompt_that_opens_reasoning_opens_the_text",),
        "reasoning that goes on to the longest length would be the answer",
    ),
    Named(
        "marks-that-are-special-tokens-are-left-out",
        f"{_DATA}/reasoning.py",
        "    if texts & _MARKS:\n",
        "    if False:\n",
        (f"{_SHAPES}::test_marks_that_are_special_tokens_are_read_too",),
        "reasoning without its marks would stand before every answer",
    ),
    Named(
        "an-empty-block-is-learnt-that-nobody-asks-with",
        f"{_DATA}/reasoning.py",
        "return before + behind.removeprefix(silence) if silence else text",
        "return text",
        (f"{_SHAPES}::test_every_answer_that_is_served_as_it_is_written_is_learnt_to_its_end",),
        "an adapter on Qwen3 would say `<think>` before every answer",
    ),
    Named(
        "an-empty-block-that-is-asked-with-is-left-out",
        f"{_DATA}/reasoning.py",
        "return text if reasons else before + text[ends.start() :]",
        "return text",
        (f"{_SHAPES}::test_every_answer_that_is_served_as_it_is_written_is_learnt_to_its_end",),
        "a base whose prompt says that nothing is reasoned could not be trained",
    ),
    Named(
        "judges-are-shown-reasoning",
        "builders/evaluation/judge.py",
        "ours, theirs = (spoken(predictions[who][at].text) for who in (CANDIDATE, name))",
        "ours, theirs = (predictions[who][at].text for who in (CANDIDATE, name))",
        (f"{_REASONING}::test_judges_are_shown_what_is_said",),
        "a judge would compare how answers were found and not what they say",
    ),
    Named(
        "graders-are-given-reasoning",
        "builders/objectives/graders.py",
        "columns, answer = columns_of(row), spoken(answer)",
        "columns = columns_of(row)",
        (f"{_REASONING}::test_graders_are_given_what_is_said_of_answer_and_reference",),
        "a grader would be worth nothing for every answer of a base that reasons",
    ),
    Named(
        "what-was-said-whole-is-not-kept",
        "builders/evaluation/report.py",
        '            **_apart("whole", predictions, index),\n',
        "",
        (f"{_REASONING}::test_what_a_subject_says_is_scored_and_all_of_it_kept",),
        "nobody could see why an answer is what it is",
    ),
    Named(
        "what-ends-a-conversation-ends-an-answer",
        "registry/bases/ends.py",
        "    if found:\n",
        "    if False:\n",
        (
            f"{_SHAPES}::test_the_end_of_an_answer_is_known",
            f"{_SHAPES}::test_every_answer_that_is_served_as_it_is_written_is_learnt_to_its_end",
        ),
        "of Phi's conversations the last answer alone would be learnt, and more than its end",
    ),
    Named(
        "special-is-what-has-a-role",
        "registry/bases/ends.py",
        "return frozenset((*tokenizer.all_special_ids, *marked))",
        "return frozenset(tokenizer.all_special_ids)",
        (f"{_SHAPES}::test_tokens_that_are_only_marked_as_special_are_special",),
        "Gemma 3's answers would end with a token that no engine is stopped at",
    ),
    Named(
        "pairs-that-differ-in-a-sign-are-dropped",
        f"{_DATA}/gates/identical_pairs.py",
        "return len({exactly(answer) for answer in row.answers}) <= len(row.others)",
        "return len({*answer_texts(row)}) <= len(row.others)",
        (f"{_PAIRS}::test_answers_that_are_the_same_to_the_letter_teach_nothing",),
        "data for code, formats and spelling would lose the pairs that it was made of",
    ),
    Named(
        "calls-are-no-part-of-an-answer",
        f"{_DATA}/gates/text.py",
        'said = [(unicodedata.normalize("NFC", t["content"]).strip(), *calls(t)) for t in turns]',
        'said = [(unicodedata.normalize("NFC", t["content"]).strip(),) for t in turns]',
        (f"{_PAIRS}::test_answers_that_are_the_same_to_the_letter_teach_nothing",),
        "every pair of tool calls would be dropped",
    ),
    Named(
        "calls-contradict-nothing",
        f"{_DATA}/gates/text.py",
        'return "\\n".join((alike(turn["content"]), *calls(turn)))',
        'return alike(turn["content"])',
        (f"{_PAIRS}::test_calls_contradict_one_another_by_their_arguments",),
        "rows that call one function with two arguments would go unsaid",
    ),
    Named(
        "a-secret-in-a-call-passes",
        f"{_DATA}/gates/text.py",
        'for turn in _turns(row) for text in (turn["content"], *calls(turn)))',
        'for turn in _turns(row) for text in (turn["content"],))',
        (f"{_SHOWN}::test_what_may_not_be_learnt_is_looked_for_wherever_it_is_shown",),
        "a key that stands in a call's arguments would be learnt by heart",
    ),
    Named(
        "a-secret-in-a-system-turn-passes",
        f"{_DATA}/gates/text.py",
        '            yield "system turn", turn["content"]\n',
        "            pass\n",
        (f"{_SHOWN}::test_what_may_not_be_learnt_is_looked_for_wherever_it_is_shown",),
        "a key would go into every prompt of predictions.jsonl, and into the release",
    ),
    Named(
        "words-have-no-marks",
        f"{_DATA}/wording.py",
        'return re.compile(rf"[{unspaced}]{mark}*|(?:{letter}|{mark})+")',
        'return re.compile(rf"[{unspaced}]|{letter}+")',
        (f"{_WORDING}::test_answers_that_differ_are_no_one_label",),
        "answers in Hindi or Arabic that differ would be the same",
    ),
    Named(
        "signs-are-punctuation",
        f"{_DATA}/wording.py",
        'return re.compile("|".join((word_pattern(UNSPACED).pattern, *signs, rf"[{symbols}]+")))',
        "return word_pattern(UNSPACED)",
        (f"{_WORDING}::test_answers_that_differ_are_no_one_label",),
        "`C++` would be `C#`, and `-1` would be 1",
    ),
    Named(
        "seals-are-of-other-words",
        f"{_DATA}/gates/seals.py",
        "WIDTH, sealed_words)",
        "WIDTH)",
        ("tests/builders/data/test_seals.py::test_seals_are_made_of_the_words_they_always_were",),
        "a test set that was sealed before would not be known again",
    ),
    Named(
        "a-minus-within-a-range-is-a-sign",
        f"{_METRICS}/numbers.py",
        "(?<![\\w.)\\]}}%])[-+]",
        "[-+]",
        (f"{_NUMBERS}::test_the_last_number_is_read_as_it_is_written",),
        "`10-5` would be −5",
    ),
    Named(
        "a-point-before-a-number-is-none",
        f"{_METRICS}/numbers.py",
        "|(?<![\\w.])\\.[0-9]+)",
        ")",
        (f"{_NUMBERS}::test_the_last_number_is_read_as_it_is_written",),
        "`.5` would be rewarded as 5",
    ),
    Named(
        "a-reference-without-a-number-is-trained-on",
        f"{_METRICS}/numbers.py",
        "    require=_require,\n",
        "",
        (f"{_NUMBERS}::test_a_reference_without_a_number_is_refused_before",),
        "rows that no answer can get right would be in a score, and nobody would say so",
    ),
    Named(
        "a-schemas-references-are-not-looked-up",
        f"{_METRICS}/json_schema.py",
        "                    resolver.lookup(one.contents[key])\n",
        "                    pass\n",
        (f"{_VERIFIERS}::test_a_schema_that_no_answer_can_be_held_against_is_refused_before",),
        "a training would end in an error of a library's, in its first step or after its last",
    ),
    Named(
        "a-pattern-has-for-ever",
        f"{_METRICS}/json_schema.py",
        "return regex.search(pattern, text, timeout=left) is not None",
        "return regex.search(pattern, text, timeout=left * 1e4) is not None",
        (f"{_VERIFIERS}::test_a_pattern_has_a_second_and_not_for_ever",),
        "one row's pattern would stop a training for good",
        quick=False,
    ),
    Named(
        "the-text-behind-a-block-is-the-code",
        f"{_METRICS}/code.py",
        '[^\\n`]*\\n", re.MULTILINE)',
        '[\\w+-]*\\n", re.MULTILINE)',
        (f"{_FENCED}::test_the_first_block_is_the_code",),
        "a blank behind `python` would have prose run for the program",
    ),
    Named(
        "a-sentence-is-one-word",
        f"{_METRICS}/overlap.py",
        'return _statistics(_bleu("zh"), [*map(spaced, texts)], [*map(spaced, references)])',
        'return _statistics(_bleu("zh"), texts, references)',
        (f"{_WORDING}::test_bleu_of_scripts_without_spaces_is_by_characters",),
        "BLEU of Japanese, Korean or Thai would be whether answers are the same",
    ),
    Named(
        "a-class-is-counted-for-every-row",
        f"{_DATA}/gates/empty_supervision.py",
        "        if self._counts is None:\n",
        "        if True:\n",
        (
            "tests/builders/data/test_gate_bounds.py::"
            "test_a_class_that_is_spelt_as_a_missing_value_is_counted_once",
        ),
        "the gates of a million rows would never end",
    ),
    Named(
        "a-graders-source-is-the-files-name",
        "builders/data/rows.py",
        "return {**others, **self.meta.get(OWN, {})}",
        "return {**self.meta.get(OWN, {}), **others}",
        ("tests/builders/data/test_own_columns.py::test_graders_read_the_records_own_columns",),
        "rewards would compare with the name of the file that rows are in",
    ),
    Named(
        "an-augmented-copy-asks-a-test-rows-question",
        "builders/data/augment.py",
        "if copy.digest not in seen and (not held or alike(question) not in held):",
        "if copy.digest not in seen:",
        ("tests/builders/data/test_mix.py::test_no_copy_asks_what_a_held_out_row_asks",),
        "a score would be of questions that were learnt, and no gate would see it",
    ),
)
