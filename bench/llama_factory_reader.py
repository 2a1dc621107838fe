"""Run by another environment's Python, the one with `llamafactory`: rows as that program encodes
them. Reads one JSON object a line from standard input, answers with one each.

It imports nothing of ours: the two environments have other versions of everything.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import sys
import types
from typing import Any


def encode(asked: dict[str, Any]) -> dict[str, Any]:
    """Token ids and labels of every row of a configuration's first data set."""
    from llamafactory.data.converter import get_dataset_converter
    from llamafactory.data.parser import get_dataset_list
    from llamafactory.data.processor import (
        PairwiseDatasetProcessor,
        PretrainDatasetProcessor,
        SupervisedDatasetProcessor,
    )
    from llamafactory.data.template import get_template_and_fix_tokenizer
    from llamafactory.hparams import DataArguments
    from transformers import PreTrainedTokenizerFast

    config = asked["config"]
    names = DataArguments.__dataclass_fields__
    own = {key: value for key, value in config.items() if key in names}
    arguments = DataArguments(**{**own, "dataset_dir": asked["folder"]})
    (attributes,) = get_dataset_list(list(arguments.dataset), asked["folder"])
    # Its configuration is of a later transformers; the tokenizer itself is one file.
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=f"{asked['checkpoint']}/tokenizer.json", **asked["tokens"]
    )
    template = get_template_and_fix_tokenizer(tokenizer, arguments)
    convert = get_dataset_converter(attributes.formatting, attributes, arguments)
    made = {
        "sft": SupervisedDatasetProcessor,
        "dpo": PairwiseDatasetProcessor,
        "pt": PretrainDatasetProcessor,
    }[config.get("stage", "sft")]
    processor = made(template=template, tokenizer=tokenizer, processor=None, data_args=arguments)
    found = []
    for row in asked["rows"]:
        converted = {key: [value] for key, value in convert(row).items()}
        done = processor.preprocess_dataset(converted)  # nothing of a row that it drops
        parts = ("chosen_", "rejected_") if "chosen_input_ids" in done else ("",)
        found.append(
            [
                {"input_ids": ids, "labels": labels}
                for part in parts
                for ids, labels in zip(done[f"{part}input_ids"], done[f"{part}labels"], strict=True)
            ]
        )
    return {"rows": found}


def main() -> None:
    """Answer until standard input ends."""
    if importlib.util.find_spec("torchaudio") is None:  # for sounds, which no row here has
        import transformers.utils.import_utils  # looks for it itself, and has not found it

        assert transformers.utils.import_utils
        absent = types.ModuleType("torchaudio")
        absent.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
        sys.modules["torchaudio"] = absent
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # it prints what it thinks of everything
    for line in sys.stdin:
        answers.write(json.dumps(encode(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
