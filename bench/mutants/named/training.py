"""Training: the step, the schedule, the rows' order, what is kept, what counts as best."""

from __future__ import annotations

from bench.mutants.mutant import Named

_ARITHMETIC = "builders/training/arithmetic.py"
_BATCHES = "builders/training/batches.py"
_CHECKPOINT = "builders/training/checkpoint.py"
_FORWARD = "builders/training/forward.py"
_LOOP = "builders/training/loop.py"
_MODEL = "builders/training/model.py"
_PREPARE = "builders/training/prepare.py"
_STATE = "builders/training/state.py"
_STEP = "builders/training/step.py"
_PROCESSES = "builders/training/processes.py"
_ADALORA = "builders/methods/adalora.py"
_TESTS = "tests/builders/training"
_REVIEW = "builders.md §5"
_OF_STEP = f"{_TESTS}/test_step.py"
_OF_LOOP = f"{_TESTS}/test_loop.py"
_OF_BATCHES = f"{_TESTS}/test_batches.py"
_OF_FORWARD = f"{_TESTS}/test_forward.py"
_OF_MODEL = f"{_TESTS}/test_model.py"
_OF_CHECKPOINT = f"{_TESTS}/test_checkpoint.py"
_OF_STATE = f"{_TESTS}/test_state.py"
_OF_BEST = f"{_TESTS}/test_best.py"
_OF_ADALORA = "tests/builders/methods/test_adalora.py"
_MEAN = f"{_OF_STEP}::test_a_step_is_the_mean_over_all_its_tokens"
_WHOLE = f"{_OF_LOOP}::test_a_whole_training_is_what_numpy_makes_of_it"
_RATES = f"{_TESTS}/test_arithmetic.py::test_every_steps_learning_rate"
_DROPOUT = f"{_OF_MODEL}::test_dropout_is_on_while_training_and_off_while_evaluating"
_ONCE = f"{_OF_BATCHES}::test_every_row_is_seen_once_in_every_epoch"
_RANKS = f"{_OF_STEP}::test_ranks_together_take_the_step_of_one"

_CHOSEN = (
    Named(
        "one-process-alone-heeds-a-signal",
        "builders/training/stop_request.py",
        "        if summed(accelerator, float(asked)) == 0 or",
        "        if not asked or",
        (f"{_TESTS}/test_stop_request.py::test_all_processes_end_after_the_same_step",),
        "the others would wait four hours for the one that has ended",
    ),
    Named(
        "a-training-that-is-asked-to-end-goes-on",
        "builders/training/stop_request.py",
        "        self._signalled = True\n",
        "        pass\n",
        (f"{_TESTS}/test_stop_request.py::test_it_ends_after_its_step_and_goes_on_from_there",),
        "a cluster that takes a node back would lose half an hour of learning",
    ),
    Named(
        "a-launcher-is-signalled",
        "builders/training/job.py",
        "        if not job.launched:\n            process.terminate()",
        "        if True:\n            process.terminate()",
        (f"{_TESTS}/test_job.py::test_an_interrupted_build_waits_for_what_its_training_saves",),
        "torchrun kills its processes 30 seconds later, in the middle of a checkpoint",
    ),
    Named(
        "a-column-begins-anew-in-every-example",
        _BATCHES,
        "        found, start = [], self._begins[index]\n",
        "        found, start = [], 0\n",
        (f"{_OF_BATCHES}::test_a_further_column_reads_no_example",),
        "every pair would be held near the reference of the first",
    ),
    Named(
        "the-chosen-attention-is-not-used",
        _MODEL,
        "    if plan.attention:\n",
        "    if False:\n",
        (
            f"{_TESTS}/test_causal_lm.py::"
            "test_a_training_computes_the_attention_that_its_plan_chose",
        ),
        "what the plan promises in memory and the digest names would not be what is trained",
    ),
    Named(
        "determinism-warns-alone",
        "builders/training/determinism.py",
        "    torch.use_deterministic_algorithms(True)\n",
        "    torch.use_deterministic_algorithms(True, warn_only=True)\n",
        (
            f"{_TESTS}/test_determinism.py::"
            "test_an_operation_without_such_a_kernel_ends_the_training",
        ),
        "memory-efficient attention would go on adding by atomics, and a rebuild would differ",
    ),
    Named(
        "determinism-is-not-set-before-cuda-starts",
        "builders/training/job.py",
        "    found |= environment_of(job.plan, os.environ)\n",
        "",
        (f"{_TESTS}/test_determinism.py::test_the_process_begins_with_what_cublas_reads_once",),
        "cuBLAS would refuse the first product of a deterministic training",
    ),
    Named(
        "a-deterministic-training-is-none",
        _LOOP,
        "    make_deterministic(job.plan)\n",
        "",
        (f"{_TESTS}/test_determinism.py::test_a_job_is_trained_with_such_kernels_and_says_so",),
        "the key would be read by nobody",
    ),
)

