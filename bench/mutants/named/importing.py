"""Configurations of other programs: what they trained is what is declared."""

from __future__ import annotations

from bench.mutants.mutant import Named

_CONVERSION = "manifests/importing/conversion.py"
_COMMON = "manifests/importing/common.py"
_FACTORY = "manifests/importing/llama_factory.py"
_SETS = "manifests/importing/llama_factory_data.py"
_AXOLOTL = "manifests/importing/axolotl.py"
_TOML = "manifests/importing/toml.py"
_TESTS = "tests/manifests/importing"
_OPENAI = "manifests/importing/openai.py"
_OPENAI_CLI = "adapterworks/cli/import_openai.py"
_OF_OPENAI = "tests/cli/test_import_openai.py"
_OF_FACTORY = f"{_TESTS}/test_llama_factory.py"
_OF_AXOLOTL = f"{_TESTS}/test_axolotl.py"

_PAIRS = "manifests/importing/llama_factory_pairs.py"

NAMED = (
    Named(
        "a-configuration-of-a-repository-is-dropped",
        _SETS,
        'part = f"{entry[\'subset\']}:{part}" if entry.get("subset") else part',
        'part = f"{part}" if entry.get("subset") else part',
        (f"{_OF_FACTORY}::test_which_rows_of_a_repository",),
        "other rows than those that were declared would be trained on",
    ),
    Named(
        "a-key-of-a-set-that-is-not-known-is-dropped",
        _SETS,
        "unknown = sorted(key for key in part if key not in known and part[key] is not None)",
        "unknown = sorted(key for key in part if key in ())",
        (f"{_OF_FACTORY}::test_what_cannot_be_honoured_is_refused_with_its_reason",),
        "what a set is told to leave out would be learnt",
    ),
    Named(
        "a-name-of-a-set-is-dropped",
        _AXOLOTL,
        'part = f"{entry[\'name\']}:{part}" if entry.get("name") else part',
        'part = f"{part}" if entry.get("name") else part',
        (f"{_OF_AXOLOTL}::test_what_a_key_becomes",),
        "other rows than those that were declared would be trained on",
    ),
    Named(
        "the-batch-in-all-is-dropped",
        _COMMON,
        "        steps = count\n",
        "        steps = steps\n",
        (f"{_OF_AXOLOTL}::test_what_a_key_becomes",),
        "a step would have an eighth of its rows, at the same rate",
    ),
    Named(
        "checked-on-rows-of-another-form",
        _COMMON,
        "if trained and (one.form, one.columns) != (trained[0].form, trained[0].columns):",
        "if trained and one.form is None:",
        (
            f"{_OF_AXOLOTL}::test_what_cannot_be_honoured_is_refused_with_its_reason",
            f"{_OF_FACTORY}::test_what_cannot_be_honoured_is_refused_with_its_reason",
        ),
        "a validation set would be read as what it is not",
    ),
    Named(
        "auto-is-a-number",
        _OPENAI,
        "    if value == AUTO:",
        "    if False:",
        (f"{_OF_OPENAI}::test_each_job_becomes_a_manifest_that_is_valid",),
        "every job that left its numbers to OpenAI would be refused",
    ),
    Named(
        "a-multiplier-is-a-rate",
        _OPENAI,
        "around.rate(_OBJECTIVES[kind]) * times",
        "times",
        (f"{_OF_OPENAI}::test_each_job_becomes_a_manifest_that_is_valid",),
        "a training with the learning rate 1.8 learns nothing",
    ),
    Named(
        "two-jobs-of-one-suffix-are-one-manifest",
        _OPENAI_CLI,
        "while name in taken:",
        "while False:",
        (f"{_OF_OPENAI}::test_each_job_becomes_a_manifest_that_is_valid",),
        "the later job would overwrite the earlier one's manifest in silence",
    ),
    Named(
        "what-no-job-names-is-dropped",
        _OPENAI_CLI,
        "aside = list(found.unread)",
        "aside = []",
        (f"{_OF_OPENAI}::test_what_belongs_to_no_job_is_named",),
        "a job whose file is cut off would be missing, and nobody be told",
    ),
    Named(
        "an-unknown-key-is-dropped",
        _CONVERSION,
        'self.refuse(key, f"it is no key of {program} that is known here")',
        "pass",
        (f"{_OF_FACTORY}::test_a_key_it_does_not_have_is_refused",),
        "a misspelt key would train with a default, in silence",
    ),
    Named(
        "what-is-switched-off-is-refused",
        _CONVERSION,
        "harmless = not value or value in rule.harmless",
        "harmless = value in rule.harmless",
        (f"{_OF_FACTORY}::test_what_is_switched_off_stands_in_nobodys_way",),
        "every example with `load_in_8bit: false` would be refused",
    ),
    Named(
        "a-number-in-a-text-is-no-number",
        _CONVERSION,
        "return float(given)",
        "pass",
        (f"{_OF_FACTORY}::test_what_a_key_becomes",),
        "`1e-4` is a text to YAML",
    ),
    Named(
        "accumulation-does-not-count",
        _COMMON,
        "positive(rows) * positive(1 if steps is None else steps)",
        "positive(rows)",
        (f"{_OF_FACTORY}::test_what_a_key_becomes",),
        "every step would be made of a fraction of its rows",
    ),
    Named(
        "alpha-is-the-rank",
        _FACTORY,
        'draft.get("lora_alpha", 2 * rank)',
        'draft.get("lora_alpha", rank)',
        (f"{_OF_FACTORY}::test_its_defaults_are_written_out",),
        "LLaMA-Factory's default is twice the rank",
    ),
    Named(
        "checkpointing-is-off-where-it-was-on",
        _FACTORY,
        'not draft.on("disable_gradient_checkpointing")',
        'draft.on("disable_gradient_checkpointing")',
        (f"{_OF_FACTORY}::test_its_defaults_are_written_out",),
        "what fitted a card would not fit it any more",
    ),
    Named(
        "pairs-are-taken-for-answers",
        _SETS,
        'if entry.get("ranking") and not pairs:',
        'if entry.get("rankings") and not pairs:',
        (f"{_OF_FACTORY}::test_what_cannot_be_honoured_is_refused_with_its_reason",),
        "rows of two answers would be read as Alpaca's",
    ),
    Named(
        "columns-that-were-renamed-are-lost",
        _SETS,
        "name: columns[theirs]",
        "name: theirs",
        (f"{_OF_FACTORY}::test_what_a_data_set_becomes",),
        "the rows would have no question",
    ),
    Named(
        "warm-up-of-a-run-whose-length-nobody-knows",
        _COMMON,
        "if total and total > 0:",
        "if True:",
        (f"{_OF_FACTORY}::test_what_cannot_be_honoured_is_refused_with_its_reason",),
        "a ratio would be made up",
    ),
    Named(
        "an-optimizer-that-is-not-there-is-adamw",
        _COMMON,
        "if name in _ADAMW:",
        "if name:",
        (f"{_OF_FACTORY}::test_what_cannot_be_honoured_is_refused_with_its_reason",),
        "something else would be trained than declared",
    ),
    Named(
        "the-schedule-has-our-default",
        _FACTORY,
        'put_schedule(draft, "lr_scheduler_type", "linear")',
        'put_schedule(draft, "lr_scheduler_type", "cosine")',
        (f"{_OF_FACTORY}::test_its_defaults_are_written_out",),
        "Hugging Face's falls linearly",
    ),
    Named(
        "four-bits-are-forgotten",
        _AXOLOTL,
        'quantized = draft.on("load_in_4bit") or kind == "qlora"',
        'quantized = kind == "qlora"',
        (f"{_OF_AXOLOTL}::test_what_a_key_becomes",),
        "the adapter would be trained on other values",
    ),
    Named(
        "a-strategy-that-is-not-known-is-chat",
        _AXOLOTL,
        "if not isinstance(kind, str) or kind not in _STRATEGIES:",
        "if not isinstance(kind, str):",
        (f"{_OF_AXOLOTL}::test_what_cannot_be_honoured_is_refused_with_its_reason",),
        "rows would be read as something else",
    ),
    Named(
        "a-new-end-token-is-padding",
        _AXOLOTL,
        'set(tokens) <= {"pad_token"}',
        'set(tokens) <= {"pad_token", "eos_token"}',
        (f"{_OF_AXOLOTL}::test_what_cannot_be_honoured_is_refused_with_its_reason",),
        "answers would end otherwise than they were learnt",
    ),
    Named(
        "a-text-is-written-as-it-stands",
        _TOML,
        "return json.dumps(value, ensure_ascii=False)",
        "return json.dumps(value, ensure_ascii=False).replace(chr(92), '')",
        (f"{_TESTS}/test_toml.py",),
        "a quotation mark would end the text",
    ),
    Named(
        "a-declared-beta-is-the-default",
        _PAIRS,
        'draft.number("pref_beta", 0.1)',
        "0.1",
        (f"{_OF_FACTORY}::test_pairs_have_the_objective_of_their_loss",),
        "the policy would be held at another distance than was declared",
    ),
    Named(
        "every-loss-on-pairs-is-sigmoid",
        _PAIRS,
        '        draft.map("pref_loss", "objective.loss", loss)',
        '        draft.map("pref_loss", "objective.loss", "sigmoid")',
        (f"{_OF_FACTORY}::test_pairs_have_the_objective_of_their_loss",),
        "IPO and hinge would be trained as DPO",
    ),
    Named(
        "a-part-of-the-loss-is-dropped",
        _PAIRS,
        '            draft.refuse(key, "this part of the loss is not there")',
        "            pass",
        (f"{_OF_FACTORY}::test_what_cannot_be_honoured_is_refused_with_its_reason",),
        "another loss than was declared would be trained, in silence",
    ),
    Named(
        "history-that-is-masked-is-learnt",
        _FACTORY,
        'draft.map("mask_history", "train.loss_on", "last")',
        'draft.map("mask_history", "train.loss_on", "completion")',
        (f"{_OF_FACTORY}::test_what_a_key_becomes",),
        "every earlier answer would be learnt as well",
    ),
    Named(
        "one-answer-is-a-pair",
        _SETS,
        '    if pairs and not entry.get("ranking"):',
        "    if False:",
        (f"{_OF_FACTORY}::test_what_cannot_be_honoured_is_refused_with_its_reason",),
        "the build would find no second answer only when it reads the rows",
    ),
)
