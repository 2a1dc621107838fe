"""Requests: what is understood of them, what is counted of their answers, what it costs."""

from __future__ import annotations

from bench.mutants.mutant import Named

_BODY = "gateway/request/body.py"
_ENDPOINTS = "gateway/request/endpoints.py"
_COST = "gateway/request/cost.py"
_USAGE = "gateway/request/usage.py"
_STREAM = "gateway/request/stream.py"
_ACCOUNT = "gateway/request/account.py"
_EXCHANGE = "gateway/request/exchange.py"
_ASKED = "gateway/request/typed/asked.py"
_CHAT = "gateway/request/typed/chat.py"
_COMPLETIONS = "gateway/request/typed/completions.py"
_VALUES = "gateway/request/typed/values.py"
_REFUSALS = "gateway/request/typed/refusals.py"
_OF_EDGE = "tests/gateway/request/test_edge.py"
_OF_STREAM = "tests/gateway/request/test_stream.py"
_OF_MONEY = "tests/gateway/metering/test_money.py"
_REVIEW = "review of the gateway, 0c1a7fc"

_STREAM_NAMED_TEST = (
    f"{_OF_STREAM}::test_what_no_event_has_shown_is_charged_by_the_time_that_there_was"
)

_BOUNDS = "gateway/request/bounds.py"
_OF_BOUNDS = (
    f"{_OF_EDGE}::test_a_body_that_holds_more_than_anybody_needs_is_refused_before_it_is_parsed"
)

