"""Defects in learning from a teacher, and in what holds a training where it began."""

from __future__ import annotations

from bench.mutants.mutant import Named

_DISTILLATION = "builders/objectives/distillation.py"
_DISTILL = "builders/objectives/distill.py"
_SDFT = "builders/objectives/sdft.py"
_PROJECTION = "builders/training/projection.py"
_SCORING = "builders/objectives/scoring.py"
_DISTILLED = "builders/training/distilled.py"
_TEACHER = "builders/training/teacher.py"
_ANCHOR = "builders/training/anchor.py"
_TEACHERS = "builders/building/teachers.py"
_MEMORY = "builders/plan/memory.py"
_OF_LOSS = "tests/builders/objectives/test_distill.py"
_TRAINED = "tests/builders/training/test_distilled.py"
_ANCHORED = "tests/builders/training/test_anchor.py"
_BUILT = "tests/builders/building/test_teachers.py"
_TRLS = f"{_OF_LOSS}::test_the_loss_and_every_gradient_are_trls"
_ENDS = f"{_OF_LOSS}::test_which_end_is_which_by_hand"
_SAYS = f"{_TRAINED}::test_a_teacher_says_what_its_model_says"
_PARTS = f"{_TRAINED}::test_parts_are_the_whole"
_ASKED = f"{_TRAINED}::test_what_is_sampled_is_what_the_teacher_is_asked"
_KILLED = f"{_TRAINED}::test_a_killed_training_ends_as_one_that_was_not"
_BY_HAND = f"{_ANCHORED}::test_the_penalty_and_its_gradient_by_hand"
_FISHER = f"{_ANCHORED}::test_the_fisher_information_by_hand"
_PAYS = f"{_ANCHORED}::test_a_step_pays_for_where_it_is"