# The eighteen that builders.md planted, sixteen of which nobody noticed then.
_REVIEWED = (
    Named(
        "a-mean-of-means",
        _STEP,
        "            scaled = loss.sum * processes / total\n",
        "            scaled = loss.sum / max(loss.count, 1) / max(1, len(micros))\n",
        (_MEAN,),
        "a row with one label would weigh as much as one with a hundred, as in transformers' bug",
        _REVIEW,
    ),
    Named(
        "random-numbers-begin-anew-on-resume",
        _CHECKPOINT,
        "        restore_rng({name: saved[name + suffix] for name in names",
        "        _ = restore_rng, ({name: saved[name + suffix] for name in names",
        (f"{_OF_CHECKPOINT}::test_a_resumed_training_with_dropout_ends_with_the_weights_of_one_that"
         "_did_not_stop",),
        "a training that was killed would end with other weights than its plan's",
        _REVIEW,
    ),
    Named(
        "what-a-method-looks-at-goes-by-memory",
        _PREPARE,
        "for some in chunks(order, _AT_ONCE)[:_LOOKED_AT]:",
        "for some in chunks(order, plan.micro_batch)[:_LOOKED_AT]:",
        (f"{_TESTS}/test_eva.py::test_the_micro_batch_moves_nothing",),
        "equal digests would be of trainings that begin elsewhere",
        quick=False,
    ),
    Named(
        "what-is-written-would-be-computed-from-rows",
        "builders/methods/lora.py",
        "        _forget_init(model)  # of a model that was built once more, to be written\n",
        "",
        (f"{_TESTS}/test_sharding.py::"
         "test_a_start_that_is_computed_is_that_of_one_process",),
        "an adapter of weights in parts would ask its reader for training rows",
        quick=False,
    ),
    Named(
        "no-warm-up",
        _ARITHMETIC,
        "    if step < warmup:\n",
        "    if False:\n",
        (_RATES,),
        "the first steps, whose gradients are largest, would take the full rate",
        _REVIEW,
    ),
    Named(
        "a-cosine-that-is-constant",
        _ARITHMETIC,
        "(floor + (1 - floor) * SCHEDULES[schedule].fall(progress, decay_ratio))",
        "1.0",
        (_RATES,),
        "weights would jump about to the last step",
        _REVIEW,
    ),
    Named(
        "gradients-are-not-clipped",
        _STEP,
        "self.accelerator.clip_grad_norm_(self.parameters, most)",
        "self.accelerator.clip_grad_norm_(self.parameters, 1e9)",
        (f"{_OF_STEP}::test_a_gradient_is_clipped_to_its_norm_over_all_parameters",),
        "one strange row could undo a training",
        _REVIEW,
    ),
    Named(
        "weight-decay-is-ignored",
        _MODEL,
        "plan.learning_rate, manifest.train.weight_decay)",
        "plan.learning_rate, 0.0)",
        (f"{_OF_MODEL}::test_a_weight_without_a_gradient_only_decays",),
        "a key of the manifest would do nothing",
        _REVIEW,
    ),
    Named(
        "the-same-order-every-epoch",
        _BATCHES,
        "manual_seed(seed * 1_000_003 + epoch)",
        "manual_seed(seed * 1_000_003)",
        (f"{_OF_BATCHES}::test_every_epoch_and_every_seed_has_its_own_order",),
        "the same rows would meet in a batch every time",
        _REVIEW,
    ),
    Named(
        "a-tenth-of-the-rows-is-never-seen",
        _BATCHES,
        "    batches = [order[start : start + batch_size] for start",
        "    order = order[: max(1, len(order) * 9 // 10)] + order[: len(order) // 10]\n"
        "    batches = [order[start : start + batch_size] for start",
        (_ONCE,),
        "rows that somebody wrote would teach nothing, and others twice",
        _REVIEW,
    ),
    Named(
        "activations-are-not-recomputed",
        _MODEL,
        "    if plan.manifest.train.gradient_checkpointing:\n",
        "    if False:\n",
        (f"{_OF_MODEL}::test_activations_are_recomputed_if_that_is_asked_for",),
        "a plan that fits the machine would end without memory",
        _REVIEW,
    ),
    Named(
        "validation-with-dropout",
        _FORWARD,
        "        self.model.eval()\n        sums: dict[str, float] = {}\n        order",
        "        sums: dict[str, float] = {}\n        order",
        (f"{_OF_FORWARD}::test_a_validation_loss_is_the_mean_over_all_labels_without_dropout",),
        "the best step would be drawn by lot",
        _REVIEW,
    ),
    Named(
        "no-orthogonality-penalty",
        _ADALORA,
        "        return weight * torch.stack(norms).mean() if weight and norms else None\n",
        "        return None\n",
        (f"{_OF_ADALORA}::test_the_penalty_is_the_mean_distance_from_orthogonality",),
        "AdaLoRA's singular values would say nothing of importance",
        _REVIEW,
    ),
    Named(
        "best-before-the-budget-is-final",
        _ADALORA,
        "        return steps - schedule(table, steps)[1]\n",
        "        schedule(table, steps)\n        return 0\n",
        (f"{_OF_ADALORA}::test_the_phases_of_a_training",),
        "a release would have more ranks than it declares",
        _REVIEW,
    ),
    Named(
        "the-loss-scaler-begins-anew",
        _CHECKPOINT,
        '            self.accelerator.scaler.load_state_dict(values["scaler"])\n',
        "            pass\n",
        (f"{_OF_CHECKPOINT}::test_the_loss_scaler_comes_back",),
        "a resumed fp16 training would skip steps that the first one took",
        _REVIEW,
    ),
    Named(
        "a-tenth-of-the-activations-is-predicted",
        "builders/plan/memory.py",
        "        activations=int(HEAP[device] * _activations(",
        "        activations=int(0.1 * HEAP[device] * _activations(",
        (f"{_TESTS}/test_planned_memory.py::test_every_term_of_a_lora_training",),
        "plans would be accepted that end without memory after hours",
        _REVIEW,
    ),
    Named(
        "mixed-precision-is-never-on",
        _PROCESSES,
        '        mixed_precision="no" if plan.precision == "fp32" else plan.precision,\n',
        "        mixed_precision=None,\n",
        (f"{_OF_LOOP}::test_the_plans_precision_is_accelerates",),
        "a GPU would compute at a fraction of its speed, with another memory than planned",
        _REVIEW,
    ),
    Named(
        "dropout-is-not-passed-on",
        "builders/methods/lora.py",
        "            lora_dropout=table.dropout,\n",
        "",
        (_DROPOUT,),
        "a key of the manifest would do nothing",
        _REVIEW,
    ),
    Named(
        "the-largest-loss-is-best",
        "builders/objectives/objective.py",
        "return value > best if self.higher_is_better else value < best",
        "return value < best if self.higher_is_better else value > best",
        (f"{_OF_LOOP}::test_the_best_steps_weights_are_written_not_the_last_ones",),
        "the worst weights would be published",
        _REVIEW,
    ),
    Named(
        "a-validation-loss-by-row",
        _FORWARD,
        "        return {name: value / sum(rows.counts) for name, value in sums.items()}\n",
        "        return {name: value / len(rows) for name, value in sums.items()}\n",
        (f"{_OF_FORWARD}::test_a_validation_loss_is_the_mean_over_all_labels_without_dropout",),
        "the reported loss would be another unit than the one that is trained",
        _REVIEW,
    ),
)  # fmt: skip

