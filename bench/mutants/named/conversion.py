"""Conversion and merging: what is trained must be what is served."""

from __future__ import annotations

from bench.mutants.mutant import Named

_METHODS = "builders/methods"
_FACTORS = f"{_METHODS}/factors.py"
_ADALORA = f"{_METHODS}/adalora.py"
_DORA = f"{_METHODS}/dora.py"
_FULL = f"{_METHODS}/full.py"
_LORA = f"{_METHODS}/lora.py"
_PREFIX = f"{_METHODS}/prefix_tuning.py"
_PROMPT = f"{_METHODS}/prompt_tuning.py"
_SOFT = f"{_METHODS}/soft_prompts.py"
_COMBINE = "builders/merging/combine.py"
_PARENTS = "builders/merging/parents.py"
_TESTS = "tests/builders/methods"
_OF_FACTORS = f"{_TESTS}/test_factors.py"
_OF_ADALORA = f"{_TESTS}/test_adalora_fold.py"
_OF_DORA = f"{_TESTS}/test_dora.py"
_OF_FULL = f"{_TESTS}/test_full.py"
_OF_LORA = f"{_TESTS}/test_lora.py"
_OF_SOFT = f"{_TESTS}/test_soft_prompts.py"
_OF_COMBINE = "tests/builders/merging/test_combine.py"
_OF_MERGE = "tests/builders/merging/test_merge.py"