_EDGE = (
    Named(
        "what-is-free-is-next-for-ever",
        "gateway/request/exchange.py",
        "turn.settle(of_turn(call, self._account.settle().total - before))",
        "turn.settle(self._account.settle().total - before)",
        (
            "tests/gateway/request/test_whole_path.py"
            "::test_what_costs_nothing_takes_turns_all_the_same",
        ),
        "a flood of `/tokenize`, or of what the engine refuses, would shut everybody else out",
        source="reading of the gateway as a hostile client",
        quick=False,
    ),
    Named(
        "who-leaves-is-a-defect-of-ours",
        _BODY,
        "    except ClientDisconnect as error:\n",
        "    except ZeroDivisionError as error:\n",
        (
            "tests/gateway/request/test_bounds.py"
            "::test_who_leaves_in_the_middle_of_a_body_is_no_defect",
        ),
        "each connection that breaks would be a trace in the log, and hide what is one",
        source="reading of the gateway as a network that breaks",
    ),
    Named(
        "what-an-engine-counts-is-more-than-metering-takes",
        _USAGE,
        "_MOST = 2**40\n",
        "_MOST = 2**53\n",
        (
            "tests/gateway/request/test_bounds.py"
            "::test_a_count_is_at_most_what_metering_takes_of_all_parts_together",
        ),
        "an answer would be counted by nobody: its event is refused",
        source="reading of the gateway as an engine that misbehaves",
    ),
    Named(
        "a-list-is-an-answer-to-a-part",
        "gateway/request/relay.py",
        "    if not isinstance(answer, dict):\n        raise _unreadable()\n",
        "",
        (
            "tests/gateway/request/test_parts.py"
            "::test_what_is_no_answer_to_a_part_is_an_engine_that_failed",
        ),
        "an engine's fault would be a defect of the gateway's",
        source="reading of the gateway as an engine that misbehaves",
    ),
    Named(
        "what-a-parser-of-tools-keeps-back-is-free",
        _CHAT,
        '        calls = self.tools is not None and self.tool_choice != "none"\n',
        "        calls = False\n",
        (_STREAM_NAMED_TEST,),
        "who leaves before a call's name is known has thousands of tokens for nothing",
        source="reading of the request path, finding 8",
    ),
    Named(
        "hidden-tokens-are-charged-each-time-one-looks",
        _USAGE,
        "            self.unseen = {}  # charged",
        "            pass  # charged",
        (_STREAM_NAMED_TEST,),
        "the bill would grow while the request is put away",
        source="reading of the request path, finding 8",
    ),
    Named(
        "a-body-holds-any-number-of-keys",
        _BODY,
        "    bounds.check(data)\n",
        "",
        (_OF_BOUNDS,),
        "one key, whatever its limits, could stop every stream for half a second a body",
        source="reading of the request path, finding 6",
    ),
    Named(
        "escaped-quotes-are-quotes",
        _BOUNDS,
        "        data = _unescaped(data)\n",
        "        pass\n",
        (f"{_OF_EDGE}::test_texts_may_look_as_they_like_and_a_thousand_be_embedded_as_token_ids",),
        "a prompt with much code in it would be refused",
    ),
    Named(
        "a-text-is-a-flag",
        _ASKED,
        'strict=True, frozen=True, extra="ignore", allow_inf_nan=False, protected_namespaces=()',
        'strict=False, frozen=True, extra="ignore", allow_inf_nan=False, protected_namespaces=()',
        (f"{_OF_EDGE}::test_a_stream_is_true_or_false",),
        "a stream that we take for a whole answer would be metered as nothing",
        source=f"{_REVIEW}, C2",
    ),
    Named(
        "a-count-has-no-end",
        _VALUES,
        "Tokens = Annotated[int, Field(ge=1, le=MOST_TOKENS)]",
        "Tokens = Annotated[int, Field(ge=1)]",
        (f"{_OF_EDGE}::test_a_count_is_a_whole_number_from_one",),
        "a number of 400 digits would cost the engine a slot for ever",
        source=f"{_REVIEW}, C1",
    ),
    Named(
        "names-are-as-long-as-a-client-likes",
        _VALUES,
        "Field(min_length=1, max_length=MOST_NAME)",
        "Field(min_length=1)",
        (f"{_OF_EDGE}::test_a_wrong_field_is_named",),
        "names of 4 MB would reach caches, logs and errors",
        source=f"{_REVIEW}, C7",
    ),
    Named(
        "a-prompt-is-one",
        _COMPLETIONS,
        "        return prompts_in(self.prompt)",
        "        return 1",
        (f"{_OF_EDGE}::test_sequences_are_prompts_times_choices",),
        "one request of a thousand prompts would be one turn, and fill the engine",
        source=f"{_REVIEW}, H2",
    ),
    Named(
        "choices-are-one",
        _ASKED,
        "        return self.n\n",
        "        return 1\n",
        (f"{_OF_EDGE}::test_sequences_are_prompts_times_choices",),
        "`n` answers would be one turn",
        source=f"{_REVIEW}, H2",
    ),
    Named(
        "echo-asks-for-nothing",
        _CHAT,
        "        if self.echo:\n",
        "        if self.echo and self.logprobs:\n",
        (f"{_OF_EDGE}::test_a_wrong_field_is_named",),
        "four chats with `echo` end an engine without our plugin, for everybody",
        source=f"{_REVIEW}, H10",
    ),
    Named(
        "no-logprobs-are-no-logprobs",
        _COMPLETIONS,
        "(self.echo and self.logprobs is not None)",
        "(self.echo and bool(self.logprobs))",
        (f"{_OF_EDGE}::test_whether_a_prompt_is_to_be_scored_is_known_at_the_edge",),
        "`logprobs: 0` with `echo` scores the prompt, and would end an engine without our plugin",
        source=f"{_REVIEW}, H10",
    ),
    Named(
        "a-refused-field-is-dropped",
        _ENDPOINTS,
        "        if refusal.meets(values[name]):",
        "        if False:",
        (f"{_OF_EDGE}::test_a_wrong_field_is_named",),
        "a constraint would vanish behind a 200",
    ),
    Named(
        "a-refusal-takes-zero-for-no",
        _REFUSALS,
        "not any(type(value) is type(own) and value == own for own in self.neutral)",
        "bool(value) and value not in self.neutral",
        (f"{_OF_EDGE}::test_a_wrong_field_is_named",),
        "`prompt_logprobs: 0` would be taken for none",
        source=f"{_REVIEW}, H10",
    ),
    Named(
        "the-last-of-two-keys-counts",
        _BODY,
        "            if name in seen:\n",
        "            if False:\n",
        (f"{_OF_EDGE}::test_a_body_that_readers_might_read_differently_is_refused",),
        "another reader of the same bytes would see another request",
    ),
    Named(
        "numbers-are-as-long-as-a-client-likes",
        _BODY,
        'len(digits.lstrip("-")) > MOST_DIGITS',
        "False",
        (f"{_OF_EDGE}::test_a_number_beyond_every_reader_is_refused_wherever_it_stands",),
        "the engine would be handed a number that ends its parser",
    ),
    Named(
        "two-bounds-are-one",
        _CHAT,
        "if self.max_tokens and self.limit != self.max_tokens:",
        "if False:",
        (f"{_OF_EDGE}::test_a_wrong_field_is_named",),
        "the client would not know which of its two bounds held",
    ),
    Named(
        "an-unbounded-answer-reserves-little",
        _COST,
        "    return call.asked.limit or unbounded",
        "    return call.asked.limit or 16",
        (f"{_OF_EDGE}::test_what_is_reserved_is_the_room_that_is_left",),
        "the commonest request would pass every limit on tokens",
        source=f"{_REVIEW}, M5",
    ),
)