_REBUILT = (
    Named(
        "evaluations-of-then-are-not-told",
        "builders/rebuilding/rebuild.py",
        '    return {"evaluate_every": before, **lock}\n',
        "    return {**lock}\n",
        (
            "tests/builders/rebuilding/test_rebuild.py"
            "::test_what_differs_is_said_and_its_distance_measured",
        ),
        "another best step could win, and the distance would stand there unexplained",
        quick=False,
    ),
)  # fmt: skip

# The tests that the review found unable to fail: what they name is broken, and they say so.
_COULD_NOT_FAIL = (
    Named(
        "a-mean-of-means-in-a-real-model",
        _STEP,
        "            scaled = loss.sum * processes / total\n",
        "            scaled = loss.sum * processes / loss.count / len(micros)\n",
        (f"{_TESTS}/test_train.py::test_accumulation_does_not_change_the_gradient[lora]",),
        "its rows had three labels each, so that a mean of means was the mean",
        _REVIEW,
        quick=False,
    ),
    Named(
        "random-numbers-of-a-real-model-begin-anew",
        _STATE,
        '    torch.set_rng_state(states["cpu"])\n',
        "    pass\n",
        (f"{_TESTS}/test_train.py::test_resume_gives_the_weights_of_an_uninterrupted_training[lora]",),
        "it drew no random number, so that none could be missing",
        _REVIEW,
        quick=False,
    ),
)  # fmt: skip

