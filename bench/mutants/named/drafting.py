"""Defects in a first manifest: what a new user would be told of their own file would be wrong."""

from __future__ import annotations

from bench.mutants.mutant import Named

_COLUMNS = "adapterworks/drafting/columns.py"
_LOOK = "adapterworks/drafting/look.py"
_WRITE = "adapterworks/drafting/write.py"
_WORKBOOK = "builders/data/sources/workbook.py"
_OF_COLUMNS = "tests/drafting/test_columns.py"
_OF_INIT = "tests/drafting/test_init.py"
_OF_SOURCES = "tests/builders/data/test_sources.py"

NAMED = (
    Named(
        "the-longest-column-is-the-label",
        _COLUMNS,
        "rest.sort(key=lambda name: (len(",
        "rest.sort(key=lambda name: (-len(",
        (
            f"{_OF_COLUMNS}::test_without_known_names_the_repeated_column_is_the_answer_and_somebody_is_asked",
        ),
        "questions would be learnt as answers to labels",
    ),
    Named(
        "a-key-is-a-question",
        _COLUMNS,
        "and not _is_key(filled)",
        "and bool(filled)",
        (f"{_OF_COLUMNS}::test_numbers_keys_and_dates_are_no_questions",),
        "ticket numbers would be offered as what is asked",
    ),
    Named(
        "a-guess-is-not-told",
        "adapterworks/cli/init.py",
        "if seen.doubts and not (yes or as_json):",
        "if False and not (yes or as_json):",
        (f"{_OF_INIT}::test_nobody_is_asked_where_nobody_is_and_yes_takes_the_likeliest",),
        "a column that was guessed would be trained on without a word",
    ),
    Named(
        "test-rows-beside-are-passed-over",
        _LOOK,
        "if other.is_file() and other != path:",
        "if other.is_dir() and other != path:",
        (f"{_OF_INIT}::test_files_beside_it_and_a_column_that_says_the_side",),
        "rows that somebody kept for testing would not be tested on",
    ),
    Named(
        "an-answer-has-no-room",
        _WRITE,
        "answer = min(512, 8 * ceil((seen.longest_answer + 8) / 8))",
        "answer = min(512, 8 * ceil((seen.longest_answer // 8 + 8) / 8))",
        (f"{_OF_INIT}::test_a_table_of_labels_in_chinese",),
        "answers would be cut off, and every adapter would look useless",
    ),
    Named(
        "merged-cells-are-empty-cells",
        _WORKBOOK,
        "    if merged:\n",
        "    if merged and not merged:\n",
        (f"{_OF_SOURCES}::test_a_workbook_that_hides_values_is_refused",),
        "rows below a merged cell would be learnt without what it says",
    ),
    Named(
        "a-small-workbook-fills-the-memory",
        _WORKBOOK,
        "if unpacked > MOST_BYTES:",
        "if len(data) > MOST_BYTES:",
        (f"{_OF_SOURCES}::test_a_workbook_that_unpacks_to_too_much_is_not_unpacked",),
        "a few kilobytes of zeros, packed, would end the process",
    ),
    Named(
        "what-is-held-out-twice-is-held-out-once",
        "builders/data/load.py",
        "_OF_VALIDATION, _OF_TEST = slice(0, 16), slice(16, 32)",
        "_OF_VALIDATION, _OF_TEST = slice(0, 16), slice(0, 16)",
        (
            "tests/builders/data/test_splits.py::test_what_is_held_out_twice_is_held_out_of_the_rest_both_times",
        ),
        "no validation rows would be left beside a larger share of test rows",
    ),
)
