"""Defects in learning from sampled answers: credit, value head, what holds the policy, alarms."""

from __future__ import annotations

from bench.mutants.mutant import Named

_PPO = "builders/objectives/ppo.py"
_CREDIT = "builders/objectives/credit.py"
_ALARMS = "builders/objectives/alarms.py"
_HEAD = "builders/training/value_head.py"
_ROLLOUTS = "builders/training/rollouts.py"
_SAMPLERS = "builders/training/samplers.py"
_GENERATION = "builders/plan/generation.py"
_LOOP = "builders/training/loop.py"
_FORWARD = "builders/training/forward.py"
_SCORING = "builders/objectives/scoring.py"
_OF_PPO = "tests/builders/objectives/test_ppo.py"
_OF_ALARMS = "tests/builders/objectives/test_alarms.py"
_TRAINED = "tests/builders/training/test_ppo_training.py"
_ALARMED = "tests/builders/training/test_alarms.py"
_OF_VALIDATION = "tests/builders/training/test_rollouts.py"
_OF_SAMPLERS = "tests/builders/training/test_samplers.py"
_OF_JUDGED = "tests/builders/rewards/test_judged.py"
_SURPRISES = f"{_OF_PPO}::test_advantages_are_the_sum_of_surprises"
_EQUATION = f"{_OF_PPO}::test_the_loss_is_the_equation"
_CREDITED = f"{_OF_PPO}::test_what_a_step_credits_is_the_equations"
_KILLED = f"{_TRAINED}::test_a_killed_training_ends_as_one_that_was_not"
_RANGES = f"{_OF_ALARMS}::test_what_is_outside_its_range_rings_when_it_stays"
_STOPPED = f"{_ALARMED}::test_an_alarm_stops_the_training_and_it_goes_on_from_there"

