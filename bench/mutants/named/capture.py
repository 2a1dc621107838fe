"""What is kept of tenants' traffic: too much of it, for too long, or for the wrong eyes."""

from __future__ import annotations

from bench.mutants.mutant import Named

_CAPTURE = "tests/gateway/capture/test_capture.py"
_SAID = "tests/gateway/capture/test_said.py"
_STORE = "tests/registry/exchanges/test_exchanges.py"
_ERASED = "tests/gateway/capture/test_erased_tenant.py"
_OPERATING = "tests/registry/remotes/http/test_operating_commands.py"
_REDACT = "tests/privacy/test_redact.py"

_SHADOW = "tests/gateway/capture/test_shadow.py"
_SHADOWS = "tests/registry/exchanges/test_shadows.py"
_CONSOLE = "tests/gateway/console/test_review.py"
_REVIEWS = "tests/registry/exchanges/test_reviews.py"

NAMED = (
    Named(
        "a-shadow-outlives-its-request",
        "registry/exchanges/removing.py",
        "        connection.execute(sa.delete(shadows).where(shadows.c.receipt.in_(receipts)))\n",
        "",
        (f"{_SHADOWS}::test_it_goes_with_its_exchange",),
        "what was deleted would be listed by what another release said to it",
    ),
    Named(
        "a-shadow-without-a-request",
        "registry/exchanges/shadows.py",
        "gone = find(connection, tenant, receipt) is None or erased_since(connection, answered)",
        "gone = False",
        (f"{_SHADOWS}::test_an_erased_tenant_has_none_and_gets_none",),
        "after an erasure something that was asked before would be written again",
    ),
    Named(
        "an-early-shadow-is-dropped",
        "gateway/capture/capture.py",
        "elif last or time.monotonic() > until:",
        "elif True:",
        (f"{_SHADOW}::test_a_shadow_that_is_faster_waits_for_its_request",),
        "only slow shadows would be compared, which are other ones",
    ),
    Named(
        "two-reviewers-see-one-order",
        "registry/exchanges/reviews.py",
        "first=(coin + found.seen) % 2 if found.shadow else 0,",
        "first=coin if found.shadow else 0,",
        (f"{_REVIEWS}::test_two_reviewers_see_both_orders_and_a_third_sees_nothing",),
        "what stands first is chosen more often, and nobody would take that back",
    ),
    Named(
        "a-place-is-preferred",
        "registry/exchanges/reviews.py",
        "return 1 if (self.choice == 1) == (self.first == 0) else -1",
        "return 1 if self.choice == 1 else -1",
        (f"{_REVIEWS}::test_two_reviewers_see_both_orders_and_a_third_sees_nothing",),
        "half of the judgements would count for the other release",
    ),
    Named(
        "a-ballot-says-whose-it-is",
        "gateway/http/routes/reviews.py",
        '        "adapter": found.exchange.adapter,\n',
        '        "adapter": found.exchange.release,\n',
        (f"{_CONSOLE}::test_the_api_says_the_same",),
        "whoever asks the API would know whom to prefer",
    ),
    Named(
        "a-correction-in-the-queue-is-lost",
        "gateway/http/routes/reviews.py",
        "        correction=asked.correction,\n",
        "        comment=asked.correction,\n",
        (f"{_CONSOLE}::test_two_people_judge_blind_and_in_both_orders",),
        "what people write would be no row to learn from",
    ),
    Named(
        "another-tenant-may-judge",
        "registry/exchanges/reviews.py",
        "reviews.c.id == name, reviews.c.tenant == tenant, reviews.c.reviewer == reviewer",
        "reviews.c.id == name, reviews.c.reviewer == reviewer",
        (f"{_CONSOLE}::test_a_tenant_judges_its_own_and_a_name_is_a_name",),
        "a stranger's judgement would stand beside a tenant's own",
    ),
    Named(
        "judgements-are-draws",
        "builders/reviewing/queue.py",
        "groups.astype(np.float64))",
        "np.arange(len(values), dtype=np.float64))",
        (f"{_CONSOLE}::test_the_command_line_says_how_surely",),
        "a second reviewer who says the same would make it look surer",
    ),
    Named(
        "a-judgement-is-changed",
        "registry/exchanges/reviews.py",
        "if row.choice not in (None, choice):",
        "if False:",
        (f"{_REVIEWS}::test_a_judgement_names_what_was_shown_and_stays",),
        "what was counted would not stay counted, and the bounds hold no more",
    ),
    Named(
        "store-false-is-kept",
        "gateway/request/recorder.py",
        "    if asked.store is False or not",
        "    if not",
        (f"{_CAPTURE}::test_nothing_is_kept_of_whoever_has_not_said_so",),
        "a client that said no would be kept all the same",
    ),
    Named(
        "every-adapter-is-captured",
        "gateway/request/recorder.py",
        "not consent.covers(target.access)",
        "not consent.adapters",
        (f"{_CAPTURE}::test_nothing_is_kept_of_whoever_has_not_said_so",),
        "answers of adapters that the tenant did not name would be kept",
    ),
    Named(
        "tokens-are-kept-one-by-one",
        "gateway/capture/clean.py",
        "k: v for k, v in choice.items() if k not in _OF_CHOICE",
        "k: v for k, v in choice.items()",
        (f"{_CAPTURE}::test_tokens_one_by_one_are_not_kept",),
        "log-probabilities would spell what was taken out of the text",
    ),
    Named(
        "drop-redacts",
        "gateway/capture/clean.py",
        'if kinds and draft.consent.on_personal == "drop":',
        "if False:",
        (f"{_CAPTURE}::test_an_exchange_with_personal_data_can_be_dropped_instead",),
        "a tenant that lets nothing personal be kept would have it kept with holes",
    ),
    Named(
        "an-image-is-kept-unseen",
        "gateway/capture/clean.py",
        '    if not readable:\n        raise NotKept("unreadable")\n',
        "",
        (f"{_CAPTURE}::test_what_cannot_be_looked_through_is_not_kept",),
        "a scanned letter would be stored with everything on it",
    ),
    Named(
        "the-queue-has-no-end",
        "gateway/capture/capture.py",
        "full = self._waiting.qsize() >= MOST_WAITING or",
        "full =",
        (f"{_CAPTURE}::test_no_answer_waits_for_a_disk_that_hangs",),
        "a slow disk would fill the memory",
    ),
    Named(
        "a-file-opens-in-any-place",
        "registry/exchanges/keyring.py",
        'return f"{tenant}\\n{name}".encode()',
        'return b""',
        (f"{_STORE}::test_a_file_opens_only_in_its_place_and_unchanged",),
        "one exchange could be put in another's place",
    ),
    Named(
        "the-key-stays",
        "registry/exchanges/erasing.py",
        "    key = store.files.keys.destroy(tenant)\n",
        "    key = True\n",
        (f"{_STORE}::test_what_is_erased_nobody_reads_again",),
        "a backup of the files could be read after the erasure",
    ),
    Named(
        "a-gateway-looks-for-keys-elsewhere",
        "gateway/http/app.py",
        "anonymous, config.http, oidc, keys)",
        "anonymous, config.http, oidc)",
        (f"{_ERASED}::test_a_gateway_destroys_the_key_that_it_sealed_with",),
        "an erasure over HTTP would leave the key, and say that it is destroyed",
    ),
    Named(
        "a-key-elsewhere-is-destroyed",
        "adapterworks/cli/erase_tenant.py",
        '"the key that opened them is destroyed" if done.key else',
        '"the key that opened them is destroyed" if True else',
        (f"{_OPERATING}::test_an_erasure_says_that_the_key_is_on_another_machine",),
        "an operator would be told that nobody can read what can be read",
    ),
    Named(
        "what-was-in-hand-survives-the-erasure",
        "registry/exchanges/store.py",
        "                if erased_since(connection, item) or known",
        "                if known",
        (f"{_STORE}::test_an_erasure_between_file_and_row_wins",),
        "an exchange that was being written would come back after the erasure",
    ),
    Named(
        "expired-is-shown",
        "registry/exchanges/store.py",
        "        if row is None or row.expires <= time.time():\n            raise NotFound",
        "        if row is None:\n            raise NotFound",
        (f"{_STORE}::test_what_has_expired_is_not_shown_and_then_removed",),
        "what is over its time would be read until somebody removes it",
    ),
    Named(
        "anothers-answer-takes-feedback",
        "gateway/capture/answered.py",
        "        return subject if owner == tenant else None",
        "        return subject",
        (f"{_SAID}::test_a_score_needs_no_captured_answer_and_a_correction_does",),
        "one tenant could judge another's answers, and learn that they exist",
    ),
    Named(
        "a-correction-is-not-looked-through",
        "gateway/capture/saying.py",
        '        correction=_clean("correction", new.correction, on_personal),\n',
        "",
        (f"{_SAID}::test_a_correction_is_looked_through_and_reaches_reviewers",),
        "what a reviewer pastes would be stored as it is",
    ),
    Named(
        "one-pass-is-enough",
        "adapterworks/privacy/redact.py",
        "    for _ in range(PASSES):",
        "    for _ in range(1):",
        (f"{_REDACT}::test_what_is_taken_out",),
        "text that holds something would be refused in place of redacted",
    ),
    Named(
        "a-text-outlives-an-erasure",
        "registry/exchanges/feedback.py",
        "if has_text and connection.scalar(here) is None:",
        "if not connection:",
        (f"{_STORE}::test_a_text_that_was_on_its_way_when_its_exchange_went_is_not_kept",),
        "a correction that was sent during an erasure would stay on the disk, with a new key",
    ),
    Named(
        "a-late-text-stays",
        "registry/exchanges/removing.py",
        "    for tenant, name in late:\n",
        "    for tenant, name in late[:0]:\n",
        (f"{_STORE}::test_a_text_that_comes_while_its_exchange_goes_goes_too",),
        "a correction of a deleted answer would stay on the disk, and nothing would remove it",
    ),
    Named(
        "half-a-character-stops-all",
        "gateway/capture/clean.py",
        "        json.dumps(texts, ensure_ascii=False).encode()",
        "        json.dumps(texts)",
        (f"{_CAPTURE}::test_half_a_character_is_kept_by_nobody_and_stops_no_other",),
        "one answer with half a character would lose those of others that wait beside it",
    ),
)
