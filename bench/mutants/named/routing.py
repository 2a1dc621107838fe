"""Routing: which adapter answers, under which name, and what its receipt says of it."""

from __future__ import annotations

from bench.mutants.mutant import Named

_EXCHANGE = "gateway/request/exchange.py"
_ACCOUNT = "gateway/request/account.py"
_ERRORS = "gateway/request/errors.py"
_ASKED = "gateway/request/typed/asked.py"
_COST = "gateway/request/cost.py"
_ENDPOINTS = "gateway/request/endpoints.py"
_RELAY = "gateway/request/relay.py"
_RECEIPTS = "gateway/request/receipts.py"
_SHADOW = "gateway/request/shadow.py"
_STREAM = "gateway/request/stream.py"
_POOL = "gateway/engines/pool.py"
_CHOICE = "gateway/engines/routing.py"
_LORA = "gateway/engines/forms/lora.py"
_VIRTUAL = "gateway/engines/forms/virtual.py"
_TRACING = "gateway/observe/tracing.py"
_OF_PATH = "tests/gateway/request/test_whole_path.py"
_OF_ACCOUNT = "tests/gateway/request/test_account.py"
_OF_RECEIPTS = "tests/gateway/request/test_receipts.py"
_OF_EDGE = "tests/gateway/request/test_edge.py"
_OF_ERRORS = "tests/gateway/request/test_errors.py"
_OF_STREAM = "tests/gateway/request/test_stream.py"
_OF_ROUTING = "tests/gateway/engines/test_routing.py"
_OF_KEEPING = "tests/gateway/engines/test_keeping.py"
_OF_TRACES = "tests/gateway/observe/test_observe.py"

_MESSAGES = "gateway/engines/messages.py"
_PARTS = "gateway/request/parts.py"
_CLIENT = "gateway/engines/client.py"
_REMOTE = "gateway/engines/remote.py"
_OF_TOLD = "tests/gateway/engines/test_told_apart.py"
_OF_PARTS = "tests/gateway/request/test_parts.py"
_OF_SHARING = "tests/gateway/residency/test_sharing.py"

_OF_SCORING = "tests/gateway/engines/test_scoring.py"
_OF_SCORED = "tests/gateway/request/test_scored_prompts.py"

_ENGINES_NAMED = (
    Named(
        "every-engine-is-asked-to-score-prompts",
        "gateway/request/scorable.py",
        "if call.asked.scores_prompt and not await engine.can_score_prompts():",
        "if False:",
        (f"{_OF_SCORED}::test_an_engine_that_cannot_score_prompts_is_not_asked_to",),
        "two requests with `echo` and `logprobs` end a stock engine, for everybody",
        quick=False,
    ),
    Named(
        "everybody-asks-an-engine-what-it-can",
        "gateway/engines/scoring.py",
        "        if answer is None or (",
        "        if True or (",
        (f"{_OF_SCORING}::test_many_who_want_to_know_ask_once",),
        "fifty requests at once would be fifty probes that nobody is charged for",
    ),
    Named(
        "what-is-no-answer-is-a-no",
        "gateway/engines/scoring.py",
        "        if told is None:\n            return None\n",
        '        if told is None or "usage" not in answer:\n            return None\n',
        (f"{_OF_SCORING}::test_what_is_no_answer_to_a_probe_is_an_engine_that_is_away",),
        "an engine that was busy for a moment would be taken for one without our plugin",
    ),
    Named(
        "an-engine-says-where-it-is",
        _MESSAGES,
        'return _PLACES.sub("…", " ".join(',
        'return "".join(" ".join(',
        (f"{_OF_TOLD}::test_no_place_is_in_what_an_engine_said",),
        "a client would read paths and addresses of the operator's machines",
    ),
    Named(
        "trouble-with-a-load-is-a-judgement",
        _CLIENT,
        "if not (status == 500 and of_the_adapter(text)):",
        "if False:",
        (f"{_OF_TOLD}::test_trouble_with_a_load_is_no_judgement_on_the_adapter",),
        "one failure of an engine would refuse an adapter for a minute",
        quick=False,
    ),
    Named(
        "one-late-answer-is-a-death",
        _REMOTE,
        "MISSED = 3",
        "MISSED = 1",
        (f"{_OF_TOLD}::test_one_health_check_that_is_missed_is_no_death",),
        "a moment of load would have every adapter loaded and proved anew",
        quick=False,
    ),
    Named(
        "an-adapter-that-was-unloaded-is-a-404",
        _RELAY,
        "if status == 404 and b'\"error\"' in body and self._model == self._target.digest:",
        "if False:",
        (f"{_OF_SHARING}::test_what_the_engine_lost_is_loaded_again_and_answered_once",),
        "two gateways on one engine would take each other's adapters down",
        quick=False,
    ),
    Named(
        "the-choices-of-parts-have-the-same-places",
        _PARTS,
        "before += part.asked.sequences",
        "before += 0",
        (f"{_OF_PARTS}::test_the_answers_are_put_together_in_order",),
        "a client that goes by the index would take one answer for another's",
    ),
    Named(
        "parts-are-wider-than-the-engine",
        _PARTS,
        "places // asked.choices",
        "places",
        (f"{_OF_PARTS}::test_a_list_is_cut_into_what_fits",),
        "one request would hold more turns than there are",
    ),
)

