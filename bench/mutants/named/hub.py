"""The Hub: what leaves this registry, what comes into it, and what a stranger may decide."""

from __future__ import annotations

from bench.mutants.mutant import Named

_HUB = "registry/remotes/hub"
_REMOTES = "registry/remotes"
_ABSENT, _BLOBS, _CARD = f"{_REMOTES}/absent.py", f"{_REMOTES}/blobs.py", f"{_HUB}/card.py"
_LEAVING, _STAGING = f"{_REMOTES}/leaving.py", f"{_REMOTES}/staging.py"
_CLIENT, _ERRORS, _FETCH = f"{_HUB}/client.py", "registry/bases/hub_errors.py", f"{_HUB}/fetch.py"
_LAYOUT, _NAMES, _PULL = f"{_HUB}/layout.py", f"{_HUB}/names.py", f"{_REMOTES}/arriving.py"
_PUSH, _RECORD, _SIGNATURES = f"{_HUB}/push.py", f"{_REMOTES}/record.py", f"{_HUB}/signatures.py"
_TESTS = "tests/registry/remotes/hub"
_OF_PUSHING, _OF_PULLING = f"{_TESTS}/test_pushing.py", f"{_TESTS}/test_pulling.py"
_OF_CLIENT, _OF_ABSENT = f"{_TESTS}/test_client.py", f"{_TESTS}/test_absent.py"
_OF_CARD = (
    f"{_TESTS}/test_card.py"
    "::test_a_base_that_is_not_loaded_as_it_is_published_is_loaded_as_it_was_trained"
)
_OF_RECORD = f"{_TESTS}/test_fetched_record.py"

_PUSH_NAMED = (
    Named(
        "a-private-push-goes-to-the-public",
        _PUSH,
        "    if private and not head.private:",
        "    if False:",
        (f"{_OF_PUSHING}::test_a_private_push_refuses_a_public_repository",),
        "a private adapter and the texts of its rows would be published to the world",
    ),
    Named(
        "a-new-repository-is-public",
        _PUSH,
        "        hub.create(repository, private=private)",
        "        hub.create(repository, private=False)",
        (f"{_OF_PUSHING}::test_a_release_is_one_commit_a_tag_and_a_line_in_the_log",),
        "a private adapter would be published to the world",
    ),
    Named(
        "somebody-elses-work-is-written-over",
        _PUSH,
        "        _check_head(head, place.last, place.expect)\n",
        "",
        (
            f"{_OF_PUSHING}::test_only_an_empty_repository_is_taken",
            f"{_OF_PUSHING}::test_a_branch_that_moved_since_is_a_conflict_until_it_is_named",
        ),
        "a typing error in a repository's name would delete what is there",
    ),
    Named(
        "any-tag-is-our-tag",
        _PUSH,
        "        if _digest_at(hub, state, scratch) == release.digest:\n            return",
        "        if True:\n            return",
        (f"{_OF_PUSHING}::test_a_tag_for_something_else_is_a_conflict",),
        "a push would say that it is done where something else is",
    ),
    Named(
        "a-twin-carries-what-is-withheld",
        _LEAVING,
        "    return {**dict.fromkeys(paths | twins), **gone}",
        "    return {**dict.fromkeys(paths), **gone}",
        (
            f"{_TESTS}/test_leave_out.py::"
            "test_a_twin_of_a_withheld_file_does_not_carry_its_bytes_there",
        ),
        "texts of rows would leave under another file's name",
    ),
    Named(
        "an-erasures-hour-is-told",
        _ABSENT,
        '{"state": ERASED, "at": absence.at[:10]}',
        '{"state": ERASED, "at": absence.at, "why": absence.why}',
        (f"{_OF_ABSENT}::test_a_push_says_what_it_withholds_and_the_day_of_an_erasure",),
        "why somebody's data was erased would be public",
    ),
    Named(
        "the-card-names-a-folder-of-this-machine",
        _CARD,
        "    base = hub_id(release.base.model)\n",
        "    base = release.base.model\n",
        (f"{_TESTS}/test_card.py::test_what_is_not_known_is_not_said",),
        "paths with people's names would be in public cards",
    ),
    Named(
        "the-servable-form-is-at-the-root",
        _LAYOUT,
        'order = sorted(release.files, key=lambda path: (not path.startswith(f"{root}/"), path))',
        "order = sorted(release.files, reverse=True)",
        (f"{_TESTS}/test_layout.py::test_what_has_the_adapters_bytes_is_not_sent_twice",),
        "`PeftModel.from_pretrained` would find nothing",
    ),
    Named(
        "a-write-is-tried-again",
        _CLIENT,
        "            done = self._api.create_commit(\n"
        "                repository, operations, commit_message=message, parent_commit=parent\n"
        "            )",
        "            done = self._retried('push', repository, lambda: self._api.create_commit(\n"
        "                repository, operations, commit_message=message, parent_commit=parent\n"
        "            ))",
        (f"{_OF_CLIENT}::test_writes_are_asked_once",),
        "a commit whose answer was lost would be made twice",
    ),
    Named(
        "what-is-withheld-may-be-included",
        "manifests/checks/publish.py",
        "(_publication, _withheld, _included, _conversion)",
        "(_publication, _withheld, _conversion)",
        ("tests/manifests/test_checks.py::test_an_impossible_combination_is_one_fault",),
        "a manifest would ask for both, and one of the two would be disregarded silently",
    ),
)