NAMED = (
    Named(
        "a-measurement-holds-all-states",
        _DISTILLED,
        "chunks([*range(len(pairs))], self._at_once)",
        "chunks([*range(len(pairs))], len(pairs))",
        (f"{_TRAINED}::test_a_measurement_holds_the_states_of_a_steps_rows_and_no_more",),
        "a thousand validation rows would be gigabytes",
    ),
    Named(
        "a-measurement-is-a-mean-of-means",
        _DISTILLED,
        "[LOSS] * own\n            count += own",
        "[LOSS]\n            count += 1",
        (f"{_TRAINED}::test_a_measurement_holds_the_states_of_a_steps_rows_and_no_more",),
        "short rows would count more than long ones",
    ),
    Named(
        "the-divergences-ends-are-exchanged",
        _DISTILLATION,
        "if beta == 0:\n        return _kl(teacher, student)",
        "if beta == 0:\n        return _kl(student, teacher)",
        (_TRLS, _ENDS),
        "a manifest that asks for forward KL would be trained by the other",
    ),
    Named(
        "the-mixture-is-weighed-the-other-way",
        _DISTILLATION,
        "student + math.log1p(-beta), teacher + math.log(beta)",
        "student + math.log(beta), teacher + math.log1p(-beta)",
        (_TRLS,),
        "`beta` would mean its opposite between the ends",
    ),
    Named(
        "a-divergence-is-a-mean-over-words",
        _DISTILLATION,
        "return (one.exp() * (one - other)).sum(-1)",
        "return (one.exp() * (one - other)).mean(-1)",
        (_TRLS, _ENDS),
        "the learning rate would be divided by the size of the vocabulary",
    ),
    Named(
        "padding-of-a-vocabulary-is-compared",
        _DISTILLATION,
        "known = min(student.shape[-1], teacher.shape[-1])",
        "known = student.shape[-1]",
        (f"{_OF_LOSS}::test_rows_of_a_vocabulary_that_no_token_has_are_left_out",),
        "a larger model of the family could not teach, or would teach words that there are not",
    ),
    Named(
        "a-teachers-answer-goes-on-where-the-students-is-cut",
        _DISTILLATION,
        "end = places[len(wanted) - 1] + 1",
        "end = places[-1] + 1",
        (f"{_OF_LOSS}::test_an_answer_that_is_cut_is_cut_for_both_and_the_teachers_prompt_is_not",),
        "states of other tokens would stand beside the student's",
    ),
    Named(
        "the-teachers-prompt-is-not-planned",
        _DISTILLATION,
        "return max(prompts) + self.planned_supervised(example)",
        "return min(prompts) + self.planned_supervised(example)",
        (f"{_OF_LOSS}::test_what_is_planned_is_the_longest_answer_and_the_teachers_prompt",),
        "a demonstration beyond the base's positions would be found out in training",
    ),
    Named(
        "a-teacher-is-told-both-system-messages",
        _DISTILL,
        'own = [turn for turn in row.messages if turn["role"] != "system"]',
        "own = [*row.messages]",
        (f"{_OF_LOSS}::test_a_teacher_has_a_system_message_of_its_own",),
        "templates refuse two, or the row's own would have the last word",
    ),
    Named(
        "the-base-teaches-itself",
        _DISTILL,
        "same = table.teacher == BASE and manifest.start is None",
        "same = False",
        (f"{_OF_LOSS}::test_what_means_nothing_is_a_fault",),
        "a training of hours would learn nothing",
    ),
    Named(
        "a-texts-braces-are-slots",
        _SDFT,
        '"content": slots.sub(lambda slot: filled[slot[0]], self.settings.template),',
        '"content": self.settings.template.replace(_QUESTION, filled[_QUESTION]).replace('
        "_DEMONSTRATION, shown),",
        (f"{_OF_LOSS}::test_a_teacher_of_oneself_is_shown_the_answer",),
        "a question about templates would be filled with its own answer",
    ),
    Named(
        "an-average-is-held-for-nothing",
        _SDFT,
        "return 4 * trainable if self.settings.teacher_rate < 1 else 0",
        "return 0",
        (
            f"{_OF_LOSS}::test_what_is_held_beside_the_model",
            f"{_BUILT}::test_a_model_teaches_itself",
        ),
        "a plan would promise memory that there is not",
        quick=False,
    ),
    Named(
        "a-teachers-part-is-the-first-one",
        _SCORING,
        "others = beside.teacher(taught[at]).float()",
        "others = beside.teacher(taught[: len(logits)]).float()",
        (_PARTS,),
        "of a long answer the beginning alone would be learnt, again and again",
    ),
    Named(
        "the-student-makes-the-averages-logits",
        _TEACHER,
        "own = self.weights if self.projection.trained and self.weights else None",
        "own = None",
        (_SAYS, _KILLED),
        "of a model that is trained whole the teacher's last layer would be the student's",
        quick=False,
    ),
    Named(
        "an-adapted-projection-is-shared",
        _TEACHER,
        "if self.projection.trained or _adapts(self.projection, folder):",
        "if False:",
        (f"{_TRAINED}::test_a_projection_that_is_adapted_is_refused",),
        "a teacher would speak with the student's tongue",
    ),
    Named(
        "all-logits-are-made-on-the-way",
        _PROJECTION,
        "return (found.hidden[None, :0],)",
        "return given",
        (f"{_TRAINED}::test_no_more_than_a_part_of_the_logits_is_there_at_once",),
        "the memory that parts save would be taken all the same",
    ),
    Named(
        "a-model-that-was-asked-stays-so",
        _SCORING,
        "for module, was in modes.items():  # PEFT leaves a model that it loads to be asked\n"
        "            module.training = was",
        "pass",
        (_SAYS,),
        "a policy would be trained as one that is asked: without its method's dropout",
    ),
    Named(
        "the-students-prompt-is-shown-to-the-teacher",
        _DISTILLED,
        "(sequence_of(prompt_of(student), sample), sequence_of(prompt_of(teacher), sample))",
        "(sequence_of(prompt_of(student), sample), sequence_of(prompt_of(student), sample))",
        (_ASKED,),
        "the teacher would know no more than the student",
    ),
    Named(
        "all-rows-are-sampled",
        _DISTILLED,
        "sampled = (drawn < self.share).tolist()",
        "sampled = (drawn < 1).tolist()",
        (f"{_TRAINED}::test_of_some_rows_the_own_answer_is_learnt",),
        "`lmbda` would be declared and ignored",
    ),
    Named(
        "who-samples-is-not-checked",
        _DISTILLED,
        "_, mismatch = self._agreed([student for student, _ in answered])",
        "mismatch = 1.0",
        (_ASKED,),
        "an engine with another adapter would be learnt from",
    ),
    Named(
        "an-average-never-moves",
        _TEACHER,
        "self.weights[name].lerp_(parameter, self.rate)",
        "pass",
        (f"{_TRAINED}::test_an_average_is_the_exponential_one",),
        "`teacher_rate` would be declared and ignored",
    ),
    Named(
        "an-average-goes-the-other-way",
        _TEACHER,
        "self.weights[name].lerp_(parameter, self.rate)",
        "self.weights[name].lerp_(parameter, 1 - self.rate)",
        (f"{_TRAINED}::test_an_average_is_the_exponential_one",),
        "a teacher that should be steady would be the student",
    ),
    Named(
        "an-average-is-in-no-checkpoint",
        "builders/training/loop.py",
        'self.checkpoints.join("teacher", kept)',
        "pass",
        (_KILLED,),
        "a resumed training would be taught by what it had become",
        quick=False,
    ),
    Named(
        "vocabularies-of-one-size-are-one",
        _TEACHERS,
        "odd = [token for token in {**own, **theirs} if own.get(token) != theirs.get(token)]",
        "odd = [] if len(own) == len(theirs) else [*theirs]",
        (f"{_BUILT}::test_a_teacher_of_other_words_is_refused",),
        "a student would learn words for others",
    ),
    Named(
        "a-tenants-rows-go-out-by-a-teacher",
        "builders/building/dataset_inputs.py",
        "None if teacher == BASE else teacher,",
        "None,",
        ("tests/builders/data/test_owners.py::test_what_a_release_has_learnt_goes_where_its_rows_may",),
        "what a tenant shares with nobody would be distilled into anybody's adapter",
        quick=False,
    ),
    Named(
        "a-teacher-of-its-own-weighs-nothing",
        "builders/plan/fit.py",
        "held = width * self.taught + objective.held(trainable)",
        "held = objective.held(trainable)",
        (f"{_BUILT}::test_another_base_teaches_and_is_counted",),
        "a training would be killed for want of memory that the plan had promised",
        quick=False,
    ),
    Named(
        "a-moved-teacher-is-the-same-training",
        "builders/plan/origins.py",
        '"teacher": self.teacher,',
        "",
        (f"{_BUILT}::test_a_release_teaches_and_the_record_says_so",),
        "another teacher's weights would be taken from a release that is there",
        quick=False,
    ),
    Named(
        "a-penalty-is-twice-as-heavy",
        _ANCHOR,
        "return 0.5 * self.weight * torch.stack(sums).sum()",
        "return self.weight * torch.stack(sums).sum()",
        (_BY_HAND, _PAYS),
        "a weight of one nat would be one of two",
    ),
    Named(
        "all-numbers-count-the-same",
        _ANCHOR,
        "(1.0 if weights is None else weights)",
        "1.0",
        (_BY_HAND, _PAYS),
        "`ewc` would be `l2` with a unit that nobody chose",
    ),
    Named(
        "it-is-held-where-it-is-now",
        _ANCHOR,
        "(parameter, parameter.detach().clone(), _beside(importance, name, parameter))",
        "(parameter, parameter.detach(), _beside(importance, name, parameter))",
        (_BY_HAND, _PAYS),
        "nothing would be held at all",
    ),
    Named(
        "the-information-is-of-rows",
        _ANCHOR,
        "tokens += len(scores.logprobs)",
        "tokens += 1",
        (_FISHER,),
        "a weight would say nothing in nats a token",
    ),
    Named(
        "gradients-are-not-squared",
        _ANCHOR,
        "found[name] += gradient**2",
        "found[name] += gradient",
        (_FISHER,),
        "rows that pull apart would say that nothing matters",
    ),
    Named(
        "the-fisher-information-is-found-again",
        _ANCHOR,
        "if path.exists():",
        "if False:",
        (f"{_ANCHORED}::test_a_killed_training_is_held_at_its_beginning",),
        "it is dear to find, and a checkpoint's weights are not those of the beginning",
    ),
    Named(
        "a-value-head-is-held-at-nothing",
        _ANCHOR,
        "if one.requires_grad and name not in head]",
        "if one.requires_grad]",
        (f"{_ANCHORED}::test_a_value_head_is_not_held_where_it_began",),
        "values would be drawn to zero",
    ),
    Named(
        "an-anchor-weighs-nothing-in-the-plan",
        _MEMORY,
        'return 0 if anchor is None else 4 * trainable * (2 if anchor.kind == "ewc" else 1)',
        "return 0",
        (f"{_ANCHORED}::test_from_manifest_to_release",),
        "a whole model's training would need twice its weights more than was promised",
    ),
    Named(
        "an-anchor-is-of-the-new-rows",
        "builders/data/assemble.py",
        "_earlier(registry, cache, tokenizer).learnt(registry, manifest.start.ref, ()).rows",
        "rows_of_build(manifest, cache=cache, registry=registry).train",
        (f"{_ANCHORED}::test_from_manifest_to_release",),
        "what is new would be kept from being learnt, and what is old would be lost",
    ),
)  # fmt: skip