_STEP_NAMED = (
    Named(
        "the-last-micro-batch-is-dropped",
        _PROCESSES,
        "for start in range(0, len(mine), micro_batch)]",
        "for start in range(0, len(mine) - micro_batch + 1, micro_batch)]",
        (_MEAN,),
        "the rest of every batch that micro batches do not divide would teach nothing",
    ),
    Named(
        "a-step-adds-to-the-one-before",
        _STEP,
        "            self.optimizer.zero_grad(set_to_none=True)\n",
        "            pass\n",
        (f"{_OF_STEP}::test_a_step_forgets_the_one_before",),
        "every step would go where all earlier ones went, too",
    ),
    Named(
        "only-the-first-group-has-the-steps-rate",
        _STEP,
        "        for group in self.optimizer.param_groups:\n",
        "        for group in self.optimizer.param_groups[:1]:\n",
        (f"{_OF_STEP}::test_every_group_of_parameters_has_the_steps_rate",),
        "parameters in a group of their own would keep the peak rate",
    ),
    Named(
        "the-rate-is-the-next-steps",
        _STEP,
        "            number,\n            plan.steps,",
        "            number + 1,\n            plan.steps,",
        (f"{_OF_STEP}::test_every_group_of_parameters_has_the_steps_rate",),
        "the schedule would end a step early, at 0",
    ),
    Named(
        "a-row-that-another-moves-is-not-found-out",
        "builders/training/shared_prefix.py",
        "    return bool(((after - before).abs() <=",
        "    return bool(((after - after).abs() <=",
        (
            f"{_TESTS}/test_computes_alike.py::"
            "test_a_row_that_another_one_moves_is_found_however_much_is_tolerated",
        ),
        "in bf16 rows would learn from one another wherever that changes the loss by little",
    ),
    Named(
        "packing-is-not-asked-about",
        "builders/training/abilities.py",
        "    if not _computes_alike(forward, rows, plan, packing=True):\n",
        "    if False:\n",
        (f"{_OF_LOOP}::test_packing_that_a_base_cannot_do_is_refused",),
        "packed rows of a GPT-OSS would learn from one another",
    ),
    Named(
        "gradients-are-summed-at-every-micro-batch",
        _STEP,
        "            with self._gradients_stay_here(number + 1 < len(micros)):\n",
        "            with self._gradients_stay_here(False):\n",
        (f"{_OF_STEP}::test_gradients_are_summed_over_processes_once_a_step",),
        "two GPUs would wait for one another as often as there are micro batches",
    ),
    Named(
        "each-process-validates-all-rows-for-itself",
        _LOOP,
        "self.plan.micro_batch, self.accelerator)",
        "self.plan.micro_batch)",
        (f"{_OF_LOOP}::test_validation_is_shared_and_summed_over_processes",),
        "processes that differ in the last bit would stop at different steps",
    ),
    Named(
        "sharded-weights-are-trained-and-a-part-is-written",
        "builders/training/job.py",
        "    if kind not in REPLICATED:\n",
        "    if False:\n",
        (f"{_TESTS}/test_accelerate.py::test_a_configuration_that_shards_is_refused_first",),
        "a release would hold one process's part of the weights",
    ),
    Named(
        "processes-wait-ten-minutes-for-a-checkpoint",
        _PROCESSES,
        "InitProcessGroupKwargs(timeout=_PATIENCE)",
        "InitProcessGroupKwargs()",
        (f"{_OF_LOOP}::test_processes_wait_for_hours",),
        "a full training of 34B on GPUs would end at its first checkpoint, for ever",
    ),
    Named(
        "a-model-is-compiled-before-its-hooks-are-on",
        _PROCESSES,
        '        dynamo_backend="no",\n',
        "",
        (f"{_OF_LOOP}::test_the_environment_neither_compiles_nor_divides",),
        "a variable of a shell would let probes and the projection look at nothing",
    ),
    Named(
        "losses-are-divided-by-what-a-shell-says",
        _PROCESSES,
        "        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),\n",
        "",
        (f"{_OF_LOOP}::test_the_environment_neither_compiles_nor_divides",),
        "a training would learn at a quarter of its gradients, while its loss says nothing",
    ),
    Named(
        "more-processes-train-than-are-planned",
        "builders/training/job.py",
        "    if said not in (-1, train.processes):\n",
        "    if False:\n",
        (f"{_TESTS}/test_job.py::test_processes_of_a_configuration_are_the_plans",),
        "memory, cards and micro batch would be planned for one process where eight train",
    ),
    Named(
        "a-configurations-compiler-is-left-out-without-a-word",
        "builders/training/job.py",
        '    if compiler.lower() != "no":\n',
        "    if False:\n",
        (f"{_TESTS}/test_job.py::test_a_configuration_that_compiles_is_refused",),
        "a user would believe that the training is compiled",
    ),
    Named(
        "nothing-is-saved-between-evaluations",
        _LOOP,
        "elif stop is not None or saving.due(self.accelerator):",
        "elif stop is not None:",
        (
            f"{_TESTS}/test_saving.py::"
            "test_a_training_saves_between_evaluations_and_goes_on_from_there",
        ),
        "a job of twenty hours that is killed in the fifth would begin anew",
    ),
    Named(
        "an-overflow-of-fp16-ends-the-training",
        _STEP,
        "        if scaler is None or scaler.get_scale() <= 1.0:\n",
        "        if True:\n",
        (f"{_OF_STEP}::test_a_scale_that_overflows_is_halved_and_the_same_rows_are_taken_again",),
        "the scale that fp16 begins at is meant to overflow: no training would get past that",
    ),
    Named(
        "the-scale-is-halved-for-ever",
        _STEP,
        " or scaler.get_scale() <= 1.0:\n",
        " or scaler.get_scale() <= 0.0:\n",
        (f"{_OF_STEP}::test_a_gradient_that_is_no_number_at_any_scale_is_told",),
        "a training that diverged in fp16 would never end",
    ),
    Named(
        "full-precision-is-what-the-environment-says",
        _PROCESSES,
        '        mixed_precision="no" if',
        "        mixed_precision=None if",
        (f"{_OF_LOOP}::test_the_plans_precision_is_accelerates",),
        '`precision = "fp32"` under a configuration with bf16 would train in bf16',
    ),
    Named(
        "qlora-multiplies-in-full-precision",
        "builders/methods/qlora.py",
        "            dtype=dtype,\n",
        "",
        ("tests/builders/training/test_model.py::test_qlora_multiplies_in_the_plans_precision",),
        "`train.precision` would say nothing of QLoRA",
    ),
    Named(
        "a-step-that-is-no-number-is-taken",
        _STEP,
        "            if finite:\n",
        "            if True:\n",
        (f"{_OF_STEP}::test_a_step_that_is_no_number_changes_nothing",),
        "all weights would be NaN when the reason is told",
    ),
    Named(
        "a-regularizer-counts-in-every-micro-batch",
        _STEP,
        "regularizer * (loss.count * processes / total)",
        "regularizer * processes",
        (f"{_OF_STEP}::test_a_regularizer_counts_once_however_the_step_is_cut",),
        "AdaLoRA's penalty would depend on how much memory there is",
    ),
    Named(
        "a-spare-micro-batch-counts",
        _STEP,
        "                if number >= own:\n",
        "                if False:\n",
        (_RANKS,),
        "a row would be learnt twice wherever processes have unequal shares",
    ),
    Named(
        "processes-take-unequal-numbers-of-passes",
        _PROCESSES,
        "*([indices[:1]] * (most - len(micros)))",
        "*([indices[:1]] * 0)",
        (_RANKS,),
        "the last step of an epoch would wait for ever",
    ),
    Named(
        "every-process-has-all-rows",
        _PROCESSES,
        "indices[accelerator.process_index :: processes]",
        "indices[::processes]",
        (_RANKS,),
        "half of the rows would teach nothing on two GPUs",
    ),
    Named(
        "the-method-is-told-the-step-before",
        _STEP,
        "                    self.technique.before_zero_grad(self.forward.bare, number + 1)",
        "                    self.technique.before_zero_grad(self.forward.bare, number)",
        (f"{_OF_STEP}::test_the_methods_hook_sees_the_gradients_and_steps_from_one",),
        "AdaLoRA would prune a step late, and never finish its budget",
    ),
    Named(
        "the-method-is-told-of-every-update",
        _STEP,
        "                if last:\n",
        "                if True:\n",
        (f"{_OF_STEP}::test_the_methods_hook_is_called_once_a_step_whatever_its_updates",),
        "AdaLoRA with PPO would end its budget four times, and fail at the second",
    ),
    Named(
        "an-idle-step-prunes-nothing",
        _STEP,
        'included."""\n        self.technique.before_zero_grad(self.forward.bare, number + 1)',
        'included."""',
        (f"{_OF_STEP}::test_the_methods_hook_is_called_once_a_step_whatever_its_updates",),
        "AdaLoRA would stay above its declared rank where the last pruning learns nothing",
    ),
    Named(
        "packing-is-forgotten",
        _FORWARD,
        "layout = packed if packing else partial(padded, pad=self.pad)",
        "layout = partial(padded, pad=self.pad)",
        (f"{_OF_FORWARD}::test_packed_rows_are_one_row_whose_positions_begin_anew",),
        "memory would be planned for less than is computed",
    ),
    Named(
        "packed-rows-are-one-text",
        "builders/objectives/batch.py",
        "torch.cat([torch.arange(len(sequence.input_ids)) for sequence in sequences])",
        "torch.arange(sum(len(sequence.input_ids) for sequence in sequences))",
        (f"{_OF_FORWARD}::test_packed_rows_are_one_row_whose_positions_begin_anew",),
        "rows would see one another, and other positions than when they are served",
    ),
    Named(
        "rows-behind-what-they-share-see-each-other",
        "builders/objectives/batch.py",
        "    seen = past & ((groups[None, :] == groups[:, None]) | (groups[None, :] == 0))\n",
        "    seen = past\n",
        (f"{_OF_FORWARD}::test_rows_behind_what_they_share_are_one_row_with_a_mask_of_its_own",),
        "a row's answer would be learnt from its neighbours",
    ),
    Named(
        "an-objective-may-count-as-it-likes",
        _FORWARD,
        "        if not math.isclose(loss.count, expected, rel_tol=1e-4):\n",
        "        if False:\n",
        (f"{_OF_FORWARD}::test_an_objective_that_counts_otherwise_is_refused",),
        "the gradient would depend on the micro batch",
    ),
)
_LOOP_NAMED = (
    Named(
        "every-epoch-is-the-first",
        _PREPARE,
        "        epoch=epoch,\n",
        "        epoch=0,\n",
        (f"{_OF_LOOP}::test_every_epoch_has_the_rows_in_its_own_order",),
        "the same rows would meet in a batch every time",
    ),
    Named(
        "no-evaluation-at-the-end",
        _LOOP,
        "if progress.step % plan.evaluate_every == 0 or progress.step == plan.steps:",
        "if progress.step % plan.evaluate_every == 0:",
        (_WHOLE,),
        "the last steps could never be the best, and would be lost",
    ),
    Named(
        "as-good-is-better",
        "builders/objectives/objective.py",
        "return value > best if self.higher_is_better else value < best",
        "return value >= best if self.higher_is_better else value <= best",
        (f"{_OF_BEST}::test_early_stopping_counts_evaluations_without_a_better_one",),
        "a training that has come to rest would go on to its end",
    ),
    Named(
        "patience-is-never-renewed",
        _LOOP,
        "progress.best_value, progress.worse = progress.step, value, 0",
        "progress.best_value = progress.step, value",
        (f"{_OF_BEST}::test_early_stopping_counts_evaluations_without_a_better_one",),
        "a training that still gets better would be stopped",
    ),
    Named(
        "a-step-that-is-not-ready-counts-as-worse",
        _LOOP,
        "        elif eligible:\n",
        "        else:\n",
        (f"{_OF_BEST}::test_a_step_before_the_method_is_ready_is_never_the_best",),
        "AdaLoRA would be stopped before its first weights that count",
    ),
    Named(
        "the-loss-is-what-is-reported",
        _LOOP,
        "values[self.objective.reports]",
        "values[LOSS]",
        (f"{_OF_BEST}::test_what_the_objective_reports_decides",),
        "the best of a preference training would be chosen by another number than is told",
    ),
    Named(
        "the-last-weights-are-written",
        _LOOP,
        "        self.checkpoints.put_best_back(progress)\n",
        "",
        (f"{_OF_LOOP}::test_the_best_steps_weights_are_written_not_the_last_ones",),
        "a release would have weights that are worse than the ones it reports",
    ),
    Named(
        "where-the-loss-began-is-forgotten",
        _LOOP,
        "progress.first_losses, progress.smoothed)",
        "None, None)",
        (f"{_TESTS}/test_resume.py::test_where_the_loss_began_is_remembered_when_it_goes_on",),
        "a training that diverges could be resumed until it looks well",
    ),
    Named(
        "rows-of-like-length-are-packed-together",
        _PREPARE,
        "table.group_by_length and not table.packing",
        "table.group_by_length",
        (f"{_OF_LOOP}::test_packed_rows_are_not_grouped_by_length",),
        "packed trainings would see less mixed batches for nothing",
    ),
    Named(
        "the-shortest-rows-are-tried",
        "builders/training/abilities.py",
        "key=lambda index: -rows.lengths[index])",
        "key=lambda index: rows.lengths[index])",
        (f"{_OF_LOOP}::test_a_shared_beginning_is_tried_on_the_longest_rows",),
        "a sliding window that cuts long rows would not be found out",
    ),
    Named(
        "steps-of-an-earlier-process-take-no-time",
        _LOOP,
        "            progress.seconds += time.perf_counter() - started\n",
        "            progress.seconds = time.perf_counter() - started\n",
        (f"{_OF_LOOP}::test_speed_and_what_is_left_come_from_the_steps_alone",),
        "the speed in the release would be that of its last step",
    ),
    Named(
        "a-tracker-that-fails-ends-the-training",
        "builders/training/trackers/__init__.py",
        "except Exception as error:  # whatever a tracker's client raises\n                self",
        "except MemoryError as error:\n                self",
        (
            "tests/builders/training/test_tracked.py::"
            "test_one_that_fails_later_is_told_no_more_and_the_others_go_on",
        ),
        "a week of training would be lost because a dashboard is away",
    ),
    Named(
        "a-run-is-called-after-the-adapter-anyway",
        "builders/training/trackers/__init__.py",
        "Label(table.project, table.run or adapter,",
        "Label(adapter, table.run or adapter,",
        (
            "tests/builders/training/test_tracked.py::"
            "test_a_run_has_the_names_that_were_chosen_for_it",
        ),
        "a tenant's metrics would be in a project that nobody allowed",
    ),
    Named(
        "a-tracker-misses-what-is-zero",
        "builders/training/trackers/__init__.py",
        "            and isinstance(value, int | float)\n",
        "            and value\n            and isinstance(value, int | float)\n",
        (f"{_TESTS}/test_tracked.py::test_a_loss_of_zero_is_a_number",),
        "a chart would have holes where the loss is 0",
    ),
    Named(
        "half-an-event-is-read",
        "builders/training/events.py",
        "    for line in ended_lines(data):\n",
        "    for line in data.decode().splitlines():\n",
        (f"{_TESTS}/test_events.py",),
        "an event would be passed on before it is whole, or cut at another kind of line's end",
    ),
    Named(
        "too-little-memory-is-any-fault",
        "builders/training/failure.py",
        "return isinstance(error, MemoryError) or any(",
        "return isinstance(error, MemoryError) and any(",
        (f"{_TESTS}/test_job.py::test_too_little_memory_is_told_with_what_takes_less",),
        "the commonest failure on a GPU would be a trace without a remedy, and be tried again",
    ),
    Named(
        "a-cap-of-the-scores-is-passed-over",
        "registry/bases/causal_lm.py",
        'given["attn_implementation"] = EAGER',
        'given["attn_implementation"] = "sdpa"',
        (
            "tests/builders/training/test_causal_lm.py::"
            "test_a_cap_of_the_scores_is_computed_wherever_a_base_is_loaded",
        ),
        "Gemma 2 would be trained and judged without its soft cap, and served with it",
    ),
    Named(
        "a-reader-is-not-told-of-the-cap",
        "builders/exports/peft.py",
        "if needs_eager(material.checkpoint):",
        "if False:",
        (
            "tests/builders/exports/test_templates.py::"
            "test_a_peft_folder_says_with_which_attention_its_base_is_loaded",
        ),
        "whoever loads an exported adapter of Gemma 2 by its page would get other answers",
        quick=False,
    ),
    Named(
        "a-cap-moves-no-digest",
        "builders/plan/plan.py",
        '({"attention": EAGER} if self.capped else {})',
        "{}",
        (
            "tests/builders/training/test_causal_lm.py::"
            "test_a_cap_moves_the_digest_of_a_training_and_no_other",
        ),
        "a training that began without the cap would go on with it",
    ),
    Named(
        "an-images-tower-is-adapted",
        "builders/methods/linears.py",
        "module is output or module not in text or",
        "module is output or",
        ("tests/builders/methods/test_towers.py::test_no_linear_of_the_tower_gets_an_adapter",),
        "half of an adapter for Gemma 3 would never learn, and two processes stop at step 2",
    ),
    Named(
        "names-of-a-tower-are-pefts-own-words",
        "builders/methods/low_rank.py",
        "plain = plain and takes_text_alone(model)",
        "plain = bool(plain)",
        ("tests/builders/methods/test_towers.py::test_what_is_planned_is_attached_and_of_text",),
        "`q_proj` would be a tower's too",
    ),
    Named(
        "what-is-served-names-a-towers-modules",
        "builders/methods/conversion.py",
        "return sorted(modules) if self.shape.beside else None",
        "return None",
        ("tests/builders/methods/test_towers.py::test_what_is_served_names_no_module_of_a_tower",),
        "PEFT would put an adapter that nobody trained beside the tower's modules",
    ),
    Named(
        "files-are-named-as-modules",
        "registry/bases/complete.py",
        'if "text_config" not in config and not left_out(',
        "if config and not left_out(",
        (
            "tests/builders/methods/test_towers.py::"
            "test_what_its_files_hold_is_named_as_its_modules_are",
        ),
        "after its whole training, a full fine-tuning of Gemma 3 could not be converted",
    ),
    Named(
        "a-tower-is-trained-whole",
        "builders/methods/full.py",
        "for parameter in of_text(model):",
        "for parameter in model.parameters():",
        ("tests/builders/methods/test_towers.py::test_what_is_planned_is_attached_and_of_text",),
        "several processes would wait for gradients that never come",
    ),
    Named(
        "a-killed-rank-is-an-exit-code",
        "builders/training/failure.py",
        " or (root and int(root[2]) in _KILLED)",
        "",
        (f"{_TESTS}/test_job.py::test_of_several_processes_the_one_that_failed_first_says_why",),
        "nobody would be told that one of several processes wanted memory",
    ),
    Named(
        "whoever-failed-last-says-why",
        "builders/training/failure.py",
        "told = first or raised",
        "told = raised",
        (f"{_TESTS}/test_job.py::test_of_several_processes_the_one_that_failed_first_says_why",),
        "the reason would be that another process was gone",
    ),
    Named(
        "an-earlier-builds-events-are-told-again",
        "builders/training/job.py",
        "        self._start = path.stat().st_size if path.exists() else 0\n",
        "        self._start = 0\n",
        (f"{_TESTS}/test_job.py::test_events_are_passed_on_each_once_and_none_of_an_earlier_run",),
        "a resumed build would show steps that were done before",
    ),
)
_KEPT_NAMED = (
    Named(
        "moments-are-forgotten",
        _STATE,
        "        optimizer.state[parameter][slot] = _beside(",
        "        _ = _beside(",
        (f"{_OF_STATE}::test_an_optimizer_goes_on_as_if_it_had_not_stopped",),
        "a resumed training would take its first steps as if it had just begun",
    ),
    Named(
        "the-best-weights-are-pruned",
        _CHECKPOINT,
        'keep_only(self.folder, {name, f"best-{progress.best_step:08d}"})',
        "keep_only(self.folder, {name})",
        (f"{_OF_CHECKPOINT}::test_only_the_newest_and_the_best_stay",),
        "the training would end with an error when the best is put back",
    ),
    Named(
        "every-checkpoint-stays",
        _STATE,
        "            shutil.rmtree(path, ignore_errors=True)\n",
        "            pass\n",
        (f"{_OF_STATE}::test_all_others_are_removed",),
        "a training would fill the disk that its plan said it needs little of",
    ),
    Named(
        "the-oldest-checkpoint-is-the-newest",
        _STATE,
        "    return Restored(found[-1], json.loads((found[-1] / _STATE)",
        "    return Restored(found[0], json.loads((found[0] / _STATE)",
        (f"{_OF_STATE}::test_the_newest_is_the_last_complete_one",),
        "hours would be trained again",
    ),
    Named(
        "an-incomplete-checkpoint-is-taken",
        _STATE,
        'checkpoints.glob(f"step-*/{_STATE}")',
        'checkpoints.glob("step-*/*")',
        (f"{_OF_STATE}::test_the_newest_is_the_last_complete_one",),
        "a resume after a full disk would end with an error",
    ),
    Named(
        "what-the-method-remembers-is-forgotten",
        _CHECKPOINT,
        '        self.technique.restore(self.model, method, values["method"])\n',
        "        _ = method\n",
        (
            f"{_OF_CHECKPOINT}::test_a_resumed_training_with_dropout_ends_with_the_weights_of_one_that"
            "_did_not_stop",
        ),
        "a resumed AdaLoRA would prune other ranks",
    ),
    Named(
        "every-training-begins-otherwise",
        _MODEL,
        "    torch.manual_seed(plan.manifest.train.seed)\n",
        "",
        (f"{_OF_MODEL}::test_equal_plans_begin_with_equal_weights_and_other_seeds_do_not",),
        "a release could not be rebuilt",
    ),
    Named(
        "a-reference-with-dropout",
        "builders/training/reference.py",
        "    forward.bare.eval()\n",
        "",
        (f"{_TESTS}/test_reference.py::test_every_labelled_token_has_its_log_probability",),
        "a preference would be measured against a model that nobody has",
    ),
    Named(
        "a-reference-of-what-was-learnt",
        "builders/training/reference.py",
        "    if path.exists():\n",
        "    if False:\n",
        (f"{_TESTS}/test_reference.py::test_a_training_that_goes_on_reads_what_was_said_first",),
        "a resumed preference training would begin at 0 again",
    ),
    Named(
        "asking-the-model-draws-random-numbers",
        "builders/training/shared_prefix.py",
        '    with torch.random.fork_rng([device] if device.type == "cuda" else []):\n',
        "    if True:\n",
        (f"{_TESTS}/test_computes_alike.py::test_asking_leaves_no_trace",),
        "resume would not be exact on a base with dropout",
    ),
    Named(
        "a-mask-that-is-ignored-is-not-found-out",
        "builders/training/shared_prefix.py",
        "    if not bool(((got - expected).abs() <=",
        "    if not bool(((got - got).abs() <=",
        (f"{_TESTS}/test_computes_alike.py",),
        "rows would learn from one another on models that take no such mask",
    ),
    Named(
        "the-budget-never-falls",
        _ADALORA,
        "            adapted.update_and_allocate(step)\n",
        "            pass\n",
        (f"{_OF_ADALORA}::test_the_budget_falls_by_the_papers_cube_and_only_then_a_step_is_best",),
        "AdaLoRA would be a LoRA of its initial rank",
        quick=False,
    ),
    Named(
        "a-groups-own-rate-is-forgotten",
        _STEP,
        'rate * group.get("times", 1.0)',
        "rate",
        (f"{_OF_STEP}::test_every_group_of_parameters_has_the_steps_rate",),
        "LoRA+ would be LoRA",
    ),
    Named(
        "noise-while-evaluating",
        _MODEL,
        "        if not module.training:\n",
        "        if False:\n",
        (f"{_OF_MODEL}::test_noise_is_neftunes_and_only_while_training",),
        "the best checkpoint would be chosen by chance",
    ),
    Named(
        "what-an-optimizer-remembers-is-not-put-back",
        _STATE,
        "        group.update(saved)\n",
        "        pass\n",
        (
            "tests/builders/optimizers/test_optimizers.py::test_what_is_saved_after_three_steps_goes_on_as_if_it_had_not_stopped",
        ),
        "a resumed schedule-free training would average anew",
    ),
    Named(
        "the-start-stays-in-what-is-served",
        "builders/methods/lora.py",
        "-scale * b",
        "0 * b",
        ("tests/builders/methods/test_further_methods.py",),
        "PiSSA would be served with its start twice",
        quick=False,
    ),
    Named(
        "a-start-is-taken-out-of-rounded-weights",
        "builders/methods/subtracted.py",
        "        base.weight.data = held\n",
        "        base.weight.data = (held.float() - layer.scaling['default'] * ("
        "layer.lora_B['default'].weight @ layer.lora_A['default'].weight).data).to(held.dtype)\n",
        (
            "tests/builders/methods/test_further_methods.py::"
            "test_a_start_in_the_base_is_exact_in_half_precision",
        ),
        "on every GPU PiSSA would be trained on another base than it is served on",
    ),
    Named(
        "a-start-stays-in-what-is-given",
        "builders/methods/subtracted.py",
        "(learnt - begun) * module.scaling",
        "(learnt - 0 * begun) * module.scaling",
        (
            "tests/builders/methods/test_further_methods.py::"
            "test_a_start_in_the_base_is_exact_in_half_precision",
        ),
        "PiSSA would begin with its directions twice",
    ),
    Named(
        "a-start-of-another-code-is-gone-on-with",
        "builders/methods/lora.py",
        "return 2 * INITS[table.init].part_of_base",
        "return 0",
        (
            "tests/builders/methods/test_further_methods.py::"
            "test_a_training_that_began_on_what_was_left_does_not_go_on",
        ),
        "its factors would be read beside a start that they were not trained with",
    ),
    Named(
        "a-plan-forgets-adamws-moments",
        "builders/plan/memory.py",
        "optimizer=int(stepped.state * trainable)",
        "optimizer=int(stepped.state * trainable) // 2",
        (f"{_TESTS}/test_planned_memory.py",),
        "a full training would be planned that does not fit",
    ),
)