_COUNTS = (
    Named(
        "a-count-may-be-negative",
        _USAGE,
        "not 0 <= value <= _MOST",
        "not -_MOST <= value <= _MOST",
        (f"{_OF_STREAM}::test_a_stream_without_a_usable_count_is_charged_at_its_most",),
        "a tenant could be credited a million tokens",
        source=f"{_REVIEW}, C3",
    ),
    Named(
        "a-truth-is-a-count",
        _USAGE,
        "type(value) is not int",
        "not isinstance(value, int)",
        (f"{_OF_STREAM}::test_a_stream_without_a_usable_count_is_charged_at_its_most",),
        "`true` would be one token",
    ),
    Named(
        "cached-tokens-are-free",
        _USAGE,
        '_count(usage, "input_tokens") + read + written',
        '_count(usage, "input_tokens")',
        (f"{_OF_STREAM}::test_what_came_from_a_cache_is_part_of_the_prompt",),
        "the same prompt would cost a sixth on Anthropic's endpoint",
        source=f"{_REVIEW}, H7",
    ),
    Named(
        "a-later-count-takes-back",
        _USAGE,
        "        self.completion = max(self.completion, counts.completion)\n        self.cached",
        "        self.completion = counts.completion\n        self.cached",
        (f"{_OF_STREAM}::test_a_later_count_never_takes_back_an_earlier_one",),
        "an event of zeros at the end would make the answer free",
    ),
    Named(
        "an-unknown-prompt-is-free",
        _USAGE,
        "            self.prompt = max(self.prompt, most.prompt)",
        "            pass",
        (f"{_OF_STREAM}::test_a_response_that_is_left_is_charged_its_prompt_and_what_was_seen",),
        "whoever hangs up before the end would pay no prompt",
        source=f"{_REVIEW}, H6",
    ),
    Named(
        "an-unknown-answer-is-free",
        _USAGE,
        "            self.completion = max(self.completion, most.completion)",
        "            pass",
        (f"{_OF_STREAM}::test_a_stream_without_a_usable_count_is_charged_at_its_most",),
        "an engine that counts nothing would answer for nothing",
        source=f"{_REVIEW}, C2",
    ),
    Named(
        "one-prompt-of-many-is-counted",
        _STREAM,
        "sum(read.values())",
        "counts.prompt",
        (f"{_OF_STREAM}::test_several_prompts_are_added_up_when_a_stream_is_cut",),
        "a thousand prompts would cost one, to whoever hangs up",
    ),
    Named(
        "hidden-tokens-are-free",
        _STREAM,
        'usage.completion_known = dialect == "openai" or not asked.hidden',
        "usage.completion_known = True",
        (f"{_OF_STREAM}::test_a_response_that_is_left_is_charged_its_prompt_and_what_was_seen",),
        "reasoning that is not shown would be free, to whoever hangs up",
    ),
    Named(
        "an-event-is-a-token",
        _STREAM,
        'usage.completion += _bytes(value.get("delta"))',
        "usage.completion += 1",
        (f"{_OF_STREAM}::test_a_delta_is_as_many_tokens_as_it_can_be_until_they_are_counted",),
        "an engine that makes ten tokens at once would give nine of them to whoever hangs up",
    ),
    Named(
        "what-is-shown-costs-more-than-there-can-be",
        _USAGE,
        "            self.completion = min(self.completion, most.completion)\n",
        "            pass\n",
        (f"{_OF_STREAM}::test_a_delta_is_as_many_tokens_as_it_can_be_until_they_are_counted",),
        "a client that leaves would be charged more than it allowed",
    ),
    Named(
        "an-engines-failure-is-an-event",
        _STREAM,
        'if value.get("error") or value.get("type") in _FAILURES:',
        "if False:",
        (
            f"{_OF_STREAM}::test_of_a_failure_and_after_it_nothing_is_passed_on",
            f"{_OF_MONEY}::test_a_stream_that_the_engine_fails_in_is_a_failure",
        ),
        "its addresses and paths would reach clients, and the failure count as an answer",
    ),
    Named(
        "counts-that-only-we-asked-for-are-shown",
        _STREAM,
        "            return not alone",
        "            return True",
        (f"{_OF_STREAM}::test_chunk_boundaries_do_not_matter",),
        "clients would meet an event without a choice, which many do not take",
    ),
)