NAMED = (
    Named(
        "a-surprise-forgets-what-was-expected-next",
        _CREDIT,
        "surprise = reward + discount * following - own",
        "surprise = reward - own",
        (_SURPRISES,),
        "only an answer's last token would be credited with its reward",
    ),
    Named(
        "advantages-are-not-traced",
        _CREDIT,
        "after = surprise + discount * trace * after",
        "after = surprise + discount * after",
        (_SURPRISES,),
        "`trace` would be declared and ignored",
    ),
    Named(
        "advantages-run-forwards",
        _CREDIT,
        "return torch.tensor(found[::-1], dtype=rewards.dtype)",
        "return torch.tensor(found, dtype=rewards.dtype)",
        (_SURPRISES,),
        "the first token would have the last one's credit",
    ),
    Named(
        "moving-away-is-rewarded",
        _CREDIT,
        "found = -beta * apart",
        "found = beta * apart",
        (f"{_OF_PPO}::test_a_reward_comes_at_the_end_and_the_divergence_at_every_token", _CREDITED),
        "the policy would be driven from its reference",
    ),
    Named(
        "a-reward-comes-at-the-first-token",
        _CREDIT,
        "found[-1] += reward",
        "found[0] += reward",
        (f"{_OF_PPO}::test_a_reward_comes_at_the_end_and_the_divergence_at_every_token", _CREDITED),
        "what an answer goes on to say would not matter",
    ),
    Named(
        "whitening-is-of-each-answer",
        _CREDIT,
        "return [(one - together.mean()) * scale for one in values]",
        "return [(one - one.mean()) * scale for one in values]",
        (f"{_OF_PPO}::test_whitening_is_over_all_tokens_of_the_step",),
        "a good answer would be worth as much as a bad one",
    ),
    Named(
        "returns-are-whitened",
        _PPO,
        "_RETURN: _placed(advantage + values, own),",
        "_RETURN: _placed(white + values, own),",
        (_CREDITED,),
        "the value head would learn numbers that are no rewards",
    ),
    Named(
        "advantages-are-not-whitened",
        _PPO,
        "ADVANTAGE: _placed(white, own),",
        "ADVANTAGE: _placed(advantage, own),",
        (_CREDITED,),
        "the scale of a reward would be a learning rate",
    ),
    Named(
        "the-value-loss-takes-the-smaller-side",
        _PPO,
        "value = 0.5 * torch.max(free, held)",
        "value = 0.5 * torch.min(free, held)",
        (_EQUATION,),
        "the clip would let values run, not hold them",
    ),
    Named(
        "the-values-clip-is-the-policys",
        _PPO,
        "clamp(-table.epsilon_value, table.epsilon_value)",
        "clamp(-table.epsilon, table.epsilon)",
        (_EQUATION,),
        "`epsilon_value` would be declared and ignored",
    ),
    Named(
        "the-value-loss-has-no-weight",
        _PPO,
        "(policy + table.value_weight * value).sum()",
        "(policy + value).sum()",
        (_EQUATION,),
        "a policy would be trained to please its value head",
    ),
    Named(
        "epochs-are-all-alike",
        _PPO,
        "order = torch.randperm(examples, generator=generator)",
        "order = torch.randperm(examples, generator=generator.manual_seed(seed))",
        (f"{_OF_PPO}::test_each_epoch_learns_from_every_answer_once_in_another_order",),
        "the same answers would be together in every minibatch",
    ),
    Named(
        "equal-rewards-teach-ppo-nothing",
        _PPO,
        "every_group = True",
        "every_group = False",
        (f"{_TRAINED}::test_every_answer_is_learnt_from_and_knows_what_was_expected",),
        "prompts that are always answered wrongly would teach no value",
    ),
    Named(
        "a-value-is-of-the-prompts-end",
        _SCORING,
        "critic(projected.hidden)",
        "critic(projected.hidden[:1].expand_as(projected.hidden))",
        (f"{_TRAINED}::test_a_value_is_read_from_the_state_before_its_token",),
        "every token would be expected to bring the same",
    ),
    Named(
        "the-value-head-has-the-policys-rate",
        _HEAD,
        'return {f"{_NAME}.{name}": head.times for name, _ in head.named_parameters()}',
        "return {}",
        (f"{_TRAINED}::test_the_head_begins_with_nothing_and_changes_nothing_of_the_policy",),
        "at LoRA's rates a head of zeros would stay one",
    ),
    Named(
        "a-step-is-one-update",
        _LOOP,
        "parts = self.rollouts.objective.updates(examples, seed) if examples else []",
        "parts = [[*range(examples)]] if examples else []",
        (f"{_TRAINED}::test_a_step_updates_the_weights_once_a_part",),
        "epochs and minibatches would be declared and ignored",
    ),
    Named(
        "the-start-is-what-the-policy-has-become",
        _FORWARD,
        "elif self.began is not None:",
        "elif False:",
        (f"{_TRAINED}::test_the_start_is_the_reference_also_after_the_first_step",),
        "nothing would hold a new adapter near where it began",
    ),
    Named(
        "the-policy-stays-its-own-start",
        _FORWARD,
        "load_trainable(self.bare, now)",
        "pass",
        (f"{_TRAINED}::test_asking_the_start_leaves_the_policy_as_it_is",),
        "each step would begin anew",
    ),
    Named(
        "an-alarm-rings-at-once",
        _ALARMS,
        "if count >= table.patience and",
        "if count and",
        (_RANGES,),
        "one odd batch would stop a build",
    ),
    Named(
        "an-alarm-counts-steps-that-are-apart",
        _ALARMS,
        "count = self.outside.get(name, 0) + 1 if outside else 0",
        "count = self.outside.get(name, 0) + outside",
        (_RANGES,),
        "a long training would always end in an alarm",
    ),
    Named(
        "no-number-is-healthy",
        _ALARMS,
        'yield "kl", kl, table.kl, not kl <= table.kl,',
        'yield "kl", kl, table.kl, kl > table.kl,',
        (_RANGES,),
        "a divergence of NaN would ring nothing",
    ),
    Named(
        "one-right-answer-is-an-alarm",
        _ALARMS,
        "low = not entropy >= table.entropy and not (entropy >= 0 and learnt)",
        "low = not entropy >= table.entropy",
        (f"{_OF_ALARMS}::test_one_answer_that_is_the_right_one_is_no_alarm",),
        "a training that has learnt its task would be stopped",
    ),
    Named(
        "an-alarm-that-rang-is-never-heard-again",
        _ALARMS,
        "self.ringing.remove(name)\n            # At",
        "pass\n            # At",
        (_RANGES,),
        "only the first time that a policy goes astray would be seen",
    ),
    Named(
        "alarms-that-are-off-ring",
        _ALARMS,
        'and table.action != "off":',
        "and True:",
        (f"{_OF_ALARMS}::test_what_was_seen_while_alarms_were_off_counts",),
        "`off` would be `warn`",
    ),
    Named(
        "what-ends-a-training-is-a-refusal",
        "builders/training/failure.py",
        'return _KINDS[values["error"]](',
        "return Refused(",
        ("tests/builders/training/test_job.py::test_what_ends_a_job_comes_back_as_it_was",
         "tests/builders/building/test_sampling.py"
         "::test_a_training_is_told_what_kind_of_error_its_engine_had"),
        "a job whose judge is away for a minute would fail for good",
    ),
    Named(
        "what-a-sampler-says-is-no-share",
        "builders/training/samplers.py",
        "said = scores.float().log_softmax(-1)",
        "said = scores.float()",
        (f"{_OF_SAMPLERS}::test_what_it_says_of_a_token_is_what_the_model_says",),
        "ratios would be of numbers that are no log-probabilities",
    ),
    Named(
        "padding-moves-a-soft-prompts-answers",
        _SAMPLERS,
        "            if has_soft_prompt(model):\n",
        "            if False:\n",
        (f"{_OF_SAMPLERS}"
         "::test_prompts_of_unequal_lengths_are_answered_as_the_trainer_reads_them",),
        "prompt tuning would learn from another policy's answers",
        quick=False,
    ),
    Named(
        "a-sampler-has-a-precision-of-its-own",
        "builders/training/answers.py",
        "forward.bare, forward.pad, stop, together, autocast)",
        "forward.bare, forward.pad, stop, together)",
        (f"{_OF_SAMPLERS}::test_it_computes_in_the_trainers_precision",),
        "on a GPU sampler and trainer would compute in two precisions",
        quick=False,
    ),
    Named(
        "draws-follow-the-place-in-a-batch",
        _SAMPLERS,
        "np.random.default_rng((seed, number)).random(most)",
        "np.random.default_rng(number).random(most)",
        (f"{_OF_SAMPLERS}::test_how_many_are_generated_together_changes_nothing",),
        "equal prompts would have equal answers",
        quick=False,
    ),
    Named(
        "all-are-generated-together",
        _SAMPLERS,
        "some = slice(start, start + self.at_once)",
        "some = slice(start, None)",
        (f"{_OF_SAMPLERS}::test_how_many_are_generated_together_changes_nothing",),
        "a build that fits would run out of memory at its first step",
        quick=False,
    ),
    Named(
        "seeds-of-prompts-meet",
        _SAMPLERS,
        "// _APART * _APART",
        "// _APART",
        (f"{_OF_SAMPLERS}::test_seeds_never_meet",),
        "an engine would draw one row's answers by another's random numbers",
    ),
    Named(
        "prompts-share-a-request",
        "adapterworks/engines/asking.py",
        "    if not sampling.greedy:\n        size = 1",
        "    if False:\n        size = 1",
        ("tests/builders/engines/test_engine.py"
         "::test_each_prompt_is_drawn_from_a_seed_of_its_own",),
        "answer i of every prompt would be drawn by the same random numbers",
    ),
    Named(
        "no-memory-is-kept-for-sampling",
        _GENERATION,
        "        return replace(memory, sampling=taken)\n",
        "        return memory\n",
        ("tests/builders/plan/test_generation.py",),
        "a plan would promise what its first step cannot keep",
    ),
    Named(
        "an-engine-takes-what-the-training-was-promised",
        _GENERATION,
        "        return replace(memory, engine=int(ENGINE_SHARE * machine.most))\n",
        "        return memory\n",
        ("tests/builders/plan/test_generation.py"
         "::test_an_engine_beside_the_training_has_its_share",),
        "an engine would not find its share of the card and the build fail at its first step",
    ),
    Named(
        "a-step-has-as-many-examples-as-prompts",
        "builders/plan/fit.py",
        "accumulates = rows * manifest.train.processes < learnt_together(manifest)",
        "accumulates = rows * manifest.train.processes < manifest.train.batch_size",
        ("tests/builders/plan/test_generation.py::test_a_steps_examples_are_its_answers",),
        "gradients that are held beside the next micro batch would be in no plan",
    ),
    Named(
        "rounding-is-a-mismatch",
        "builders/plan/agreement.py",
        "return EXACT if computes_exactly(manifest, precision, device) else ROUNDED",
        "return EXACT",
        ("tests/builders/plan/test_generation.py::test_what_is_rounded_is_allowed",),
        "every training by sampling on a GPU would be refused at its first step",
    ),
    Named(
        "a-hopeless-bound-is-planned",
        "builders/plan/possible.py",
        "    check_agreement(manifest, precision, machine.device)\n",
        "",
        ("tests/builders/plan/test_generation.py"
         "::test_a_bound_that_rounding_alone_breaks_is_refused_in_the_plan",),
        "it would be said when base, rows and model have been loaded",
    ),
    Named(
        "what-was-rounded-is-learnt-as-it-is",
        "builders/objectives/policy_gradient.py",
        "    return apart.exp().clamp(max=cap)\n",
        "    return torch.ones_like(apart)\n",
        ("tests/builders/objectives/test_grpo.py"
         "::test_what_was_drawn_otherwise_than_it_is_learnt_is_weighted",),
        "what is learnt in half precision would be biased by what the sampler rounds",
    ),
    Named(
        "a-questions-room-is-its-own-answers",
        "builders/data/render.py",
        "                if asked:\n                    spans = _asked(ids, spans)\n",
        "",
        ("tests/builders/objectives/test_objective.py"
         "::test_what_is_sampled_is_asked_whole_whatever_its_own_answer",),
        "a policy would be asked half a question for a solution that it never learns",
    ),
    Named(
        "gates-cut-answers-that-nobody-learns",
        "builders/data/gates/run.py",
        "asked = manifest.train.max_length, not manifest.objective.learns_answers",
        "asked = manifest.train.max_length, False",
        ("tests/builders/data/test_pair_gates.py::test_gates_know_what_is_learnt",),
        "rows with long solutions would be dropped from a training by rewards",
    ),
    Named(
        "compared-answers-are-cut-apart",
        "builders/objectives/examples.py",
        "    again = encode_rows(tokenizer, rows, max_length, lengths=lengths)\n",
        "    again = encode_rows(tokenizer, rows, max_length)\n",
        ("tests/builders/objectives/test_objective.py"
         "::test_answers_that_are_compared_stand_behind_one_prompt",
         "tests/builders/objectives/test_objective.py"
         "::test_every_objective_of_comparisons_asks_them_alike"),
        "the longer answer of every pair would be the one to the poorer question",
    ),
    Named(
        "an-engine-has-room-for-its-first-adapter-alone",
        "builders/building/sampling.py",
        "[self._largest(adapter)]",
        "[adapter]",
        ("tests/builders/building/test_sampling.py"
         "::test_adalora_begins_with_nothing_and_the_engine_has_room_for_what_comes",),
        "the engine would refuse AdaLoRA's second adapter",
        quick=False,
    ),
    Named(
        "an-adapter-that-changes-nothing-yet-is-refused",
        "builders/methods/adalora.py",
        "if not source.goes_on and not any(",
        "if not any(",
        ("tests/builders/methods/test_adalora_fold.py"
         "::test_a_training_begins_with_an_adapter_that_changes_nothing",),
        "AdaLoRA with an engine that samples would fail at its first step",
    ),
    Named(
        "a-release-holds-what-its-manifest-says",
        "builders/building/origins.py",
        "    held = METHODS[before.kind].held(before)\n",
        "    held = before\n",
        ("tests/builders/building/test_origins.py::test_what_was_taken_out_of_the_base_is"
         "_continued_at_the_ranks_that_hold_it",),
        "a release of PiSSA or OLoRA could never be continued",
        quick=False,
    ),
    Named(
        "silence-is-the-worst-answer",
        "builders/rewards/external.py",
        "completed(scores, (low + high) / 2)",
        "completed(scores, low)",
        (f"{_OF_JUDGED}::test_a_single_answer_without_a_verdict_is_worth_the_middle",),
        "a validation that a judge cannot read would choose the checkpoint",
    ),
    Named(
        "an-alarm-only-tells",
        _LOOP,
        "raise stop",
        "pass",
        (_STOPPED,),
        "a build would go on exploiting its reward",
    ),
    Named(
        "a-stopped-training-has-lost-its-steps",
        _LOOP,
        "elif stop is not None or saving.due(self.accelerator):",
        "elif saving.due(self.accelerator):",
        (_STOPPED,),
        "what an alarm stopped would begin from the last evaluation",
    ),
    Named(
        "entropy-is-of-what-was-learnt-from",
        "builders/training/sampling.py",
        '"entropy": -sum(float(sample.logprobs.mean()) for sample in flat) / len(flat),',
        "",
        (f"{_ALARMED}::test_entropy_is_of_all_that_was_sampled",),
        "a policy with one answer left would have no entropy to ring",
    ),
    Named(
        "validation-is-sampled-a-batch-of-prompts-at-a-time",
        "builders/training/sampling.py",
        "return max(1, answers_of(self.plan.manifest) // count)",
        "return max(1, self.plan.manifest.train.batch_size)",
        (f"{_OF_VALIDATION}::test_validation_rows_are_sampled_as_many_at_once_as_a_steps_answers",),
        "an engine would answer four at a time what it answers sixteen at a time as fast",
    ),
    Named(
        "sampler-and-trainer-are-compared-a-prompt-an-answer",
        "builders/training/sampling.py",
        "behind = behind_one_prompt(self.plan) and self.forward.scores_behind",
        "behind = False",
        (f"{_OF_VALIDATION}::test_answers_behind_their_prompt_are_learnt_as_alone",),
        "what is compared would be computed otherwise than what is learnt, and slower",
    ),
    Named(
        "a-base-that-cannot-share-learns-as-many-at-once",
        "builders/training/step.py",
        "self.plan.micro_batch if self.forward.shares_prefix else rows_apart(self.plan)",
        "self.plan.micro_batch",
        (f"{_OF_VALIDATION}::test_a_base_that_cannot_share_a_prompt_has_fewer_rows_at_once",),
        "a training would take several times the memory that it was planned with",
    ),
)  # fmt: skip
