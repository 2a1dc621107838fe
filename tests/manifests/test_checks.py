"""Each impossible combination is refused, at the key where it would be mended."""

from __future__ import annotations

from typing import Any

import pytest

from adapterworks.manifests.faults import ManifestError
from adapterworks.manifests.load import check_manifest, load_manifest

CASES = [
    # (name, changes, extra, key, words of the message)
    ("qlora-dense", [('"nf4"', '"none"')], "", "base.quantization", "trains on an NF4 base"),
    ("base-unpinned", [('"smollm2-135m-instruct"', '"hub:a/b"')], "", "base.model", "no revision"),
    ("base-spaces", [('"smollm2-135m-instruct"', '"a model"')], "", "base.model", "not a base"),
    ("base-split", [('"smollm2-135m-instruct"', '"hub:a/b@c#d"')], "", "base.model", "split"),
    ("source", [('"icd-10-cm:test"', '"rows.xls"')], "", "data.test", "not a source"),
    (
        "source-mix",
        [],
        '[[data.mix]]\nsource = "hub:a/b"\n',
        "data.mix[0].source",
        "no revision",
    ),
    ("source-replay", [], '[data.replay]\nsource = "x"\n', "data.replay.source", "not a source"),
    (
        "adalora-rank",
        [('kind = "qlora"\nrank = 16', 'kind = "adalora"\nrank = 16\ninitial_rank = 8')],
        "",
        "method.rank",
        "which is not smaller",
    ),
    (
        "adalora-nothing-to-prune",
        [('kind = "qlora"\nrank = 16', 'kind = "adalora"\nrank = 12')],
        "",
        "method.rank",
        "prunes from `initial_rank` 12 down to `rank` 12",
    ),
    (
        "adalora-shares",
        [
            (
                'kind = "qlora"\nrank = 16',
                'kind = "adalora"\nwarmup_share = 0.6\nfinal_share = 0.4',
            )
        ],
        "",
        "method.final_share",
        "no steps for pruning",
    ),
    (
        "targets",
        [("rank = 16", "target_modules = []")],
        "",
        "method.target_modules",
        "no module would get an adapter",
    ),
    (
        "soft-prompt-length",
        [
            ('kind = "qlora"\nrank = 16', 'kind = "prefix-tuning"\nvirtual_tokens = 120'),
            ("epochs = 3", "max_length = 128"),
        ],
        "",
        "method.virtual_tokens",
        "no room for a row",
    ),
    (
        "encoder",
        [('kind = "qlora"\nrank = 16', 'kind = "prefix-tuning"\nencoder_hidden_size = 12')],
        "",
        "method.encoder_hidden_size",
        "no reparameterization encoder",
    ),
    (
        "init-text",
        [('kind = "qlora"\nrank = 16', 'kind = "p-tuning-v2"\ninit_text = "x"')],
        "",
        "method.init_text",
        "cannot start from text",
    ),
    (
        "columns",
        [('"rows/train.jsonl"', '"icd-10-cm:train"\ncolumns = { messages = "q" }')],
        "",
        "data.columns",
        "no column would be renamed",
    ),
    (
        "column",
        [('test = "icd', 'columns = { prompt = "q" }\ntest = "icd')],
        "",
        "data.columns.prompt",
        "has no column `prompt`",
    ),
    (
        "no-validation",
        [('test = "icd', 'validation_share = 0.0\ntest = "icd')],
        "",
        "data.validation_share",
        "no rows would be left for validation",
    ),
    (
        "two-validations",
        [
            (
                'test = "icd',
                'validation_share = 0.1\nvalidation = "icd-10-cm:validation"\ntest = "icd',
            )
        ],
        "",
        "data.validation_share",
        "nothing is held out",
    ),
    (
        "limit-test",
        [
            ('test = "icd-10-cm:test"', "limit_test = 3"),
            ('[[evaluate.gates]]\nmetric = "exact_match"', ""),
        ],
        "",
        "data.limit_test",
        "no test rows to limit",
    ),
    (
        "gate-without-test",
        [('test = "icd-10-cm:test"\n', "")],
        "",
        "evaluate.gates",
        "need test rows",
    ),
    (
        "gate-metric",
        [('[[evaluate.gates]]\nmetric = "exact_match"', '[[evaluate.gates]]\nmetric = "bleu"')],
        "",
        "evaluate.gates[0].metric",
        "not measured",
    ),
    ("metric-twice", [('"rouge_l"', '"exact_match"')], "", "evaluate.metrics[1]", "named twice"),
    (
        "template",
        [],
        '[data.augment]\nshare = 0.1\nparaphrase_templates = ["{prompt}", "ask"]\n',
        "data.augment.paraphrase_templates[1]",
        "lose the question",
    ),
    (
        "augment-share",
        [],
        '[data.augment]\nlexicon = "words.json"\n',
        "data.augment.share",
        "no row would be augmented",
    ),
    (
        "augment-means",
        [],
        "[data.augment]\nshare = 0.1\n",
        "data.augment.share",
        "nothing to augment with",
    ),
    (
        "micro-batch",
        [("epochs = 3", "micro_batch_size = 3")],
        "",
        "train.micro_batch_size",
        "does not divide",
    ),
    (
        "rounded-qlora",
        [("epochs = 3", 'epochs = 3\nquantization_aware = "int4"')],
        "",
        "train.quantization_aware",
        "method `qlora` cannot be trained with rounded weights",
    ),
    (
        "rounded-nf4",
        [
            ('kind = "qlora"', 'kind = "lora"'),
            ("epochs = 3", 'epochs = 3\nquantization_aware = "int8"'),
        ],
        "",
        "train.quantization_aware",
        "the base is rounded already",
    ),
    (
        "rounded-parts",
        [
            ('kind = "qlora"', 'kind = "lora"'),
            ('"nf4"', '"none"'),
            (
                "epochs = 3",
                'epochs = 3\nquantization_aware = "int4"\nprocesses = 2\nsharding = "fsdp"',
            ),
        ],
        "",
        "train.sharding",
        "held in parts are not rounded",
    ),
    (
        "rounded-dropout",
        [
            ('kind = "qlora"', 'kind = "lora"\ndropout = 0.1'),
            ('"nf4"', '"none"'),
            ("epochs = 3", 'epochs = 3\nquantization_aware = "int4"'),
        ],
        "",
        "method.dropout",
        "rounds both as one weight",
    ),
    (
        "packing",
        [("epochs = 3", "group_by_length = true\npacking = true")],
        "",
        "train.group_by_length",
        "exclude each other",
    ),
    (
        "packing-strategy",
        [("epochs = 3", 'packing_strategy = "bfd"')],
        "",
        "train.packing_strategy",
        "nothing is packed",
    ),
    (
        "retention",
        [],
        "[evaluate.retention]\nmax_suite_loss = 0.1\n",
        "evaluate.retention.max_suite_loss",
        "never be checked",
    ),
    ("alias", [], '[publish]\nalias = "7"\n', "publish.alias", "a number alone is a version"),
    ("hub", [], '[publish]\nhub = "a/b/c"\n', "publish.hub", "not a Hub repository"),
    ("private", [], "[publish]\nprivate = true\n", "publish.private", "no repository"),
    (
        "weights-withheld",
        [],
        '[publish]\nwithhold = ["plots/*", "adapter/*"]\n',
        "publish.withhold[1]",
        "means the weights",
    ),
    (
        "included-and-withheld",
        [],
        '[publish]\ninclude = ["predictions.jsonl"]\nwithhold = ["predictions.jsonl"]\n',
        "publish.include[0]",
        "withheld and included",
    ),
    (
        "conversion",
        [],
        "[serve]\nconversion_rank = 8\n",
        "serve.conversion_rank",
        "served exactly",
    ),
    (
        "conversion-adalora",
        [('kind = "qlora"\nrank = 16', 'kind = "adalora"')],
        "[serve]\nconversion_rank = 8\n",
        "serve.conversion_rank",
        "served exactly",
    ),
    (
        "conversion-soft-prompt",
        [('kind = "qlora"\nrank = 16', 'kind = "prefix-tuning"')],
        "[serve]\nconversion_rank = 8\n",
        "serve.conversion_rank",
        "served exactly",
    ),
    (
        "double-quantization",
        [
            ('"nf4"', '"none"\ndouble_quantization = false'),
            ('kind = "qlora"', 'kind = "lora"'),
        ],
        "",
        "base.double_quantization",
        "no constants to quantize",
    ),
    ("nodes", [], "[resources]\nnodes = 2\n", "resources.nodes", "is trained on one"),
    (
        "resamples",
        [("[evaluate]", "[evaluate]\nbootstrap_samples = 1")],
        "",
        "evaluate.bootstrap_samples",
        "cannot be read from 1 resamples",
    ),
    (
        "samples-none",
        [],
        "[evaluate.samples]\nk = [1, 10]\n",
        "evaluate.samples",
        "no answer is drawn",
    ),
    (
        "threshold-share",
        [],
        "[data.gates]\nnear_duplicates.threshold = 3.0\n",
        "data.gates.near_duplicates.threshold",
        "not a share",
    ),
    (
        "threshold-none",
        [],
        "[data.gates]\nsecrets.threshold = 3.0\n",
        "data.gates.secrets.threshold",
        "has no threshold",
    ),
]