_PATH = (
    Named(
        "a-whole-answer-that-is-left-is-free",
        _ACCOUNT,
        "            self.usage.settle(self._most)",
        "            pass",
        (f"{_OF_MONEY}::test_a_whole_answer_that_is_left_costs_the_most_it_can_be",),
        "clients with short timeouts would use the engine for nothing",
        source=f"{_REVIEW}, H6",
        quick=False,
    ),
    Named(
        "an-engines-failure-is-an-answer",
        "gateway/request/relay.py",
        "        self._sound(answer)\n        return",
        "        return",
        (f"{_OF_MONEY}::test_a_failure_that_comes_as_an_answer_is_none",),
        "its addresses and paths would reach clients, and the failure count as an answer",
        quick=False,
    ),
    Named(
        "an-engines-failure-costs-the-most",
        "gateway/request/relay.py",
        "            except Unusable:\n                self._account.cost_nothing()\n",
        "            except Unusable:\n                pass\n",
        (f"{_OF_MONEY}::test_a_failure_that_comes_as_an_answer_is_none",),
        "a client would pay for a 503 as for the longest answer there is",
        quick=False,
    ),
    Named(
        "a-refusal-is-a-row",
        _ACCOUNT,
        "        elif self._most is not None:\n            target",
        "        else:\n            target",
        (f"{_OF_MONEY}::test_a_refusal_costs_nothing_and_leaves_no_row",),
        "a tenant that is refused would fill the index, which nothing may prune",
        source=f"{_REVIEW}, H8",
        quick=False,
    ),
    Named(
        "a-request-may-hold-more-than-the-engine",
        _EXCHANGE,
        "        if at_once > slots:\n",
        "        if False:\n",
        (f"{_OF_MONEY}::test_a_refusal_costs_nothing_and_leaves_no_row",),
        "one request of a thousand prompts would shut everybody out while it lasts",
        source=f"{_REVIEW}, H2",
        quick=False,
    ),
)