_WHO_NAMED = (
    Named(
        "a-tenants-users-share-a-side",
        _EXCHANGE,
        'lambda: f"{self._tenant.id}\\n{asked.sticky}"',
        "lambda: self._tenant.id",
        (f"{_OF_PATH}::test_a_canarys_callers_are_divided_by_tenant_and_user",),
        "a trial of ten percent would get all users of one tenant, or none",
        quick=False,
    ),
    Named(
        "each-turn-of-a-conversation-has-a-side-of-its-own",
        "gateway/request/typed/opening.py",
        "            return turns[: index + 1]\n",
        "            return turns\n",
        (
            "tests/gateway/request/test_sticky.py::test_it_is_said_by_whom_or_by_what",
            f"{_OF_PATH}::test_a_canarys_callers_are_divided_by_tenant_and_user",
        ),
        "a conversation would go back and forth between two versions",
        source="gateway.md M4",
        quick=False,
    ),
    Named(
        "an-engines-name-has-its-slash",
        "gateway/engines/remote.py",
        "url.rstrip('/').encode()",
        "url.encode()",
        (
            "tests/gateway/engines/test_ids.py"
            "::test_it_says_no_address_and_is_the_same_with_a_slash",
        ),
        "two gateways that write one engine differently would each have every adapter elsewhere",
    ),
    Named(
        "whoever-has-a-key-may-use-everything",
        _EXCHANGE,
        "        if not self._tenant.may_use(target.access):\n"
        "            raise missing(asked.model)\n",
        "",
        (f"{_OF_PATH}::test_what_may_not_be_used_looks_like_what_is_not_there",),
        "one customer could ask another's adapter",
    ),
    Named(
        "the-alias-is-matched-not-the-name",
        _EXCHANGE,
        "self._tenant.may_use(target.access)",
        "self._tenant.may_use(target.ref)",
        (_OF_PATH,),
        "`medical@2` would be hidden from who may use `medical`, and `*:prod` would open all",
        quick=False,
    ),
    Named(
        "a-digest-goes-anywhere",
        _CHOICE,
        'hashlib.sha256(f"{id}\\n{digest}".encode())',
        "hashlib.sha256(id.encode())",
        (f"{_OF_ROUTING}::test_an_adapter_goes_to_the_engine_of_its_hash",),
        "every adapter would be loaded in one engine, and the others idle",
    ),
    Named(
        "a-busy-engine-gets-more",
        _CHOICE,
        "        if not full(now):\n            return engine\n",
        "        return engine\n",
        (f"{_OF_KEEPING}::test_no_engine_has_more_than_its_bounded_share",),
        "a popular adapter would wait in front of one engine beside idle ones",
    ),
    Named(
        "the-preferred-engine-loads-what-another-one-has",
        _CHOICE,
        "if now.holds and now.load < now.room:",
        "if now.load < now.room:",
        (f"{_OF_KEEPING}::test_one_that_has_it_is_asked_before_one_that_is_preferred",),
        "an engine that comes back would have its adapters loaded twice",
    ),
    Named(
        "another-bases-engine-answers",
        _POOL,
        "self._of_base.get(base_digest, ())",
        "self.engines",
        (f"{_OF_ROUTING}::test_another_base_and_an_engine_that_is_not_ready_are_no_alternative",),
        "an adapter would be laid over weights it was not trained on",
    ),
    Named(
        "an-engine-that-is-down-is-asked",
        _POOL,
        'return [engine for engine in ordered if engine.health.state == "ready"]',
        "return list(ordered)",
        (f"{_OF_ROUTING}::test_an_adapter_goes_to_the_engine_of_its_hash",),
        "a restart of one engine would fail its adapters' requests",
    ),
    Named(
        "a-lora-is-asked-under-its-alias",
        _LORA,
        'return {**body, "model": digest, "cache_salt": salt}',
        'return {"model": digest, **body, "cache_salt": salt}',
        (f"{_OF_ROUTING}::test_each_form_is_addressed_under_the_digest_and_the_tenants_salt",),
        "two versions of one name could answer for one another",
    ),
    Named(
        "a-clients-salt-reaches-the-engine",
        _VIRTUAL,
        "return {**body, **self._fields(engine, digest, salt)}",
        "return {**self._fields(engine, digest, salt), **body}",
        (f"{_OF_ROUTING}::test_each_form_is_addressed_under_the_digest_and_the_tenants_salt",),
        "whoever guesses a salt could time another tenant's prompts",
    ),
    Named(
        "a-base-has-no-salt",
        "gateway/request/payload.py",
        'return {**body, "model": engine.base.model, "cache_salt": salt}',
        'return {**body, "model": engine.base.model}',
        (f"{_OF_PATH}::test_a_base_answers_under_the_engines_name_for_it",),
        "tenants would share a prefix cache and see one another by its timing",
    ),
    Named(
        "a-shadow-is-charged",
        _SHADOW,
        "engine, release.digest, release.servable, body, _TENANT",
        'engine, release.digest, release.servable, body, ""',
        (f"{_OF_PATH}::test_a_shadow_is_asked_the_same_and_costs_nothing",),
        "a shadow would answer from the callers' own cache, and time them",
    ),
    Named(
        "a-shadow-of-everything",
        _SHADOW,
        "random.random() < table.share",
        "random.random() >= 0",
        (f"{_OF_PATH}::test_a_shadow_is_of_a_share",),
        "a shadow of one percent would double the engine's work",
    ),
)