_ROUNDED = "builders/training/fake_quantization.py"
_OF_ROUNDED = "tests/builders/training/test_fake_quantization.py"

_ROUNDED_NAMED = (
    Named(
        "levels-are-cut-instead-of-rounded",
        _ROUNDED,
        "(scaled.abs() + 0.5).floor()",
        "scaled.abs().floor()",
        (f"{_OF_ROUNDED}::test_the_grid_is_that_of_the_file", f"{_OF_ROUNDED}::test_by_hand"),
        "a training would learn for another grid than the file has",
    ),
    Named(
        "scales-of-blocks-are-not-halves",
        _ROUNDED,
        "(levels.float() * scale.half().float())",
        "(levels.float() * scale)",
        (f"{_OF_ROUNDED}::test_the_grid_is_that_of_the_file",),
        "the file keeps half-precision scales",
    ),
    Named(
        "a-rounded-weight-has-no-gradient",
        _ROUNDED,
        "return weight + (rounding(weight) - weight).detach()",
        "return rounding(weight)",
        (f"{_OF_ROUNDED}::test_gradients_pass_as_if_nothing_was_rounded",),
        "nothing would be learnt",
    ),
    Named(
        "a-lora-is-left-out-of-what-is-rounded",
        _ROUNDED,
        "weight = weight + layer.get_delta_weight(name)",
        "weight = weight + 0.0 * layer.get_delta_weight(name)",
        (f"{_OF_ROUNDED}::test_a_lora_is_rounded_together_with_its_base",),
        "the adapter would not be trained",
    ),
    Named(
        "the-output-has-four-bits",
        _ROUNDED,
        'ROUNDINGS["int8" if id(module) in ends else kind]',
        "ROUNDINGS[kind]",
        (f"{_OF_ROUNDED}::test_a_lora_is_rounded_together_with_its_base",),
        "the file keeps eight bits of embeddings, a training would fight what is not rounded so",
    ),
)