_OF_PARTS = "tests/gateway/request/test_parts.py"
_OF_LISTS = f"{_OF_PARTS}::test_a_list_that_is_streamed_is_one_stream_and_one_bill"
_LISTS = (
    Named(
        "texts-are-embedded-at-once-or-not-at-all",
        "gateway/request/parts.py",
        "not isinstance(asked, (Completion, Embeddings)):",
        "not isinstance(asked, Completion):",
        (f"{_OF_PARTS}::test_a_list_of_texts_is_embedded_in_turns",),
        "a thousand texts, which is what clients send, would be refused by an engine of 64 places",
        source="reading of the request path, finding 12",
        quick=False,
    ),
    Named(
        "a-streamed-list-needs-as-many-places",
        "gateway/request/parts.py",
        "not isinstance(asked, (Completion, Embeddings)):",
        "not isinstance(asked, (Completion, Embeddings)) or asked.stream:",
        (_OF_LISTS,),
        "a list that is answered whole would be refused as a stream",
        quick=False,
    ),
    Named(
        "a-list-is-answered-once-a-part",
        "gateway/request/relay.py",
        "elif self._several:",
        "elif self.streamed.begun:",
        (f"{_OF_PARTS}::test_a_whole_answer_to_a_part_of_a_stream_is_none",),
        "an engine without streams would have two heads sent to one client",
    ),
    Named(
        "what-nobody-reads-is-free",
        "gateway/request/streamed.py",
        "            rewriter.feed(upstream.pending())\n",
        "",
        (
            "tests/gateway/request/test_left_stream.py"
            "::test_what_the_engine_has_said_is_counted_though_nobody_is_there",
        ),
        "who reads slowly and leaves would not pay for half a megabyte of answer",
    ),
    Named(
        "a-part-is-as-large-as-the-average",
        "gateway/request/parts.py",
        "size=len(to_json(own)) + len(own) * len(to_json(suffix)),",
        "size=call.size * len(own) // len(prompt),",
        (f"{_OF_PARTS}::test_a_list_is_cut_into_what_fits",),
        "a long prompt among short ones would be charged as one of them where nobody counts",
    ),
    Named(
        "what-all-instances-share-is-told-once",
        "gateway/request/instances.py",
        "size = sum({**shared, **_sizes(instance)}.values())",
        "size = body.size // len(instances)",
        ("tests/gateway/http/test_container.py::test_an_instance_is_as_large_as_all_that_it_asks",),
        "megabytes in `parameters` would be reserved and charged once for 128 prompts of them",
    ),
    Named(
        "whoever-leaves-pays-for-what-was-never-asked",
        _EXCHANGE,
        "most(call, engine.context)",
        "most(self._call, engine.context)",
        (f"{_OF_PARTS}::test_who_leaves_pays_for_the_parts_that_were_asked_and_no_others",),
        "who leaves after two of ten parts would be charged all ten, at their most",
        quick=False,
    ),
    Named(
        "each-part-numbers-its-choices-from-zero",
        _STREAM,
        'choice["index"] += self.before',
        'choice["index"] += 0',
        (_OF_LISTS,),
        "a client would put the second part's answers to the first part's prompts",
        quick=False,
    ),
    Named(
        "the-first-part-ends-the-stream",
        _STREAM,
        '            if not self._piece.last:\n                return b""',
        '            if False:\n                return b""',
        (_OF_LISTS,),
        "clients stop reading at [DONE], and would miss all parts but one",
        quick=False,
    ),
    Named(
        "the-last-part-is-told-as-all",
        _STREAM,
        "_dumped(self._piece.counts + counts)",
        "_dumped(counts)",
        (_OF_LISTS,),
        "the client's own sum would be another than its bill",
        quick=False,
    ),
    Named(
        "a-part-is-charged-twice",
        _ACCOUNT,
        "self.usage = Usage(final=True)  # until the next part is asked",
        "self.usage = done",
        (
            "tests/gateway/request/test_account.py::test_parts_add_up_and_what_comes_after_them_is_not_charged",
        ),
        "who leaves between two parts would pay for the last one again",
    ),
    Named(
        "a-part-that-fails-later-breaks-the-connection",
        _EXCHANGE,
        "                await relay.streamed.fail(error)\n",
        "                raise\n",
        (
            f"{_OF_PARTS}::test_a_stream_whose_later_part_is_refused_says_so_and_costs_what_was_made",
        ),
        "a second head would be sent into a stream, and the client told nothing",
    ),
)

