"""The registry over HTTP: who gets in, which bytes are given and taken, whose move it is."""

from __future__ import annotations

from bench.mutants.mutant import Named

_OPERATED = "tests/registry/remotes/http/test_operating_commands.py"
_ACCESS = "gateway/http/routes/registry/access.py"
_BLOBS = "gateway/http/routes/registry/blobs.py"
_TOKENS = "gateway/tokens/tokens.py"
_SENT = "gateway/tokens/sent.py"
_LINK = "registry/remotes/http/link.py"
_FETCH = "registry/remotes/http/blobs.py"
_APPROVAL = "registry/lifecycle/approval.py"
_LOOKUP = "registry/index/lookup.py"
_OF_ACCESS = "tests/gateway/registry_http/test_access.py"
_OF_BLOBS = "tests/gateway/registry_http/test_blobs.py"
_OF_WRITING = "tests/gateway/registry_http/test_writing.py"
_OF_REMOTE = "tests/registry/remotes/http/test_remote.py"
_OF_HELD = "tests/registry/remotes/http/test_checkouts.py"
_OF_HTTP = "tests/registry/remotes/http/test_copy.py"
_OF_FOUR_EYES = "tests/gateway/registry_http/test_four_eyes.py"
_OF_SEALS = "tests/gateway/registry_http/test_seals.py"
_OF_APPROVAL = "tests/registry/lifecycle/test_approval.py"

_ISSUER = "gateway/tokens/issuer.py"
_DOOR = "gateway/console/issuers_door.py"
_OF_ISSUER = "tests/gateway/registry_http/test_issuer.py"
_OF_DOOR = "tests/gateway/console/test_issuers_login.py"
_OF_OTHERS = f"{_OF_ISSUER}::test_tokens_for_others_and_old_ones_open_nothing"
_TENANTS = "gateway/http/routes/registry/tenants.py"
_OF_TENANTS = "tests/gateway/registry_http/test_tenants.py"