_OF_DECODING = "tests/builders/engines/test_decoding.py"
_OF_CACHES = "tests/builders/generation/test_caches.py"
_DECODED = (
    Named(
        "rows-take-each-others-cache",
        "builders/engines/decoding.py",
        "batch_select_indices(chooser)",
        "batch_select_indices(chooser.flip(0))",
        (_OF_DECODING,),
        "an evaluation would judge answers to other questions",
        quick=False,
    ),
    Named(
        "who-has-ended-is-computed-on",
        "builders/engines/decoding.py",
        "2 * self._ended.sum() >= len(ended)",
        "self._ended.sum() > len(ended)",
        (_OF_DECODING,),
        "every batch would cost its longest answer, row for row",
        quick=False,
    ),
    Named(
        "rows-that-were-chosen-are-forgotten",
        "builders/generation/kv_cache.py",
        "self.keys is self._seen[0] and self.values is self._seen[1]",
        "True",
        (f"{_OF_CACHES}::test_rows_are_chosen_tokens_cut_and_it_goes_on",),
        "rows that go on would read the keys of those that have ended",
    ),
    Named(
        "keys-are-copied-for-each-token",
        "builders/generation/kv_cache.py",
        "_ROOM = 64",
        "_ROOM = 0",
        (f"{_OF_CACHES}::test_keys_and_values_are_not_copied_for_each_token",),
        "an evaluation would spend its time copying what it has",
    ),
    Named(
        "heads-ask-anothers-keys",
        "builders/generation/grouped_query_attention.py",
        "query.reshape(rows, heads // groups, groups, width)",
        "query.reshape(rows, groups, heads // groups, width).transpose(1, 2)",
        (f"{_OF_CACHES}::test_heads_of_a_group_see_what_they_see_alone[6-2]",),
        "an evaluation would judge another model than the one that is served",
    ),
)

