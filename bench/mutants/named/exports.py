"""Exports: another engine must compute the release, or there is no file."""

from __future__ import annotations

from bench.mutants.mutant import Named

_FAMILIES = "builders/exports/gguf/families.py"
_WRITER = "builders/exports/gguf/writer.py"
_TOKENIZER = "builders/exports/gguf/tokenizer.py"
_LORA = "builders/exports/lora.py"
_PROOF = "builders/exports/proof.py"
_RUN = "builders/exports/run.py"
_MERGED = "builders/exports/merged.py"
_MATERIAL = "builders/exports/material.py"
_TESTS = "tests/builders/exports/test_proof.py"
_COMPUTES = f"{_TESTS}::test_llama_cpp_computes_the_release"

_OF_ENDS = "tests/builders/exports/test_ends.py"
_GRAPH = "builders/exports/onnx/graph.py"
_FOLDER = "builders/exports/onnx/folder.py"
_OF_ONNX = "tests/builders/exports/test_onnx.py"

NAMED = (
    Named(
        "rows-of-q-stay-in-halves",
        _FAMILIES,
        'if ".q_proj" in name:',
        'if ".q_projection" in name:',
        (_COMPUTES,),
        "llama.cpp would turn the wrong pairs: a fluent model that says other things",
        quick=False,
    ),
    Named(
        "rows-of-k-have-as-many-heads-as-q",
        _FAMILIES,
        "in_pairs(rows, key_value_heads(config))",
        'in_pairs(rows, config["num_attention_heads"])',
        (_COMPUTES,),
        "every model with grouped queries would be scrambled",
        quick=False,
    ),
    Named(
        "halves-and-pairs-the-other-way-round",
        _FAMILIES,
        "rows.reshape(heads, 2, half,",
        "rows.reshape(heads, half, 2,",
        (f"{_TESTS}::test_rows_go_from_halves_to_pairs",),
        "the inverse order is another one for every head of more than four",
    ),
    Named(
        "a-window-is-passed-over",
        _FAMILIES,
        'config.get("use_sliding_window", kind == "mistral")',
        'config.get("use_sliding_window", False)',
        (f"{_TESTS}::test_bases_that_llama_cpp_would_compute_otherwise",),
        "long prompts would be answered otherwise, short ones as they should",
    ),
    Named(
        "rslora-is-exported-as-lora",
        "builders/methods/factors.py",
        '(math.sqrt(rank) if configuration.get("use_rslora") else rank)',
        "(rank)",
        (f"{_TESTS}::test_scales_as_peft_has_them", _COMPUTES),
        "the fault of the field's own converter: √r too weak",
        quick=False,
    ),
    Named(
        "a-pattern-matches-any-layer-that-ends-alike",
        "builders/methods/factors.py",
        r'rf"(.*\.)?({pattern})$"',
        r'rf"(.*)({pattern})$"',
        (f"{_TESTS}::test_scales_as_peft_has_them",),
        "`layers.1` would be `layers.11` too",
    ),
    Named(
        "one-alpha-for-all-ranks",
        _WRITER,
        "delta.scale * delta.rank / alpha",
        "delta.scale",
        (_COMPUTES,),
        "modules of a smaller rank would be too strong",
        quick=False,
    ),
    Named(
        "the-base-frequency-is-the-default",
        _WRITER,
        'rope_of(config)["rope_theta"]',
        "10000.0",
        (f"{_TESTS}::test_positions_turn_as_fast_as_declared",),
        "every model with another base frequency would lose its positions",
        quick=False,
    ),
    Named(
        "control-tokens-are-words",
        _TOKENIZER,
        '_CONTROL if added["special"] else _DEFINED',
        "_NORMAL",
        (_COMPUTES,),
        "the template's control tokens would be spelled out",
        quick=False,
    ),
    Named(
        "what-is-left-is-not-compared",
        _PROOF,
        "if p > 1e-9:",
        "if p > 1:",
        (f"{_TESTS}::test_the_divergence_by_hand",),
        "mass that moved to other tokens would not count",
    ),
    Named(
        "a-token-that-is-not-given-costs-nothing",
        _PROOF,
        "log_p - max(given.get(token, _FLOOR), _FLOOR)",
        "log_p - max(given.get(token, log_p), _FLOOR)",
        (f"{_TESTS}::test_the_divergence_by_hand",),
        "an engine that answers with other tokens would be right",
    ),
    Named(
        "other-distributions-are-accepted",
        _PROOF,
        "if not proof.divergence <= bound.divergence:",
        "if proof.divergence < 0:",
        (
            f"{_TESTS}::test_rows_in_the_wrong_order_are_seen",
            f"{_TESTS}::test_a_scale_that_is_lost_is_seen",
        ),
        "there would be no proof",
        quick=False,
    ),
    Named(
        "other-tokens-are-accepted",
        _PROOF,
        "if proof.same_texts < proof.texts:",
        "if proof.same_texts < 0:",
        (f"{_TESTS}::test_another_split_of_texts_is_seen",),
        "a wrong pre-tokenizer is the field's most frequent fault",
    ),
    Named(
        "another-template-is-accepted",
        _PROOF,
        "if proof.template is False:",
        "if proof.template is None:",
        (f"{_TESTS}::test_another_template_is_seen",),
        "the model would be asked in another form than it learnt",
    ),
    Named(
        "an-adapter-that-is-lost-in-rounding-is-accepted",
        _PROOF,
        "proof.divergence > proof.base_divergence / 2",
        "proof.divergence > proof.base_divergence * 200",
        (f"{_TESTS}::test_a_file_is_nearer_to_the_release_than_to_the_base",),
        "a four-bit file might be the base, and nobody would know",
    ),
    Named(
        "it-is-moved-before-it-is-proved",
        _RUN,
        'written = scratch / f"export{export.suffix}"',
        "written = place",
        (f"{_TESTS}::test_rows_in_the_wrong_order_are_seen",),
        "what failed its proof would stand under the name that was asked for",
        quick=False,
    ),
    Named(
        "an-export-sweeps-where-it-writes",
        _RUN,
        'tempfile.TemporaryDirectory(prefix=".adapters-export-", dir=place.parent) as made',
        '__import__("adapterworks.registry.releases.scratch", fromlist=["x"]).scratch_folder('
        'place.parent, ".adapters-export") as made',
        (f"{_TESTS}::test_nothing_else_is_touched_where_it_is_written",),
        "people's folders beside it would be looked at, and what is a day old removed",
    ),
    Named(
        "what-is-not-proved-does-not-say-so",
        _RUN,
        "    if not proved:\n",
        "    if proved is None:\n",
        (f"{_TESTS}::test_without_its_engine_it_is_written_when_asked_and_says_so",),
        "nobody could tell the two apart",
    ),
    Named(
        "it-is-not-noted",
        _RUN,
        'registry.log.note(material.name, material.version, "export", who=who, **done.to_json())',
        "_ = who",
        (f"{_TESTS}::test_it_is_noted_in_the_log",),
        "nobody could say which release a file is",
        quick=False,
    ),
    Named(
        "another-type-than-its-configuration-says",
        _MERGED,
        'config["dtype"] = str(dtype)',
        'config["torch_dtype"] = str(dtype)',
        (f"{_TESTS}::test_its_origin_is_in_the_file",),
        "it would be loaded in the base's type",
        quick=False,
    ),
    Named(
        "the-adapter-is-left-out-of-a-whole-model",
        _MATERIAL,
        "tensor if delta is None else tensor + delta.full()",
        "tensor",
        (_COMPUTES,),
        "the base would be exported under the adapter's name",
        quick=False,
    ),
    Named(
        "weights-that-are-there-twice-are-read-twice",
        "registry/bases/complete.py",
        "return [single] if single.exists() else sorted",
        "return sorted",
        (
            "tests/builders/exports/test_weights_twice.py"
            "::test_what_lies_beside_the_weights_is_not_exported",
        ),
        "the publisher's own copy of them would be taken for further tensors of the model",
        quick=False,
    ),
    Named(
        "weights-of-another-layout-go-along",
        "registry/bases/complete.py",
        '_OF_WEIGHTS = (".safetensors",',
        "_OF_WEIGHTS = (",
        (
            "tests/builders/exports/test_weights_twice.py"
            "::test_what_lies_beside_the_weights_is_not_exported[merged]",
        ),
        "an engine that reads every safetensors file of a folder would load the base beside it",
    ),
    Named(
        "one-end-is-enough-for-gguf",
        "builders/exports/gguf/tokenizer.py",
        "    for token, add in zip(ids, keys, strict=False):",
        "    for token, add in zip(ids[:1], keys, strict=False):",
        (f"{_OF_ENDS}::test_an_export_ends_where_the_release_does[gguf]",),
        "llama.cpp would go on after the turn's end, in the base's own words",
        quick=False,
    ),
    Named(
        "generators-are-told-of-no-end",
        _FOLDER,
        '"eos_token_id": list(ends) or 0,',
        '"eos_token_id": 0,',
        ("tests/builders/exports/test_onnx.py::test_what_the_generator_is_told",),
        "every answer would go on until the context is full",
    ),
    Named(
        "an-engine-that-goes-on-is-accepted",
        _PROOF,
        "if proof.same_ends < proof.ends:",
        "if proof.same_ends < 0:",
        (f"{_OF_ENDS}::test_ends_that_gguf_does_not_name_are_seen",),
        "a lost end token would be seen by users alone",
        quick=False,
    ),
    Named(
        "what-follows-the-end-is-not-compared",
        _PROOF,
        "return len(given) == len(wanted)",
        "return True",
        (f"{_OF_ENDS}::test_answers_that_are_the_same",),
        "an answer that never stops would equal the one that does",
    ),
    Named(
        "with-a-cache-later-tokens-see-the-first-alone",
        _GRAPH,
        "torch.arange(sequence) + (total - sequence)",
        "torch.arange(sequence)",
        (f"{_OF_ONNX}::test_onnx_runtime_computes_the_release",),
        "right without a cache, and gibberish from the second token on",
        quick=False,
    ),
    Named(
        "the-scale-of-an-onnx-adapter-is-lost",
        "builders/exports/onnx_lora.py",
        "delta.scale * delta.b.T",
        "delta.b.T",
        (f"{_OF_ONNX}::test_an_adapter_is_chosen_at_a_request",),
        "the adapter would be too weak or too strong, in one runtime only",
        quick=False,
    ),
    Named(
        "a-graph-of-a-window",
        _FOLDER,
        "    if window and config.get",
        "    if False and config.get",
        (f"{_OF_ONNX}::test_bases_whose_graph_would_compute_otherwise",),
        "long prompts would be answered otherwise, short ones as they should",
    ),
    Named(
        "positions-that-depend-on-the-length",
        _FOLDER,
        "    if rope not in _FIXED_ROPES:",
        "    if rope is None:",
        (f"{_OF_ONNX}::test_bases_whose_graph_would_compute_otherwise",),
        "the graph would have the frequencies of the text that was traced",
    ),
    Named(
        "what-writes-it-is-not-asked-for",
        _RUN,
        "    if not _installed(export.writer):",
        "    if False:",
        (f"{_OF_ONNX}::test_what_is_not_installed_is_named_with_its_extra",),
        "the exporter would end in an import error",
    ),
)