NAMED = (
    Named(
        "a-tokens-own-word-chooses-the-algorithm",
        _ISSUER,
        "            if algorithm not in self.trusted.algorithms:\n",
        "            if False:\n",
        (_OF_OTHERS,),
        "whoever writes a token would say how it is to be believed",
    ),
    Named(
        "a-token-for-another-program-opens",
        _ISSUER,
        "                    audience=self.trusted.audience,\n",
        "                    audience=jwt.decode(\n"
        '                        shown, options={"verify_signature": False}\n'
        '                    )["aud"],\n',
        (_OF_OTHERS,),
        "any program of the company that somebody logs in to could act here as them",
    ),
    Named(
        "an-old-token-opens",
        _ISSUER,
        "leeway=_LEEWAY_S,",
        "leeway=86400,",
        (_OF_OTHERS,),
        "who has left would have the registry for a day",
    ),
    Named(
        "junk-makes-us-ask-the-issuer",
        _ISSUER,
        "        if waited <= AGAIN_S:\n",
        "        if False:\n",
        (f"{_OF_ISSUER}::test_keys_are_kept_and_rotate",),
        "anybody could have this server flood the company's login",
    ),
    Named(
        "a-withdrawn-key-opens-for-ever",
        _ISSUER,
        "        if age > FRESH_S or chosen is None or again:\n",
        "        if chosen is None:\n",
        (f"{_OF_ISSUER}::test_a_key_that_was_withdrawn_opens_nothing_after_ten_minutes",),
        "a key that was stolen and taken back would open until the server is restarted",
    ),
    Named(
        "an-issuer-that-hangs-stalls-everybody",
        _ISSUER,
        "self._lock.acquire(blocking=not known)",
        "self._lock.acquire()",
        (f"{_OF_ISSUER}::test_an_issuer_that_hangs_stalls_nobody_whose_key_is_known",),
        "nobody would get in while one asks the issuer",
    ),
    Named(
        "a-tenants-key-is-a-second-person",
        "gateway/http/routes/registry/writing.py",
        "    return (*caller.makers, *key_makers(asked.registry.database, tenant))",
        "    return caller.makers",
        (f"{_OF_TENANTS}::test_a_tenants_key_is_no_second_person",),
        "an administrator would approve their own move with a key that they had made",
    ),
    Named(
        "a-login-counts-in-another-browser",
        _DOOR,
        '        if not hmac.compare_digest((cookie or "").encode(), state.encode()):\n',
        "        if False:\n",
        (f"{_OF_DOOR}::test_no_other_browser_comes_in_with_the_answer",),
        "a link could log somebody in as another person, whose rows they would then send",
    ),
    Named(
        "an-answer-counts-twice",
        _DOOR,
        "asked = self._asked.pop(state, None)",
        "asked = self._asked.get(state)",
        (f"{_OF_DOOR}::test_a_person_comes_in_by_the_issuer",),
        "whoever reads a browser's history would try the answer again",
    ),
    Named(
        "a-login-takes-anybodys-code",
        "adapterworks/login/flow.py",
        "good = ours and (",
        "good = (",
        ("tests/login/test_login.py::test_a_login_opens_the_registry_until_it_is_forgotten",),
        "a page that knows the port could log somebody in as another person",
    ),
    Named(
        "what-is-not-said-of-a-tenant-goes",
        _TENANTS,
        "for name in body.model_fields_set}",
        "for name in type(body).model_fields}",
        (f"{_OF_TENANTS}::test_a_tenants_life",),
        "setting one limit would open every adapter to the tenant",
    ),
    Named(
        "a-tenants-salt-is-told",
        _TENANTS,
        '        "id": tenant.id,\n',
        '        "id": tenant.id,\n        "salt": tenant.cache_salt,\n',
        (f"{_OF_TENANTS}::test_who_did_it_is_kept_without_a_key",),
        "who has it can look by timing for what a tenant asks",
    ),
    Named(
        "a-keys-text-travels-in-an-address",
        "gateway/tenants/over_http.py",
        'f"/keys/{part(found or key)}/revocation"',
        'f"/keys/{part(key)}/revocation"',
        ("tests/registry/remotes/http/test_commands.py::test_tenants_and_tokens",),
        "a proxy's log would have keys that leaked, as they are revoked",
    ),
    Named(
        "a-role-below-is-enough",
        _ACCESS,
        "    if caller.role < role:\n",
        "    if caller.role + 1 < role:\n",
        (f"{_OF_ACCESS}::test_no_path_answers_a_role_that_is_too_low",),
        "a reader would publish, a publisher would move aliases",
    ),
    Named(
        "a-revoked-token-opens",
        _TOKENS,
        "        if row is None or not good or row.revoked is not None:\n",
        "        if row is None or not good:\n",
        (f"{_OF_ACCESS}::test_no_path_answers_what_is_no_token",),
        "a token that was taken back would go on working",
    ),
    Named(
        "an-id-is-enough",
        _TOKENS,
        "        if row is None or not good or row.revoked is not None:\n",
        "        if row is None or row.revoked is not None:\n",
        (f"{_OF_ACCESS}::test_no_path_answers_what_is_no_token",),
        "ids are in logs and lists: whoever reads one would have the token",
    ),
    Named(
        "what-was-deleted-is-given",
        _LOOKUP,
        "        .where(_blobs.c.blob == blob, _versions.c.deleted.is_(None), ~withheld)\n",
        "        .where(_blobs.c.blob == blob, ~withheld)\n",
        (f"{_OF_BLOBS}::test_bytes_of_no_release_are_not_given",),
        "what was deleted would be given for as long as its bytes are there",
    ),
    Named(
        "a-digest-is-as-good-as-the-bytes",
        _SENT,
        "            if size is None:\n                lacking.append(digest)\n",
        "            if size is None:\n                pass\n",
        (f"{_OF_WRITING}::test_nobody_publishes_bytes_that_it_has_not",),
        "a publisher would read tenants' rows by publishing their digests",
    ),
    Named(
        "a-record-says-any-size",
        _SENT,
        "            elif said not in (None, size):\n",
        "            elif False:\n",
        (f"{_OF_WRITING}::test_a_record_says_of_bytes_the_size_that_they_have",),
        "whoever publishes could cut short what everybody else fetches by the same digest",
    ),
    Named(
        "what-a-release-names-was-sent",
        _SENT,
        "        return size if self._registry.blobs.exists(digest) else None\n",
        "        return size\n",
        (f"{_OF_REMOTE}::test_who_has_sent_nothing_is_told_what_the_store_has_lost",),
        "a publisher would be told to send a file, and sending it would change nothing",
    ),
    Named(
        "what-the-index-names-is-in-the-store",
        "gateway/http/routes/registry/blobs.py",
        "        if not asked.registry.blobs.exists(digest):",
        "        if False:",
        (f"{_OF_REMOTE}::test_what_the_store_has_lost_is_sent_again",),
        "a file that the server lost could never be published again",
    ),
    Named(
        "erased-bytes-are-taken-when-they-are-sent",
        _SENT,
        "        self._refuse_erased(digest)\n        path =",
        "        path =",
        (f"{_OF_REMOTE}::test_what_was_erased_does_not_come_back",),
        "what a patient withdrew would be back in the store with the next build",
    ),
    Named(
        "erased-bytes-are-to-be-sent",
        _SENT,
        "            return 0, True\n",
        "            return 0, False\n",
        (f"{_OF_REMOTE}::test_what_was_erased_does_not_come_back",),
        "a release with an erased file could not be published again over HTTP",
    ),
    Named(
        "a-publisher-says-what-a-store-holds",
        _SENT,
        "            if told_at(path) is not None:",
        "            if False:",
        (f"{_OF_WRITING}::test_what_a_registry_says_itself_is_not_taken",),
        "one upload would stop every gc, and be listed as rows when an index is rebuilt",
    ),
    Named(
        "a-gap-is-not-seen",
        _SENT,
        "            if start != here or here + len(part) > total:\n",
        "            if here + len(part) > total:\n",
        (f"{_OF_WRITING}::test_sending_goes_on_where_it_was_cut_off",),
        "a part that was lost would be noticed at the end only, and all sent again",
    ),
    Named(
        "the-last-byte-is-left-out",
        _BLOBS,
        "int(match[2]) + 1 if match[2] else size)",
        "int(match[2]) if match[2] else size)",
        (f"{_OF_BLOBS}::test_a_part_is_what_was_asked_for",),
        "the end of a range is its last byte, not the one after it",
    ),
    Named(
        "a-token-in-the-clear",
        _LINK,
        '    if parts.scheme == "http" and not insecure and not',
        '    if parts.scheme == "http" and insecure and not',
        (f"{_OF_REMOTE}::test_no_token_travels_in_the_clear",),
        "anybody on the way would have the token",
    ),
    Named(
        "what-came-is-believed",
        _FETCH,
        "            if digest_file(part) != digest:\n",
        "            if not digest_file(part):\n",
        (f"{_OF_REMOTE}::test_bytes_that_are_something_else_are_thrown_away",),
        "a damaged part of an earlier fetch would be taken for the file",
    ),
    Named(
        "whoever-asks-approves",
        _APPROVAL,
        "    if who == request.who:\n",
        "    if not who:\n",
        (f"{_OF_APPROVAL}::test_nobody_approves_what_they_asked_for_or_twice",),
        "one person would be enough",
    ),
    Named(
        "one-approves-for-two",
        _APPROVAL,
        "    if who in request.approved_by:\n",
        "    if not who:\n",
        (f"{_OF_APPROVAL}::test_nobody_approves_what_they_asked_for_or_twice",),
        "two approvals would be one person's",
    ),
    Named(
        "a-token-is-a-person",
        _TOKENS,
        "role_of(row.role), row.person or row.name, makers)",
        "role_of(row.role), row.name, makers)",
        (f"{_OF_FOUR_EYES}::test_a_second_token_is_not_a_second_person",),
        "whoever has two tokens would approve what they asked for",
    ),
    Named(
        "an-administrator-makes-the-second-person",
        _APPROVAL,
        "if name in (request.who, *request.approved_by)), None)",
        "if not name), None)",
        (f"{_OF_FOUR_EYES}::test_an_administrator_is_not_the_person_they_made_a_token_for",),
        "an administrator would make a token for somebody and approve with it",
    ),
    Named(
        "an-administrator-asks-as-somebody",
        _APPROVAL,
        "    if who in request.makers:\n",
        "    if not who:\n",
        (f"{_OF_FOUR_EYES}::test_an_administrator_is_not_the_person_they_made_a_token_for",),
        "an administrator would ask with a token they made for somebody, and approve it",
    ),
    Named(
        "uploads-stay-for-good",
        _SENT,
        "                if path.stat().st_mtime < before:\n",
        "                if path.stat().st_mtime < 0:\n",
        (f"{_OF_WRITING}::test_an_upload_that_nobody_goes_on_with_is_removed",),
        "a publisher who is cut off often would fill the disk",
    ),
    Named(
        "whatever-was-sent-is-a-seal",
        "registry/datasets/store.py",
        "        check_seal(data)\n",
        "",
        (f"{_OF_SEALS}::test_only_a_seal_is_sealed",),
        "one publisher would stop every build for ever: a seal cannot be taken back",
    ),
    Named(
        "a-token-in-the-trail",
        _ACCESS,
        'f"{part[:12]}…" if _KEY.match(part) else part for part in parts',
        "part for part in parts",
        (f"{_OF_WRITING}::test_a_token_that_is_written_where_its_name_goes_is_in_no_trail",),
        "a token's text would stand for ever in what can never be changed",
    ),
    Named(
        "a-token-is-shown-to-whoever-is-named",
        "adapterworks/cli/places.py",
        "    if own is not None and check_url",
        "    if False and check_url",
        (f"{_OF_HTTP}::test_a_token_is_not_shown_to_another_server",),
        "whoever talks somebody into a copy from their server would have the token of another",
    ),
    Named(
        "signatures-stay-behind",
        "registry/remotes/http/facets/signatures.py",
        "        for key, bundle in bundles.items():",
        "        for key, bundle in {}.items():",
        (f"{_OF_HTTP}::test_to_a_server_and_back_it_is_the_same_release_with_its_signature",),
        "a server would hold releases that nobody signed",
    ),
    Named(
        "everybody-sees-what-was-used",
        "gateway/http/routes/registry/table.py",
        'Reading("/usage", Role.ADMIN, operating.used)',
        'Reading("/usage", Role.READER, operating.used)',
        ("tests/gateway/registry_http/test_operating.py::test_it_is_for_administrators",),
        "a tenant with a reader's role would see what every other one has used",
    ),
    Named(
        "a-page-of-events-begins-anew",
        "gateway/http/routes/registry/operating.py",
        'begin = asked.query("after") or asked.query("begin") or "0"',
        'begin = asked.query("begin") or "0"',
        ("tests/gateway/registry_http/test_operating.py::test_pages_of_what_happened",),
        "following a job's log would print its beginning for ever",
    ),
    Named(
        "rows-are-every-publishers",
        "gateway/http/routes/registry/table.py",
        'Reading("/rows/{digest}", Role.ADMIN, datasets.rows)',
        'Reading("/rows/{digest}", Role.PUBLISHER, datasets.rows)',
        (f"{_OPERATED}::test_datasets_are_read_and_their_rows_are_administrators",),
        "whoever may publish could read what tenants' rows say",
    ),
    Named(
        "any-bytes-are-rows",
        "gateway/http/routes/registry/datasets.py",
        "        part.digest == digest\n",
        "        True\n",
        (f"{_OPERATED}::test_no_other_bytes_are_rows",),
        "files of tenants, and what was deleted, could be fetched by their digests",
    ),
    Named(
        "what-people-said-is-in-the-trail",
        _ACCESS,
        '"data", "correction", "comment")',
        '"data")',
        (f"{_OPERATED}::test_feedback_is_listed_added_to_and_exported",),
        "a patient's name in a correction would stay in a log that nobody can change",
    ),
    Named(
        "a-plan-of-gc-removes",
        "gateway/http/routes/registry/collecting.py",
        "unlisted=body.unlisted, dry_run=body.dry_run)",
        "unlisted=body.unlisted, dry_run=False)",
        (f"{_OPERATED}::test_gc_is_done_there",),
        "`adapters gc --dry-run` would empty a server's store",
    ),
    Named(
        "copies-on-this-machine-stay",
        "registry/remotes/http/facets/upkeep.py",
        "copies=(*done.copies, *here), reviews=(",
        "copies=(*done.copies, *()), reviews=(",
        (f"{_OPERATED}::test_a_files_bytes_are_erased_there_and_here",),
        "whoever erases would not be told of copies here",
    ),
    Named(
        "copies-of-a-purged-version-stay",
        "registry/remotes/http/facets/upkeep.py",
        "            if blob in sizes:\n",
        "            if blob in ():\n",
        (f"{_OPERATED}::test_a_version_is_purged_there",),
        "rows and predictions of a consent that was withdrawn would stay in the client's builds",
    ),
    Named(
        "a-canary-outlives-a-publish-over-http",
        "registry/remotes/http/registry.py",
        "if [holder.version for holder in held] == [made.version]:",
        "if held and held[0].version == made.version:",
        (f"{_OF_REMOTE}::test_a_publish_again_ends_a_canary_beside_its_release",),
        "the release that was built would share its requests with what somebody tried",
    ),
    Named(
        "a-clients-checkouts-grow",
        "adapterworks/app.py",
        "                insecure=self.settings.registry_insecure,\n"
        "                most_checkouts=self.settings.checkouts,\n",
        "                insecure=self.settings.registry_insecure,\n",
        (f"{_OF_HELD}::test_the_bound_is_that_of_the_settings",),
        "the disk of a machine that builds against a server would fill up",
    ),
    Named(
        "what-a-client-holds-makes-room",
        "registry/remotes/http/registry.py",
        "                asked_for(role)\n",
        "                pass\n",
        (
            f"{_OF_HELD}::test_what_was_asked_for_longest_ago_makes_room",
            f"{_OF_HELD}::test_what_is_held_for_days_stays",
        ),
        "a build of two days would lose the parent it reads",
    ),
    Named(
        "a-part-that-does-not-follow-ends-the-publish",
        _FETCH,
        "            except Conflict:\n",
        "            except NotFound:\n",
        (f"{_OF_REMOTE}::test_a_part_whose_answer_was_lost_is_not_sent_again",),
        "one lost answer would cost the build of hours that is published",
    ),
    Named(
        "an-address-is-no-person",
        "gateway/tokens/tokens.py",
        "        if person is not None and not names_a_person(person):\n",
        "        if person is not None and not person.isalnum():\n",
        (
            "tests/gateway/registry_http/test_four_eyes.py::"
            "test_a_token_is_the_person_that_the_issuer_names",
        ),
        "whoever logs in and has a token would be two pairs of eyes",
    ),
    Named(
        "reasons-have-no-wide-blanks",
        "gateway/http/routes/registry/bodies.py",
        'if harmless(text.replace("\\r\\n", "\\n")) != text.replace("\\r\\n", "\\n"):',
        "if not text.isprintable():",
        ("tests/gateway/registry_http/test_writing.py::test_reasons_are_in_any_letters",),
        "an erasure would be refused for a blank of its reason in Chinese",
    ),
    Named(
        "a-drawn-id-is-a-telephone",
        "gateway/capture/asked.py",
        "    if _DRAWN.fullmatch(word) and not word.isdigit():\n",
        "    if False:\n",
        (
            "tests/gateway/capture/test_said.py::"
            "test_an_id_that_a_program_has_drawn_is_nobodys_number",
        ),
        "a platform that names reviewers by UUIDs would lose some of them, always the same",
    ),
    Named(
        "room-is-asked-for-twice-wherever-the-store-is",
        "registry/remotes/room.py",
        "for digest, size in sizes.items() if not store.exists(digest))",
        "for digest, size in sizes.items())",
        (
            "tests/registry/remotes/hub/test_pulling.py::test_room_is_asked_for_where_the_bytes_will_lie",
        ),
        "a model that fits, and is here, would be refused",
    ),
)