NAMED = (
    Named(
        "rslora-is-scaled-as-lora",
        "builders/methods/factors.py",
        '(math.sqrt(rank) if configuration.get("use_rslora") else rank)',
        "rank",
        (f"{_OF_LORA}::test_the_scale_is_folded_into_what_is_padded",),
        "an adapter trained at α/√r would be served at a fraction of its strength",
    ),
    Named(
        "the-scale-is-lost-when-a-rank-is-padded",
        _LORA,
        '.float() * module_scale(configuration, module),\n',
        ".float(),\n",
        (f"{_OF_LORA}::test_the_scale_is_folded_into_what_is_padded",),
        "an adapter of rank 12 would be served at half its strength, one of rank 16 not",
    ),
    Named(
        "adalora-forgets-the-small-term-of-its-scale",
        _ADALORA,
        "/ (initial + 1e-5)",
        "/ initial",
        (f"{_OF_ADALORA}::test_the_diagonal_and_pefts_own_scale_are_folded_in",),
        "a form recorded as exact would differ from what was trained",
    ),
    Named(
        "adalora-scales-by-the-rank-it-ends-with",
        _ADALORA,
        'configuration["init_r"]',
        'configuration["target_r"]',
        (f"{_OF_ADALORA}::test_the_diagonal_and_pefts_own_scale_are_folded_in",
         f"{_OF_ADALORA}::test_pruned_triplets_are_dropped_and_the_others_stay_with_their_own"),
        "each adapter would be served half as strong again as it was trained",
    ),
    Named(
        "adaloras-diagonal-is-left-out",
        _ADALORA,
        ".float()[kept] * diagonal[kept]",
        ".float()[kept]",
        (f"{_OF_ADALORA}::test_the_diagonal_and_pefts_own_scale_are_folded_in",),
        "singular values, the very thing AdaLoRA trains, would not be served",
    ),
    Named(
        "negative-singular-values-count-as-pruned",
        _ADALORA,
        "kept = (diagonal != 0)",
        "kept = (diagonal > 0)",
        (f"{_OF_ADALORA}::test_pruned_triplets_are_dropped_and_the_others_stay_with_their_own",),
        "half of what was learnt would be dropped",
    ),
    Named(
        "a-resumed-adalora-forgets-which-ranks-it-pruned",
        _ADALORA,
        '.rank_pattern = values["rank_pattern"]',
        ".rank_pattern = None",
        (f"{_OF_ADALORA}::test_a_resumed_training_prunes_what_an_uninterrupted_one_would",),
        "pruned triplets would come back to life after an interruption",
    ),
    Named(
        "adalora-owes-no-pruning",
        _ADALORA,
        "owed = step > final and configuration.rank_pattern is None",
        "owed = False",
        (f"{_OF_ADALORA}::test_what_never_learnt_is_pruned_at_its_first_step",),
        "a training that learnt nothing until its budget was final would fail at its next step",
    ),
    Named(
        "adalora-with-nothing-to-prune-is-planned",
        _ADALORA,
        "    if table.rank >= table.initial_rank:\n",
        "    if table.rank > table.initial_rank:\n",
        ("tests/manifests/test_checks.py",),
        "it would fail at its first pruning, and again at every resume",
    ),
    Named(
        "what-adalora-remembers-stays-on-the-cpu",
        _ADALORA,
        "= tensor.to(device)",
        "= tensor",
        (f"{_OF_ADALORA}::test_what_it_remembers_is_put_where_the_weights_are",),
        "a training on a GPU could not be resumed",
    ),
    Named(
        "a-saved-adalora-forgets-its-pattern",
        _ADALORA,
        "            configuration.rank_pattern = pattern",
        "            del pattern",
        (f"{_OF_ADALORA}::test_what_is_saved_has_whole_factors",),
        "a training whose adapter is written at every step would fail in its last phase",
    ),
    Named(
        "doras-magnitudes-are-not-folded-in",
        _DORA,
        "(magnitude / norms)[:, None] * directed - base",
        "directed - base",
        (f"{_OF_DORA}::test_magnitudes_are_folded_in",),
        "DoRA would be served as LoRA",
    ),
    Named(
        "doras-norms-are-taken-by-column",
        _DORA,
        "torch.linalg.norm(directed, dim=1)",
        "torch.linalg.norm(directed.T[: len(directed)], dim=1)",
        (f"{_OF_DORA}::test_magnitudes_are_folded_in",),
        "square layers would be served with other columns' norms",
    ),
    Named(
        "doras-norms-are-the-bases",
        _DORA,
        "torch.linalg.norm(directed, dim=1)",
        "torch.linalg.norm(base, dim=1)",
        (f"{_OF_DORA}::test_magnitudes_are_folded_in",),
        "the further a training went the further off would be what is served",
    ),
    Named(
        "the-smallest-singular-values-are-kept",
        _FACTORS,
        "left = vectors.flip(-1)[:, :rank]",
        "left = vectors[:, :rank]",
        (f"{_OF_FACTORS}::test_a_cut_is_the_truncated_svd",),
        "a cut would keep the noise and drop what was learnt",
    ),
    Named(
        "tall-deltas-are-cut-transposed",
        _FACTORS,
        "        a, b = b.T, a.T\n",
        "        a, b = a.T, b.T\n",
        (f"{_OF_FACTORS}::test_a_cut_is_the_truncated_svd",),
        "every layer that widens would be refused by the engine",
    ),
    Named(
        "an-error-is-that-of-the-worst-kept-part-only",
        _FACTORS,
        "lost += errors[module] ** 2 * energy",
        "lost = errors[module] ** 2 * energy",
        (f"{_OF_FACTORS}::test_what_is_cut_and_written_states_its_own_errors",),
        "a release would pass `max_conversion_error` by its last module alone",
    ),
    Named(
        "a-written-lora-has-a-scale-of-its-own",
        _FACTORS,
        '"lora_alpha": rank,',
        '"lora_alpha": 2 * rank,',
        (f"{_OF_FACTORS}::test_a_written_folder_has_scale_one_and_its_ranks_padded_with_zeros",),
        "every converted adapter would be served twice as strong as it was trained",
    ),
    Named(
        "full-fine-tuning-is-cut-by-half-of-its-energy",
        _FULL,
        "ENERGY = 0.9",
        "ENERGY = 0.5",
        (f"{_OF_FULL}::test_the_rank_by_energy_is_one_of_the_engines_up_to_the_largest",),
        "what is served would have lost half of what was learnt",
    ),
    Named(
        "every-delta-of-a-full-training-is-held",
        _FULL,
        "    for _, delta in deltas:\n",
        "    for _, delta in list(deltas):\n",
        (f"{_OF_FULL}::test_one_delta_is_there_at_a_time",),
        "a training of 34B would end in its conversion, for want of 136 GB",
    ),
    Named(
        "a-given-rank-decomposes-every-delta-twice",
        _FULL,
        "summed=rank is None)",
        "summed=True)",
        (f"{_OF_FULL}::test_a_rank_that_is_given_asks_for_no_energies",),
        "a conversion would take hours to find a rank that the manifest says",
    ),
    Named(
        "what-is-left-out-is-not-said",
        _FULL,
        "if size > 0}",
        "if size > 1}",
        (f"{_OF_FULL}::test_what_lora_cannot_carry_is_named_with_its_size",),
        "nobody would learn that trained embeddings are not served",
    ),
    Named(
        "keys-and-values-are-swapped",
        _PREFIX,
        'tensors[f"layers.{layer}.key"] = cache[:, 2 * layer]',
        'tensors[f"layers.{layer}.key"] = cache[:, 2 * layer + 1]',
        (f"{_OF_SOFT}::test_keys_and_values_lie_by_token_layer_head_and_dimension",),
        "every prefix would answer nonsense, with the right shapes",
    ),
    Named(
        "a-prefix-is-read-as-all-keys-then-all-values",
        _PREFIX,
        "cache[:, 2 * layer + 1].contiguous()",
        "cache[:, (shape.layers + layer) % (2 * shape.layers)].contiguous()",
        (f"{_OF_SOFT}::test_keys_and_values_lie_by_token_layer_head_and_dimension",
         f"{_OF_SOFT}::test_the_mlp_of_p_tuning_v2_is_folded_into_keys_and_values"),
        "layers would read one another's values",
    ),
    Named(
        "a-prefix-starts-from-random-numbers",
        _PREFIX,
        "        start_from_tokens(adapted, initial_tokens(model, table))\n",
        "",
        (f"{_OF_SOFT}::test_a_prefix_starts_from_what_the_base_computes_for_tokens",),
        "a training would begin 7 nats above the base",
    ),
    Named(
        "a-soft-prompt-does-not-start-from-its-text",
        _PROMPT,
        "soft.copy_(model.get_input_embeddings()(chosen))",
        "pass",
        (f"{_OF_SOFT}::test_a_prompt_starts_from_its_text_repeated",),
        "`init_text` would do nothing",
    ),
    Named(
        "a-text-is-not-repeated-but-reversed",
        _SOFT,
        "(ids * (count // len(ids) + 1))[:count]",
        "(ids * (count // len(ids) + 1))[-count:]",
        (f"{_OF_SOFT}::test_a_prompt_starts_from_its_text_repeated",),
        "a prompt would start from the middle of its text",
    ),
    Named(
        "merged-weights-are-forgotten",
        _COMBINE,
        "part.factors.b * (part.scale * weight)",
        "part.factors.b * part.scale",
        (f"{_OF_COMBINE}::test_cat_is_the_sum_and_svd_at_full_rank_too",),
        "an adapter that is to be taken away would be added",
    ),
    Named(
        "merged-scales-are-forgotten",
        _COMBINE,
        "part.factors.b * (part.scale * weight)",
        "part.factors.b * weight",
        (f"{_OF_COMBINE}::test_cat_is_the_sum_and_svd_at_full_rank_too",),
        "of two parents the one with the larger α would lose its say",
    ),
    Named(
        "a-negative-weight-cancels-out",
        _COMBINE,
        "half * scaled.sign())",
        "half)",
        (f"{_OF_COMBINE}::test_every_rule_gives_what_peft_gives[linear]",),
        "what should be taken away would be added",
    ),
    Named(
        "alpha-patterns-are-not-read",
        _COMBINE,
        'alphas.get(get_pattern_key(list(alphas), module), config["lora_alpha"])',
        'config["lora_alpha"]',
        (f"{_OF_COMBINE}::test_a_scale_is_read_as_peft_reads_it",),
        "imported adapters with patterns would be merged at other strengths",
    ),
    Named(
        "different-bases-are-merged",
        _PARENTS,
        "if parent.release.base.digest != first.release.base.digest:",
        "if parent.release.base.model != first.release.base.model:",
        (f"{_OF_MERGE}::test_what_cannot_be_merged_is_refused_with_the_reason"
         "[refs6-options6-Refused-different bases]",),
        "deltas to dense and to quantized values would be added up",
    ),
    Named(
        "ranks-that-stay-move",
        'builders/methods/orthogonal.py',
        '        gradient.narrow(dimension, 0, kept).zero_()\n',
        '',
        ('tests/builders/methods/test_orthogonal.py::test_the_ranks_that_stay_get_no_gradient',),
        "what was learnt before would be overwritten after all",
    ),
    Named(
        "old-ranks-are-scaled-anew",
        'builders/methods/orthogonal.py',
        '(then / scale)',
        '1.0',
        ('tests/builders/methods/test_orthogonal.py::test_it_begins_as_the_release_and_leaves_its_ranks_alone',),
        "a continued adapter would begin as another one",
    ),
    Named(
        "what-was-learnt-is-a-difference-of-large-products",
        "builders/methods/lora.py",
        "factors[module] = balanced(difference)",
        "factors[module] = difference",
        ("tests/builders/methods/test_further_methods.py"
         "::test_what_was_taken_out_of_the_base_is_served_in_half_precision_too",),
        "on a GPU most of what a PiSSA adapter learnt would be rounding",
    ),
    Named(
        "a-rescaled-bias-is-lost-without-a-word",
        "builders/methods/ia3.py",
        "return _with_biases(conversion, scales, weights)",
        "return conversion",
        ("tests/builders/methods/test_further_methods.py"
         "::test_a_bias_that_ia3_rescales_is_part_of_what_is_lost",),
        "what is served of an IA3 on Qwen2 would be another model than the error says",
    ),
    Named(
        "a-prompt-starts-from-rows-of-the-weight",
        _PROMPT,
        "soft.copy_(model.get_input_embeddings()(chosen))",
        "soft.copy_(model.get_input_embeddings().weight[chosen])",
        (f"{_OF_SOFT}::test_before_any_step_it_is_to_the_base_what_its_text_is",),
        "on a Gemma a prompt would start at a fiftieth of a token's size",
    ),
    Named(
        "an-engine-quantizes-scales-that-training-had-whole",
        "gateway/engines/plan.py",
        'nf4 = base.quantization == "nf4" and base.double_quantization',
        'nf4 = base.quantization == "nf4"',
        ("tests/gateway/engines/test_launch.py::test_a_gpu_serves_the_values_that_training_saw",),
        "a GPU would serve other weights than the base's digest says",
    ),
    Named(
        "an-engine-quantizes-experts-that-training-had-whole",
        "gateway/engines/plan.py",
        "return nf4 and not holds_experts(base.checkpoint)",
        "return nf4",
        ("tests/gateway/engines/test_launch.py::test_experts_are_served_as_training_had_them",),
        "every adapter of a quantized mixture would fail its proof on a GPU",
    ),
)  # fmt: skip