_AROUND = (
    Named(
        "trackers-hear-of-losses-alone",
        "builders/training/trackers/__init__.py",
        "            if name not in _PROGRESS\n",
        '            if name in ("loss", "learning_rate", "gradient_norm", "tokens_per_second")\n',
        (f"{_TESTS}/test_tracked.py::test_what_an_objective_tells_is_told",),
        "no tracker would show the rewards of a training by rewards",
    ),
    Named(
        "every-process-keeps-what-it-helps-to-gather",
        "builders/training/tensor_file.py",
        "        for name in order:\n            whole(tensors[name])\n        return\n",
        "        _ = [whole(tensors[name]) for name in order]\n        return\n",
        (f"{_TESTS}/test_tensor_file.py::test_one_tensor_is_whole_at_a_time_in_every_process",),
        "eight processes of a 34B model would fill the node's memory at its first checkpoint",
        quick=False,
    ),
    Named(
        "tensors-are-gathered-before-they-are-written",
        "builders/training/tensor_file.py",
        "        for name in order:\n            file.write(whole(tensors[name])",
        "        gathered = {name: whole(tensors[name]) for name in order}\n"
        "        for name in order:\n            file.write(gathered[name]",
        (f"{_TESTS}/test_tensor_file.py::test_one_tensor_is_whole_at_a_time_in_every_process",),
        "the process that writes would hold weights and moments whole",
        quick=False,
    ),
    Named(
        "a-checkpoint-is-read-whole",
        _STATE,
        "    for key in tensors:\n        name, _,",
        "    tensors = dict(tensors)\n    for key in tensors:\n        name, _,",
        (f"{_TESTS}/test_tensor_file.py::test_one_tensor_is_read_at_a_time",),
        "every process of a resumed training would hold all moments",
    ),
    Named(
        "a-removed-checkpoint-is-one-to-the-end",
        _STATE,
        "            (path / _STATE).unlink(missing_ok=True)  # from here on it is none\n",
        "",
        (f"{_OF_STATE}::test_what_is_removed_is_no_checkpoint_from_the_start",),
        "a kill while checkpoints are removed would wedge the training for good",
    ),
    Named(
        "checkpoints-go-before-the-training-is-recorded",
        "builders/building/stages.py",
        '    result: dict[str, Any] = json.loads((folder / "train" / "result.json").read_text())\n',
        '    result: dict[str, Any] = json.loads((folder / "train" / "result.json").read_text())\n'
        '    shutil.rmtree(folder / "train" / "checkpoints")\n',
        ("tests/builders/building/test_build.py"
         "::test_a_training_that_ended_is_not_repeated_because_it_was_not_recorded",),
        "a kill after hours of training would have it done again from its first step",
        quick=False,
    ),
    Named(
        "several-machines-are-let-in",
        "builders/training/job.py",
        '    if (getattr(loaded, "num_machines", 1) or 1) > 1:\n',
        "    if False:\n",
        (f"{_TESTS}/test_job.py::test_a_configuration_of_several_machines_is_refused",),
        "all machines but the first would fail after the whole training",
    ),
    Named(
        "there-are-more-evaluations-than-asked-for",
        "builders/plan/plan.py",
        "evaluate_every=-(-steps // train.evaluations)",
        "evaluate_every=max(1, steps // train.evaluations)",
        ("tests/builders/plan/test_numbers.py::test_steps_and_evaluations",),
        "seven steps would have seven evaluations instead of four, each of all validation rows",
    ),
    Named(
        "what-a-release-was-made-of-is-left-out",
        "builders/publishing/provenance.py",
        "    for made in _made_of(plan, lock):\n        found =",
        "    for made in ():\n        found =",
        ("tests/builders/publishing/test_provenance.py"
         "::test_releases_files_and_code_that_it_was_made_of_are_dependencies",),
        "a release would attest that nothing but base and rows is in it, whatever it continues",
    ),
    Named(
        "threads-that-wait-keep-the-core",
        "builders/training/job.py",
        '"PYTHONSAFEPATH": "1", **waiting(os.environ)}',
        '"PYTHONSAFEPATH": "1"}',
        (
            "tests/builders/training/test_job.py::test_threads_that_wait_leave_a_core_to_others",
        ),
        "beside other work a training takes twice as long",
    ),
)  # fmt: skip

NAMED = (
    *_CHOSEN,
    *_DECODED,
    *_REVIEWED,
    *_COULD_NOT_FAIL,
    *_STEP_NAMED,
    *_LOOP_NAMED,
    *_KEPT_NAMED,
    *_ROUNDED_NAMED,
    *_AROUND,
    *_REBUILT,
)