_PULL_NAMED = (
    Named(
        "the-shared-cache-answers",
        _CLIENT,
        "                    local_dir=into,\n"
        '                    cache_dir=into / ".cache" / "hub",\n'
        "                    force_download=True,\n",
        "                    local_dir=into,\n",
        (f"{_OF_CLIENT}::test_a_download_is_of_the_commit_and_never_of_the_shared_cache",),
        "somebody without a token would get a private file that somebody else cached",
    ),
    Named(
        "a-hub-that-is-busy-is-given-up",
        _ERRORS,
        "    if status == 429 or status >= 500:",
        "    if status > 500:",
        (f"{_TESTS}/test_errors.py::test_each_has_one_class_and_says_what_was_being_done",),
        "a pull would fail because the Hub said: in a second",
    ),
    Named(
        "a-branch-counts-as-a-commit",
        _NAMES,
        "return _COMMIT.fullmatch(self.revision) is not None",
        "return _COMMIT.match(self.revision) is not None or bool(self.revision)",
        (f"{_TESTS}/test_names.py::test_only_a_whole_commit_cannot_move",),
        "what was pinned could be another adapter tomorrow",
    ),
    Named(
        "pulled-bytes-need-not-be-the-records",
        _STAGING,
        "coming.stat().st_size != size or digest_file(coming) != digest",
        "coming.stat().st_size != size",
        (f"{_OF_PULLING}::test_equal_size_is_not_equal_bytes",),
        "whoever can write to the repository would decide what is served",
        quick=False,  # the registry looks again, so that nothing else fails
    ),
    Named(
        "a-record-is-proof-of-harmlessness",
        _PULL,
        "        check_release(folder, release, find_base(release.base.digest), absent=withheld)\n",
        "",
        (f"{_OF_PULLING}::test_shapes_are_checked_where_the_base_is_here",),
        "NaN and shapes of strangers would be served",
    ),
    Named(
        "a-copy-keeps-the-originals-signatures",
        _PULL,
        "    if not renamed:  # they are of the record that was pushed",
        "    if True:",
        (f"{_OF_PULLING}::test_signatures_come_with_the_record_they_are_of",),
        "a release would carry signatures of another",
    ),
    Named(
        "weights-may-be-absent",
        _ABSENT,
        "        if path not in release.files or not may_be_withheld(path):",
        "        if path not in release.files:",
        (f"{_OF_ABSENT}::test_a_statement_of_what_cannot_be_is_refused",),
        "a release without weights would be listed",
    ),
    Named(
        "a-record-has-many-spellings",
        _RECORD,
        "    if canonical != data:",
        "    if False:",
        (f"{_OF_RECORD}::test_what_is_no_record_of_ours_is_refused",),
        "one release would have several digests",
    ),
    Named(
        "a-file-is-a-folder",
        _RECORD,
        "        if above is not None:",
        "        if False:",
        (f"{_OF_RECORD}::test_what_is_no_record_of_ours_is_refused",),
        "a pull would end in a traceback, or write over what it checked",
    ),
    Named(
        "signatures-without-number",
        _SIGNATURES,
        "    for match in places[:_MOST]:",
        "    for match in places:",
        (f"{_TESTS}/test_signatures.py::test_sixteen_are_looked_at",),
        "a repository of a million signatures would be fetched one by one",
    ),
    Named(
        "a-listing-is-not-looked-at",
        _FETCH,
        '    check_listing(sorted({path.partition("/")[0] for path in state.files}))\n',
        "",
        (f"{_TESTS}/test_fetch.py::test_a_listing_is_refused_as_a_folders_is",),
        "gigabytes would be fetched before their names are read",
    ),
    Named(
        "a-listing-is-refused-for-what-is-not-fetched",
        _FETCH,
        '    check_listing(sorted({path.partition("/")[0] for path in state.files}))\n',
        "    from adapterworks.registry.imports.folder import check_names\n\n"
        "    check_names(names)\n",
        (f"{_TESTS}/test_fetch.py::test_what_is_not_fetched_is_nobodys_harm",),
        "an adapter with a pickle beside its weights could be imported from a clone only",
    ),
    Named(
        "a-template-of-the-hub-is-not-compared",
        _FETCH,
        "        limits[template] = LONGEST_TEMPLATE\n",
        "        pass\n",
        (f"{_TESTS}/test_fetch.py::test_a_template_comes_along_for_the_comparison_with_the_bases",),
        "nobody would hear that an adapter was trained under another template",
    ),
    Named(
        "an-import-from-the-hub-does-not-ask-for-room",
        _FETCH,
        "    require_room(_COPIES * state.files[WEIGHTS], into, state.repository)\n",
        "",
        (f"{_TESTS}/test_fetch.py::test_an_adapter_that_has_no_room_is_not_fetched",),
        "8 GB of a stranger's could fill the disk four times over",
    ),
    Named(
        "a-repair-is-not-checked",
        _BLOBS,
        'yield from checked(digest, chunks_of(folder / "blob"), self.url)',
        'yield from chunks_of(folder / "blob")',
        (f"{_TESTS}/test_blobs_of_a_push.py::test_changed_bytes_are_no_repair",),
        "a repair would put other bytes in the place of damaged ones",
    ),
)

_CARD_NAMED = (
    Named(
        "an-adapter-of-nf4-is-shown-on-another-base",
        f"{_HUB}/card.py",
        'if release.base.quantization == "nf4":',
        'if release.base.quantization == "fp4":',
        (_OF_CARD,),
        "who follows the card loads the adapter on weights that it was not trained on",
    ),
    Named(
        "a-template-that-was-decided-is-not-said",
        f"{_HUB}/card.py",
        "    if not name and not told:\n",
        "    if name or told:\n",
        (_OF_CARD,),
        "who follows the card asks in another form: other answers, that do not stop",
    ),
)

NAMED = (*_PUSH_NAMED, *_PULL_NAMED, *_CARD_NAMED)
