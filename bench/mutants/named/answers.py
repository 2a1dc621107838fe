"""What an answer is worth by its form, its calls, and by saying that it has none."""

from __future__ import annotations

from bench.mutants.mutant import Named

_METRICS = "builders/evaluation/metrics"
_FORMS, _API, _ABSTENTION = (f"{_METRICS}/{name}.py" for name in ("forms", "api", "abstention"))
_TESTS = "tests/builders/evaluation"
_OF_FORMS, _OF_API = f"{_TESTS}/test_forms.py", f"{_TESTS}/test_api.py"
_OF_ABSTENTION = f"{_TESTS}/test_abstention.py"
_WRONG = f"{_OF_API}::test_what_they_do_not_allow_is_not"
_RIGHT = f"{_OF_API}::test_what_the_signatures_allow_is_valid"
_OF_SESSIONS = "tests/builders/engines/test_session.py"
_VLLM, _OF_RESTARTS = "adapterworks/engines/vllm.py", "tests/engines/test_restarts.py"

NAMED = (
    Named(
        "what-failed-to-load-once-fails-for-ever",
        _VLLM,
        "            shutil.rmtree(home, ignore_errors=True)  # it can be tried again\n",
        "",
        (f"{_OF_RESTARTS}::test_an_adapter_that_could_not_be_loaded_can_be_tried_again",),
        "an engine that restarts during a build would end the build",
    ),
    Named(
        "a-process-that-was-started-again-has-no-adapters",
        _VLLM,
        "        if now == self._generation:\n",
        "        if now >= self._generation:\n",
        (f"{_OF_RESTARTS}::test_a_process_that_died_is_followed_by_one_with_its_adapters",),
        "every question after a restart would be refused as one for an unknown model",
    ),
    Named(
        "an-answer-that-broke-off-is-nobodys-error",
        _VLLM,
        "            except (ConnectionError, TimeoutError) as error:\n",
        "            except TimeoutError as error:\n",
        (f"{_OF_RESTARTS}::test_a_process_that_died_is_followed_by_one_with_its_adapters",),
        "a build would end with a trace of Python's where its engine was killed",
    ),
    Named(
        "a-gateway-that-is-started-anew-ends-an-evaluation",
        "adapterworks/engines/gateway.py",
        "if isinstance(error, httpx2.TimeoutException) or not left:",
        "if True:",
        (
            "tests/gateway/test_builders_engine.py"
            "::test_a_gateway_that_is_started_anew_meanwhile_is_asked_again",
        ),
        "an evaluation of an hour would end because a gateway was upgraded",
    ),
    Named(
        "a-process-that-lives-is-waited-for",
        "gateway/engines/local.py",
        "            if await self._healthy():\n                return False\n",
        "            if await self._healthy():\n                return True\n",
        (f"{_OF_RESTARTS}::test_the_next_process_is_waited_for",),
        "what an engine refuses would be asked twice",
    ),
    Named(
        "a-process-that-never-comes-is-waited-for",
        "gateway/engines/local.py",
        '            if self._state == "stopped" or self._failed >= FAILED_STARTS:\n',
        '            if self._state == "stopped":\n',
        (f"{_OF_RESTARTS}::test_one_that_never_comes_is_not_waited_for",),
        "a build whose engine has no memory any more would wait for ever",
    ),
    Named(
        "what-ran-behind-a-gateway-is-taken-for-what-runs-there",
        "builders/engines/engine.py",
        "return self.device != UNKNOWN",
        "return True",
        (f"{_OF_SESSIONS}::test_what_does_not_say_what_it_is_is_asked_each_time",),
        "an engine that was replaced would be checked by the answers of the one before it",
    ),
    Named(
        "a-sentence-is-yaml",
        _FORMS,
        "return isinstance(node, yaml.MappingNode | yaml.SequenceNode)",
        "return node is not None",
        (f"{_OF_FORMS}::test_an_answer_is_read_as_the_rows_format",),
        "whatever is said would have the right format",
    ),
    Named(
        "a-document-type-may-define-entities",
        _FORMS,
        "    parser.StartDoctypeDeclHandler = refused\n",
        "",
        (f"{_OF_FORMS}::test_an_answer_is_read_as_the_rows_format",),
        "an answer could grow without bounds while it is read",
    ),
    Named(
        "a-pattern-is-searched-for-ever",
        _FORMS,
        "pattern.search(prediction.text.strip(), timeout=_SECONDS)",
        "pattern.search(prediction.text.strip(), timeout=60 * _SECONDS)",
        (f"{_OF_FORMS}::test_a_pattern_that_never_ends_is_given_up",),
        "one answer would hold an evaluation up for hours",
    ),
    Named(
        "a-function-that-is-not-there-is-passed-over",
        _API,
        "            yield False\n            continue\n",
        "            continue\n",
        (_WRONG,),
        "an invented function would count as a call that cannot be told",
    ),
    Named(
        "arguments-are-not-held-against-the-signature",
        _API,
        "yield arguments is not None and _takes(arguments, node, method=method)",
        "yield True",
        (_WRONG,),
        "any call of a function that exists would be valid",
    ),
    Named(
        "who-calls-nothing-is-right",
        _API,
        "    return bool(calls) and all(calls)\n",
        "    return all(calls)\n",
        (_WRONG,),
        "an answer without a word of code would be valid",
    ),
    Named(
        "self-is-to-be-given",
        _API,
        "    if method and (before or either)",
        "    if False and (before or either)",
        (_RIGHT,),
        "every right call of a method would be wrong",
    ),
    Named(
        "a-name-of-ones-own-is-the-apis",
        _API,
        "    if not isinstance(function, ast.Name) or function.id in own:\n",
        "    if not isinstance(function, ast.Name):\n",
        (f"{_OF_API}::test_what_cannot_be_told_is_not_judged",),
        "a function that the answer defines would be held against another",
    ),
    Named(
        "answering-is-no-hallucination",
        _ABSTENTION,
        "        return said if of else not said\n",
        "        return said\n",
        (f"{_OF_ABSTENTION}::test_each_kind_of_question_is_counted_among_its_own",),
        "making things up would pass the gate that is against it",
    ),
    Named(
        "hallucinations-are-a-share-of-all-rows",
        _ABSTENTION,
        "    wrong, counted = sums[..., 0], sums[..., 1]\n",
        "    wrong, counted = sums[..., 0], 0 * sums[..., 1] + count\n",
        (f"{_OF_ABSTENTION}::test_each_kind_of_question_is_counted_among_its_own",),
        "more answerable questions would make the same answers look honest",
    ),
    Named(
        "a-limit-looks-at-the-value-alone",
        "builders/evaluation/gates/limit.py",
        'bounds.high, "most", bounds.high <= gate.limit + ROUNDING',
        'bounds.high, "most", value <= gate.limit + ROUNDING',
        (f"{_OF_ABSTENTION}::test_a_limit_holds_the_interval_and_not_the_value",),
        "none of five would be proof enough",
    ),
    Named(
        "rows-that-do-not-count-make-it-sure",
        "builders/evaluation/comparison.py",
        "metric.per_example(given)[counted], confidence, groups)",
        "metric.per_example(given), confidence, None)",
        (f"{_OF_ABSTENTION}::test_a_limit_holds_the_interval_and_not_the_value",),
        "answerable rows would show that nothing is made up",
    ),
    Named(
        "what-should-be-small-is-a-reward",
        f"{_METRICS}/metric.py",
        "return self.needs == ANSWERS and self.higher_is_better",
        "return self.needs == ANSWERS",
        (f"{_OF_ABSTENTION}::test_what_should_be_small_is_no_reward",),
        "a training would learn to hallucinate",
    ),
    Named(
        "the-sentence-stays-in",
        "builders/data/recipes/botocore_passages.py",
        "shown = [name, *others[: SENTENCES - 1]] if answerable else others[:SENTENCES]",
        "shown = [name, *others[: SENTENCES - 1]]",
        (
            "tests/builders/data/test_recipes.py::"
            "test_of_every_third_question_the_sentence_is_taken_out",
        ),
        "an adapter would learn to deny what stands before it",
    ),
)