_OF_MEDIA = "tests/gateway/request/test_media.py"
_MEDIA = (
    Named(
        "an-engine-fetches-what-a-client-names",
        "gateway/request/typed/media.py",
        'if isinstance(url, str) and not url.lower().startswith("data:"):',
        "if False:",
        (f"{_OF_MEDIA}::test_no_place_of_a_clients_reaches_an_engine",),
        "whoever may ask could read what only the engine's machine can reach",
        source=f"{_REVIEW}, M14",
    ),
    Named(
        "what-a-tool-found-may-be-a-place",
        "gateway/request/typed/media.py",
        "            left += inner if isinstance(inner, list) else [inner]\n",
        "            pass\n",
        (f"{_OF_MEDIA}::test_no_place_of_a_clients_reaches_an_engine",),
        "a picture within a tool's result would be fetched all the same",
        source=f"{_REVIEW}, M14",
    ),
    Named(
        "what-a-screen-showed-may-be-a-place",
        "gateway/request/typed/media.py",
        "left += inner if isinstance(inner, list) else [inner]",
        "left += inner if isinstance(inner, list) else []",
        (f"{_OF_MEDIA}::test_no_place_of_a_clients_reaches_an_engine",),
        "an address within an object would reach an engine that learns to fetch it",
        source="reading of the request path, finding 17",
    ),
    Named(
        "who-is-tokenized-is-who-answered",
        "gateway/request/receipts.py",
        "        if self.target.digest is None or self.of_base:\n",
        "        if self.target.digest is None:\n",
        ("tests/gateway/request/test_receipts.py::test_what_the_base_answers_names_no_adapter",),
        "a receipt would name a release that need not even be loaded",
        source="reading of the request path, finding 17",
    ),
    Named(
        "a-grammar-has-no-end",
        "gateway/request/typed/media.py",
        "if len(json.dumps(value, ensure_ascii=False)) > MOST_GRAMMAR:",
        "if False:",
        (f"{_OF_MEDIA}::test_what_is_compiled_has_a_bound",),
        "four megabytes of expression would be compiled while all others wait",
        source=f"{_REVIEW}, M16",
    ),
    Named(
        "tools-are-no-grammar",
        "gateway/request/typed/media.py",
        "if taken and len(json.dumps(taken, ensure_ascii=False)) > MOST_GRAMMAR:",
        "if False:",
        (
            f"{_OF_MEDIA}::test_tools_that_must_be_called_are_compiled_and_have_a_bound",
            f"{_OF_MEDIA}::test_tools_that_may_be_called_are_compiled_if_they_are_strict",
        ),
        "a call that is forced compiles the schemas of all tools, megabytes of them",
    ),
    Named(
        "a-turn-adds-tools-that-nobody-sees",
        "gateway/request/typed/messages.py",
        "        return self.tools is not None or bool(added(self.messages))",
        "        return self.tools is not None",
        (f"{_OF_MEDIA}::test_tools_that_a_turn_adds_are_tools",),
        "calls of tools that a turn defines would be free, to whoever hangs up",
    ),
)

