"""Defects in a first manifest: what a new user would be told of their own file would be wrong."""

from __future__ import annotations

from bench.mutants.mutant import Named

_COLUMNS = "adapterworks/drafting/columns.py"
_NAMES = "adapterworks/drafting/names.py"
_LOOK = "adapterworks/drafting/look.py"
_WRITE = "adapterworks/drafting/write.py"
_WORKBOOK = "builders/data/sources/workbook.py"
_OF_COLUMNS = "tests/drafting/test_columns.py"
_OF_INIT = "tests/drafting/test_init.py"
_OF_TABLES = "tests/drafting/test_users_tables.py"
_OF_SOURCES = "tests/builders/data/test_sources.py"

NAMED = (
    Named(
        "pairs-are-asked-for-their-words",
        "adapterworks/drafting/write.py",
        '    "comparison": ("preference_margin',
        '    "none": ("preference_margin',
        ("tests/drafting/test_init.py::test_what_is_asked_of_pairs_is_what_they_teach",),
        "an alias would wait for a gain that preference training does not aim at",
    ),
    Named(
        "the-longest-column-is-the-label",
        _COLUMNS,
        "return (0, distinct, _length(records, name))",
        "return (2, distinct, _length(records, name))",
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
        "while seen.doubts and not (yes or as_json):",
        "while False and not (yes or as_json):",
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
    Named(
        "rows-are-written-over",
        "adapterworks/cli/init.py",
        "    _require_free(files, source, force=force)\n",
        "    _require_free([], source, force=force)\n",
        (
            f"{_OF_INIT}::test_nothing_of_the_users_is_written_over_without_force",
            f"{_OF_INIT}::test_the_rows_themselves_are_never_written_over",
        ),
        "the file of the rows itself would be rewritten without its column of sides",
    ),
    Named(
        "a-number-is-no-answer",
        _COLUMNS,
        "        if folded(name) in known and 2 * len(filled) >= len(values):\n",
        "        if folded(name) in known and not filled:\n",
        (f"{_OF_COLUMNS}::test_a_column_named_as_an_answer_is_one_whatever_it_holds",),
        "intents by number would not be learnt, and questions would be learnt as prose",
    ),
    Named(
        "sides-in-capitals-are-no-sides",
        "adapterworks/drafting/sides.py",
        "        if folded(name) not in NAMES:\n",
        "        if name not in NAMES:\n",
        (
            f"{_OF_COLUMNS}::test_a_column_of_sides_is_known_however_it_is_spelled",
            f"{_OF_INIT}::test_a_column_of_sides_in_capitals_holds_rows_out",
        ),
        "rows that somebody held out would be trained on",
    ),
    Named(
        "a-verdict-in-text-is-passed-over",
        "builders/data/formats/further.py",
        "    return _TRUTHS.get(value.strip().lower()) if isinstance(value, str) else None\n",
        "    return _TRUTHS.get(value.strip().lower()) if isinstance(value, bytes) else None\n",
        (
            f"{_OF_SOURCES}::test_a_verdict_in_text_is_one",
            f"{_OF_COLUMNS}::test_answers_that_are_said_to_be_wrong_are_not_taught_as_right",
        ),
        "answers that were marked as wrong would be taught as right",
    ),
    Named(
        "a-semicolon-parts-nothing",
        "manifests/cells.py",
        '_OF_CSV = (",", ";", "\\t", "|")',
        '_OF_CSV = (",", "|", "\\t")',
        (
            f"{_OF_SOURCES}::test_what_parts_the_cells_is_told_by_the_header",
            f"{_OF_INIT}::test_a_table_of_a_spreadsheet_where_the_comma_is_a_decimal_mark",
        ),
        "a table of a European spreadsheet would be learnt as prose, answers and all",
    ),
    Named(
        "of-two-texts-the-shorter-answers",
        _COLUMNS,
        "return (1, -texts.index(name), 0.0)",
        "return (0, distinct, _length(records, name))",
        (f"{_OF_COLUMNS}::test_where_every_row_is_another_the_order_of_reading_decides",),
        "an adapter would learn to write the questions of a table of frequent ones",
    ),
    Named(
        "only-whole-names-are-known",
        _NAMES,
        "if _said_in(name) == words",
        "if False",
        (f"{_OF_COLUMNS}::test_a_name_that_says_it_in_a_part_is_known",),
        "`User Question` and `Agent Reply` would be asked for",
    ),
    Named(
        "what-has-no-name-is-passed-over",
        _NAMES,
        "    if len(set(held)) < len(held) or not all(value.isdigit() for value in held):\n",
        "    if len(set(held)) < 0:\n",
        (f"{_OF_TABLES}::test_what_has_no_name_is_not_passed_over",),
        "half a table would be learnt as prose, without a question",
    ),
    Named(
        "users-write-among-the-built-in",
        "manifests/document.py",
        "    if folder.resolve() == Path(",
        "    if folder == Path(",
        (f"{_OF_INIT}::test_nothing_is_written_among_the_built_in_manifests",),
        "`init --force` in a checkout would write over a manifest that comes with it",
    ),
    Named(
        "the-line-for-excel-is-the-header",
        "manifests/cells.py",
        "    if said := _SAID.match(text):\n",
        "    if said := _SAID.match(text, len(text)):\n",
        (f"{_OF_TABLES}::test_what_parts_cells_is_what_the_first_lines_say",),
        "a table that Excel wrote would be learnt as prose, its header among it",
    ),
    Named(
        "the-first-mark-parts-whatever-the-rows-say",
        "manifests/cells.py",
        "    most = max(fitting.values())\n",
        "    most = 0\n",
        (f"{_OF_TABLES}::test_of_two_marks_in_the_header_the_one_counts_that_parts_the_rows",),
        "prices would be cut at the decimal comma, and answers begin in their midst",
    ),
    Named(
        "turns-in-a-cell-are-prose",
        "builders/data/formats/columns.py",
        "                value = json.loads(value)\n",
        "                value = str(json.loads(value))\n",
        (f"{_OF_TABLES}::test_cells_may_hold_json",),
        "braces and roles would be learnt as text",
    ),
    Named(
        "a-hidden-sheet-is-read",
        _WORKBOOK,
        '    if first.sheet_state != "visible":\n',
        '    if first.sheet_state == "":\n',
        (f"{_OF_TABLES}::test_a_first_sheet_that_nobody_sees_is_not_read",),
        "rows that somebody put aside would be learnt",
    ),
)