_TOLD_NAMED = (
    Named(
        "the-receipt-has-no-digest",
        _RECEIPTS,
        '                headers["x-adapter-digest"] = digest\n',
        "                pass\n",
        (f"{_OF_RECEIPTS}::test_a_receipt_says_what_is_known_so_far",),
        "nobody could tell which version answered",
    ),
    Named(
        "a-field-name-can-be-a-header",
        _RECEIPTS,
        "if name.isascii() and name.isidentifier()",
        "if name",
        (f"{_OF_RECEIPTS}::test_names_of_ignored_fields_cannot_be_anything_else",),
        "a field with a line end in its name would write headers of its own",
    ),
    Named(
        "the-engines-name-is-told",
        _STREAM,
        "        rename(value, self._model, self._ref)\n",
        "",
        (f"{_OF_STREAM}::test_chunk_boundaries_do_not_matter",),
        "clients would see a digest where they asked for a name",
    ),
    Named(
        "what-the-model-wrote-is-rewritten",
        _STREAM,
        'for value in (answer, answer.get("response"), answer.get("message")):',
        'for value in (answer, *answer.get("choices", ())):',
        (f"{_OF_STREAM}::test_only_the_answers_own_model_is_renamed",),
        "an answer that speaks of its own model would be changed",
    ),
    Named(
        "choices-count-once",
        _STREAM,
        "max(usage.completion, sum(made.values()))",
        "max(usage.completion, max(made.values()))",
        (f"{_OF_STREAM}::test_several_choices_are_added_up_when_a_stream_is_cut",),
        "`n = 8` would cost one answer",
    ),
    Named(
        "counts-that-nobody-asked-for",
        _ASKED,
        '            return "none"\n',
        '            return "all"\n',
        (f"{_OF_PATH}::test_a_stream_has_the_counts_that_were_asked_for",),
        "clients that know only OpenAI's events would break on ours",
    ),
    Named(
        "answered-before-it-is-metered",
        _RELAY,
        (
            "        await self._account.close(status)\n"
            "        await _send_head(self._send, self._receipt, status,"
        ),
        "        await _send_head(self._send, self._receipt, status,",
        (f"{_OF_PATH}::test_what_the_engine_counted_is_metered_once",),
        "answers would be free",
    ),
    Named(
        "a-request-is-metered-each-time-it-ends",
        _ACCOUNT,
        "        if self._closed is None:\n",
        "        if True:\n",
        (f"{_OF_ACCOUNT}::test_what_the_engine_was_asked_is_metered_once",),
        "an error after the answer would bill it twice",
    ),
    Named(
        "an-estimate-is-charged-for-good",
        _EXCHANGE,
        "permit.settle(usage.prompt, usage.completion)",
        "permit.settle(cost.total, 0)",
        (f"{_OF_PATH}::test_tokens_are_charged_as_they_were_counted",),
        "whoever asks for many tokens and gets few would be out of them",
    ),
    Named(
        "a-choice-costs-nothing",
        _COST,
        "min(_limit(call, room), room) * asked.sequences",
        "min(_limit(call, room), room)",
        (f"{_OF_EDGE}::test_what_is_reserved_is_the_room_that_is_left",),
        "`n = 128` would be admitted as one answer",
    ),
    Named(
        "any-field-reaches-the-engine",
        _ENDPOINTS,
        "{name: value for name, value in values.items() if name in sent},",
        "dict(values),",
        (f"{_OF_EDGE}::test_what_the_engine_is_sent_is_what_was_read",),
        "a client could name another's adapter, path or cache",
    ),
    Named(
        "a-damaged-file-is-named",
        _ERRORS,
        "        message = _DAMAGED  # the error's own names the registry's files\n",
        "        pass\n",
        (f"{_OF_ERRORS}::test_a_damaged_adapter_names_no_file_of_the_registry",),
        "paths of the registry would be in answers to strangers",
    ),
    Named(
        "a-broken-stream-looks-finished",
        "gateway/request/streamed.py",
        "        if not rewriter.finished:\n",
        "        if False:\n",
        (f"{_OF_PATH}::test_a_stream_that_ends_too_soon_is_not_a_whole_one",),
        "half an answer would be taken for a whole one, and metered as a success",
    ),
    Named(
        "a-trace-begins-anew",
        _TRACING,
        "context = self._propagator.extract(dict(headers)) if headers else None",
        "context = None",
        (f"{_OF_TRACES}::test_a_trace_continues_the_callers_and_is_passed_on",),
        "a caller's trace would end at the gateway",
    ),
    Named(
        "a-silent-stream-stays-silent",
        "gateway/request/streamed.py",
        "                    await self._some(_COMMENT)\n                    continue\n",
        "                    continue\n",
        (f"{_OF_PATH}::test_a_stream_that_is_silent_gets_comments_between_its_events",),
        "a proxy in between takes a long answer's connection for dead and closes it",
    ),
    Named(
        "an-engine-elsewhere-has-our-template",
        "gateway/engines/remote.py",
        "return said.template_digest, said.kind",
        "return self._template_here, said.kind",
        ("tests/gateway/engines/test_templates.py::test_its_own_template_counts",),
        "adapters would be asked in a form that they were not trained on, under a proof",
        source="review of the gateway, 0c1a7fc, M6",
        quick=False,
    ),
    Named(
        "another-template-is-one-that-is-not-known",
        "gateway/engines/rendering.py",
        "return None if one.dated else False",
        "return None",
        (
            "tests/gateway/engines/test_templates.py::test_an_adapter_of_another_template_is_refused",
        ),
        "an engine that was seen to render otherwise would serve all the same",
        source="review of the gateway, 0c1a7fc, M6",
        quick=False,
    ),
    Named(
        "tokens-load-an-adapter",
        "gateway/request/exchange.py",
        "release = None if call.endpoint.of_base else target.release",
        "release = target.release",
        (f"{_OF_PATH}::test_tokens_are_the_bases_and_load_no_adapter",),
        "who counts tokens pushes adapters out that others are using",
    ),
    Named(
        "the-default-answers-for-everyone",
        "gateway/request/endpoints.py",
        'values.setdefault("adapter", default)',
        'values["adapter"] = default',
        (f"{_OF_PATH}::test_a_service_of_before_is_called_as_before",),
        "who names an adapter would be answered by another one",
    ),
    Named(
        "any-page-may-call",
        "gateway/http/app.py",
        "allow_origins=http.cors_origins,",
        'allow_origins=["*"],',
        (f"{_OF_PATH}::test_scripts_of_pages_that_are_named_may_call_and_no_others",),
        "scripts of any page that a user opens could call a gateway on the user's network",
    ),
)

NAMED = (*_ENGINES_NAMED, *_WHO_NAMED, *_TOLD_NAMED)