_HELD = (
    Named(
        "a-sequence-needs-no-slot",
        "gateway/admission/fairness.py",
        "        self.running += slots\n",
        "        self.running += 1\n",
        (
            "tests/gateway/admission/test_fairness.py::test_a_request_holds_a_slot_for_each_sequence",
        ),
        "one request of many prompts would fill the engine with one turn",
        source=f"{_REVIEW}, H2",
    ),
    Named(
        "small-requests-pass-large-ones",
        "gateway/admission/fairness.py",
        "        room = self.running + slots <= self.slots and not self.waiting",
        "        room = self.running + slots <= self.slots",
        (
            "tests/gateway/admission/test_fairness.py::test_a_request_holds_a_slot_for_each_sequence",
        ),
        "a request of several prompts might never get its turn",
    ),
    Named(
        "a-slot-is-held-before-its-cost-is-known",
        "gateway/admission/fairness.py",
        "        counter = tenant.counter + tokens / tenant.weight\n",
        "        self.running += 1\n        counter = tenant.counter + tokens / tenant.weight\n"
        "        self.running -= 1\n",
        (
            "tests/gateway/admission/test_fairness.py"
            "::test_a_cost_that_cannot_be_reckoned_holds_nothing",
        ),
        "as many such requests as there are slots would stop the engine for everybody",
        source=f"{_REVIEW}, C1",
    ),
    Named(
        "whoever-leaves-makes-no-way",
        "gateway/admission/fairness.py",
        "                self._dispatch()  # it may have stood before one that there is room for\n",
        "",
        (
            "tests/gateway/admission/test_fairness.py::test_whoever_waits_for_many_and_leaves_makes_way",
        ),
        "others would wait beside free slots until somebody else comes",
    ),
    Named(
        "a-sequence-is-no-request",
        "gateway/admission/limiter.py",
        "await state.requests.take(permit.sequences, limits.rpm)",
        "await state.requests.take(1, limits.rpm)",
        (
            "tests/gateway/admission/test_limiter.py"
            "::test_sequences_are_what_requests_and_places_count[sqlite]",
        ),
        "`rpm` would bound nothing that the engine works on",
        source=f"{_REVIEW}, H2",
    ),
    Named(
        "a-poisoned-line-stops-the-drain",
        "gateway/metering/meter.py",
        "            except (ValueError, RecursionError) as error:",
        "            except RecursionError as error:",
        ("tests/gateway/metering/test_set_aside.py::test_a_line_that_is_no_event_is_put_aside",),
        "no usage would reach the index any more, after a restart neither",
        source=f"{_REVIEW}, C3",
        quick=False,
    ),
    Named(
        "an-event-may-be-negative",
        "gateway/metering/event.py",
        "not 0 <= value <= most",
        "not -most <= value <= most",
        ("tests/gateway/metering/test_set_aside.py::test_an_event_has_counts_and_texts",),
        "a tenant could be credited",
        source=f"{_REVIEW}, C3",
    ),
    Named(
        "an-event-that-the-index-refuses-stops-the-drain",
        "gateway/metering/meter.py",
        "            return [bad for event in events for bad in self._insert([event])]\n",
        "            raise\n",
        (
            "tests/gateway/metering/test_set_aside.py"
            "::test_an_event_that_the_index_does_not_take_holds_up_no_other",
        ),
        "one line that no check here knows would keep all usage out of the index, for good",
    ),
    Named(
        "an-index-that-refuses-all-loses-all",
        "gateway/metering/meter.py",
        "        except (AdapterworksError, sa.exc.ProgrammingError):\n",
        "        except Unavailable:\n",
        (
            "tests/gateway/metering/test_set_aside.py"
            "::test_an_index_that_takes_nothing_is_no_fault_of_the_events",
        ),
        "a missing grant would put every event of a day aside, where no budget sees it",
    ),
    Named(
        "names-of-nobody-are-kept-with-the-others",
        "gateway/residency/resolve.py",
        "                _put(self._absent, model, None, _ABSENT_LIMIT)\n",
        "                _put(self._holders, model, ())\n",
        ("tests/gateway/residency/test_resolve.py::test_names_that_nobody_holds_push_nothing_out",),
        "names that a client makes up would push out the aliases that are asked for",
        source=f"{_REVIEW}, C7",
    ),
)

_OF_WIRE = "tests/gateway/engines/test_wire.py"
_RELAYED = (
    Named(
        "what-breaks-off-is-whole",
        "gateway/engines/wire.py",
        "whole = answer._head and not self._framed and exc is None",
        "whole = answer._head and exc is None",
        (f"{_OF_WIRE}::test_what_breaks_off_raises",),
        "half an answer would be given, and metered, as all of it",
    ),
    Named(
        "what-nobody-reads-is-taken-in",
        "gateway/engines/wire.py",
        "return self._size > _MOST_KEPT",
        "return False",
        (f"{_OF_WIRE}::test_what_nobody_reads_is_not_taken_in_without_end",),
        "a client that does not read would cost memory without end",
    ),
    Named(
        "who-leaves-is-answered-on",
        "gateway/engines/wire.py",
        "        if self._wire is not None:\n            self._wire.end()\n\n    @property",
        "        return\n\n    @property",
        (f"{_OF_WIRE}::test_an_answer_that_is_left_takes_its_connection_along",),
        "the engine would go on making tokens for nobody",
    ),
)

NAMED = (*_EDGE, *_COUNTS, *_PATH, *_LISTS, *_MEDIA, *_HELD, *_RELAYED)