@pytest.mark.parametrize(
    ("changes", "extra", "key", "words"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_an_impossible_combination_is_one_fault(
    write: Any, changes: list[tuple[str, str]], extra: str, key: str, words: str
) -> None:
    path = write(*changes, extra=extra)
    with pytest.raises(ManifestError) as caught:
        load_manifest(path)
    (fault,) = caught.value.faults
    assert fault.key == key
    assert words in fault.message
    assert fault.hint
    # The line is that of the key, or of its table where the key itself is not written.
    line = path.read_text().splitlines()[(fault.line or 0) - 1]
    names = [part.partition("[")[0] for part in key.split(".")]
    assert any(name in line for name in names[-2:]), line


def test_a_faulty_key_is_not_reported_twice_through_a_combination(write: Any) -> None:
    path = write(('"nf4"', '"nf5"'), ("epochs = 3", "micro_batch_size = 3"))
    _, found = check_manifest(path, profile="quick")
    assert [fault.key for fault in found] == ["base.quantization", "train.micro_batch_size"]


def test_a_missing_required_key_does_not_hide_the_other_combinations(write: Any) -> None:
    path = write(('train = "rows/train.jsonl"\n', ""), ('"nf4"', '"none"'))
    _, found = check_manifest(path, profile="quick")
    assert [fault.key for fault in found] == ["base.quantization", "data.train"]
