"""Registry: what is listed is complete, what is needed stays, what is checked is checked."""

from __future__ import annotations

from bench.mutants.mutant import Named

_PUBLISH = "registry/lifecycle/publish.py"
_GC = "registry/lifecycle/gc.py"
_HOLDING = "registry/lifecycle/holding.py"
_LEASES = "registry/lifecycle/leases.py"
_VERIFY = "registry/lifecycle/verify.py"
_VERIFY_INDEX = "registry/lifecycle/verify_index.py"
_ALIASES = "registry/lifecycle/aliases.py"
_SIGNING = "registry/lifecycle/signing.py"
_DATABASE = "registry/index/database.py"
_MIGRATING = "registry/index/migrating.py"
_OF_MIGRATING = "tests/registry/index/test_migrating.py"
_LOOKUP = "registry/index/lookup.py"
_VERSIONS = "registry/index/versions.py"
_LOCAL = "registry/blobs/local.py"
_STORE = "registry/blobs/store.py"
_CHECKOUT = "registry/reading/checkout.py"
_BASES = "registry/bases/store.py"
_SCRATCH = "registry/releases/scratch.py"
_IMPORTED = "registry/imports/release.py"
_VIRTUAL = "registry/imports/virtual.py"
_REVOCATION = "registry/lifecycle/revocation.py"
_PROTECTION = "registry/lifecycle/protection.py"
_CLEARANCE = "registry/lifecycle/clearance.py"
_PUSHES = "registry/releases/pushes.py"
_PURGE = "registry/lifecycle/purge.py"
_PROBES = "registry/imports/probes.py"
_PUSH = "registry/remotes/hub/push.py"
_CLIENT = "registry/remotes/hub/client.py"
_LIFECYCLE = "tests/registry/lifecycle"
_OF_PUBLISH = f"{_LIFECYCLE}/test_publish.py"
_OF_HOLDING = f"{_LIFECYCLE}/test_holding.py"
_OF_GC = f"{_LIFECYCLE}/test_gc.py"
_OF_VERIFY = f"{_LIFECYCLE}/test_verify.py"
_OF_ALIASES = f"{_LIFECYCLE}/test_aliases.py"
_OF_SIGNING = f"{_LIFECYCLE}/test_signing.py"
_OF_SCRATCH = "tests/registry/test_scratch.py"
_OF_VERSIONS = "tests/registry/index/test_versions.py"
_OF_DATABASE = "tests/registry/index/test_database.py"
_OF_BLOBS = "tests/registry/blobs/test_blobs.py"
_OF_CHECKOUT = "tests/registry/reading/test_checkout.py"
_OF_IMPORTED = "tests/registry/imports/test_release.py"
_OF_PULLING = "tests/registry/remotes/hub/test_pulling.py"
_OF_VIRTUAL = "tests/registry/imports/test_virtual.py"
_REVIEW = "registry.md §7"

# The sixteen that the review planted, two of them without telling: twelve of the fourteen in its
# table passed the whole suite then.
_REVIEW_NAMED = (
    Named(
        "a-newer-index-shuts-everybody-out",
        _MIGRATING,
        "    if current > known and (least is None or least > known):",
        "    if current > known:",
        (f"{_OF_MIGRATING}::test_an_older_program_goes_on_where_only_something_was_added",),
        "the first pod of a new version would shut the old ones out of the index",
    ),
    Named(
        "an-older-program-writes-into-what-was-changed",
        _MIGRATING,
        "(least is None or least > known)",
        "least is None",
        (f"{_OF_MIGRATING}::test_an_older_program_is_shut_out_where_something_was_changed",),
        "old gateways would write rows that the new ones misread",
    ),
    Named(
        "generation-settings-are-no-part-of-a-base",
        "registry/bases/files.py",
        "    settings = generation_settings(checkpoint) if generation else {}\n",
        "    settings: dict[str, Any] = {}\n",
        (
            "tests/registry/bases/test_bases.py::"
            "test_settings_that_change_answers_change_the_digest",
        ),
        "two bases that answer otherwise would be one",
    ),
    Named(
        "nf4-codes-are-of-rounded-weights",
        "registry/bases/nf4.py",
        "        dtype=torch.float32,\n        device_map",
        "        dtype=dtype or torch.float32,\n        device_map",
        ("tests/registry/bases/test_bases.py::test_nf4_values_do_not_depend_on_what_multiplies",),
        "a machine with a GPU would train on another base under the same digest",
    ),
    Named(
        "pull-does-not-match-a-lora-with-its-base",
        _IMPORTED,
        "    if base is not None:\n        match(",
        "    if False:\n        match(",
        (f"{_OF_IMPORTED}::test_a_lora_of_another_base_is_refused_where_its_base_is_here",),
        "the engine would refuse it, or apply it to other modules",
        source=_REVIEW,
    ),
    Named(
        "pull-does-not-look-for-nan",
        _IMPORTED,
        "            check_finite(folder / path, read_header(folder / path), file=path)",
        "            read_header(folder / path)",
        (f"{_OF_IMPORTED}::test_a_weight_that_is_no_number_is_refused",),
        "one request to a stranger's adapter would poison a batch",
        source=_REVIEW,
    ),
    Named(
        "a-download-may-have-any-size",
        _CLIENT,
        "if file.stat().st_size != size:",
        "if False:",
        ("tests/registry/remotes/hub/test_download.py",),
        "a torn download would be blamed on whoever pushed",
        source=_REVIEW,
    ),
    Named(
        "a-failed-preparation-stays",
        _BASES,
        "            except BaseException:\n"
        "                shutil.rmtree(staging, ignore_errors=True)\n                raise",
        "            except BaseException:\n                raise",
        ("tests/registry/bases/test_bases.py::test_an_interrupted_preparation_leaves_nothing",),
        "every interrupted preparation would leave gigabytes",
        source=_REVIEW,
        quick=False,
    ),
    Named(
        "gc-takes-checkouts-that-are-leased",
        _GC,
        "if not erased and (young or _needed(connection, [digest])):",
        "if not erased and (young or connection.scalar(sa.select(_versions.c.name).where("
        "_versions.c.digest == digest, _versions.c.deleted.is_(None)))):",
        (f"{_OF_GC}::test_a_checkout_that_is_served_stays_until_its_lease_ends",),
        "a gateway's files would vanish while it serves them",
        source=_REVIEW,
    ),
    Named(
        "gc-removes-checkouts-without-their-lock",
        _GC,
        "        with locked(checkouts, digest):\n",
        "        with contextlib.nullcontext():\n",
        (f"{_OF_GC}::test_a_checkout_is_removed_by_whoever_holds_its_lock",),
        "a maker could rename a whole folder to where half of the old one is",
        source=_REVIEW,
    ),
    Named(
        "a-publishers-lease-is-never-renewed",
        _PUBLISH,
        "if time.monotonic() - renewed > leases.LEASE_S / 4:",
        "if False:",
        (f"{_OF_PUBLISH}::test_a_lease_is_renewed_while_the_bytes_are_put",),
        "an upload of more than an hour would begin again and again",
        source=_REVIEW,
    ),
    Named(
        "a-failed-publish-keeps-its-lease",
        _PUBLISH,
        "            with database.write() as connection:\n"
        "                leases.end(connection, lease)\n            _delete_erased",
        "            _delete_erased",
        (f"{_OF_PUBLISH}::test_a_put_that_fails_gives_its_lease_back",),
        "on a full disk gc could not remove what just failed to be put",
        source=_REVIEW,
    ),
    Named(
        "verify-does-not-compare-names",
        _VERIFY,
        "if release.name != resolved.name or said != listed:",
        "if said != listed:",
        (f"{_OF_VERIFY}::test_a_version_that_has_another_names_record_is_found",),
        "one name's release could be listed under another",
        source=_REVIEW,
    ),
    Named(
        "an-expected-holder-need-not-exist",
        _ALIASES,
        "    if found != expect:",
        "    if found is not None and found != expect:",
        (f"{_OF_ALIASES}::test_a_move_with_a_stale_expectation_loses_and_changes_nothing[sqlite]",),
        "a pipeline that expects version 1 would promote after somebody removed the alias",
        source=_REVIEW,
    ),
    Named(
        "a-commit-is-not-synced",
        "registry/index/sqlite.py",
        "{'FULL' if durable else 'NORMAL'}",
        "{'OFF' if durable else 'NORMAL'}",
        (f"{_OF_DATABASE}::test_sqlite_syncs_what_is_committed_and_waits_for_its_turn",),
        "a power cut would lose versions whose numbers were told to people",
        source=_REVIEW,
    ),
    Named(
        "a-push-elsewhere-counts-as-the-last-one-here",
        _PUSH,
        "(push.repository, push.endpoint) == (repository, hub.endpoint)",
        "push.repository == repository",
        (
            "tests/registry/remotes/hub/test_last_push.py::test_a_push_elsewhere_is_not_the_last_one_here",
        ),
        "a push to a company's own Hub would be refused, or overwrite, for another's commit",
        source=_REVIEW,
    ),
    Named(
        "a-digest-means-any-of-its-versions",
        _LOOKUP,
        '    .where(_versions.c.digest == sa.bindparam("digest"), '
        '_versions.c.name == sa.bindparam("name"))\n    .order_by(_versions.c.version.desc())',
        '    .where(_versions.c.digest == sa.bindparam("digest"), '
        '_versions.c.name == sa.bindparam("name"))',
        (f"{_OF_VERSIONS}::test_a_deleted_release_published_again_gets_a_new_number[sqlite]",),
        "a release that was deleted and published again would stay deleted",
        source=_REVIEW,
    ),
    Named(
        "any-key-of-the-store-will-do",
        _SIGNING,
        "for bundle in bundles.get(identity, ()):",
        "for bundle in [b for some in bundles.values() for b in some]:",
        (f"{_OF_SIGNING}::test_a_signed_release_passes_and_others_are_refused[sqlite]",),
        "messages would say that a good signature is broken",
        source=_REVIEW,
    ),
    Named(
        "a-blob-is-not-synced",
        _LOCAL,
        "        os.fsync(file.fileno())\n",
        "",
        (
            f"{_OF_BLOBS}::test_a_local_blob_is_on_disk_before_it_is_named_and_its_name_before_put_returns",
        ),
        "a power cut would leave empty files under right names",
        source=_REVIEW,
    ),
    Named(
        "scratch-folders-of-the-dead-stay",
        _SCRATCH,
        "                if stale:",
        "                if False:",
        (f"{_OF_SCRATCH}::test_what_a_killed_process_left_is_swept_a_day_later",),
        "every killed import would leave its gigabytes",
        source=_REVIEW,
    ),
    Named(
        "a-key-that-is-on-is-passed-over",
        "registry/imports/config.py",
        "unknown = is_off and key not in",
        "unknown = key not in",
        (
            "tests/registry/imports/test_config.py::test_keys_of_a_newer_peft_that_are_on_are_refused",
        ),
        "an adapter that a newer PEFT computes otherwise would be served as a plain LoRA",
    ),
    Named(
        "a-newer-peft-is-refused-for-what-is-off",
        "registry/imports/config.py",
        "unknown = is_off and key not in",
        "unknown = False and key not in",
        (
            "tests/registry/imports/test_config.py::test_keys_of_a_newer_peft_that_are_off_change_nothing",
        ),
        "every release of PEFT would make all of its adapters unimportable here",
    ),
    Named(
        "gc-takes-whatever-lies-beside-what-is-staged",
        _GC,
        "for staged in filter(is_staged, folder.glob",
        "for staged in filter(bool, folder.glob",
        (f"{_OF_GC}::test_what_else_lies_where_files_are_staged_stays_however_old",),
        "with `ADAPTERS_BLOBS=/data`, people's folders in `/data/tmp` would be deleted",
    ),
    Named(
        "a-gateway-takes-whatever-lies-beside-what-is-sent",
        "gateway/tokens/sent.py",
        "for path in filter(is_staged, self",
        "for path in filter(bool, self",
        (
            "tests/gateway/registry_http/test_writing.py"
            "::test_an_upload_that_nobody_goes_on_with_is_removed",
        ),
        "people's files in a folder called `sent` would be deleted by somebody's upload",
    ),
    Named(
        "whatever-is-old-is-swept",
        _SCRATCH,
        "os.open(left / MARK, os.O_RDWR | os.O_NOFOLLOW)",
        "os.open(left, os.O_RDONLY)",
        (f"{_OF_SCRATCH}::test_what_is_not_marked_is_never_removed_however_old",),
        "folders of people would be deleted because they lie where we write",
    ),
    Named(
        "what-is-in-use-for-a-day-is-swept",
        _SCRATCH,
        "                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "                stale =",
        "                stale =",
        (f"{_OF_SCRATCH}::test_what_is_held_is_not_swept_however_old",),
        "a rebuild that trains for longer than a day would lose its folder to any pull",
    ),
)

_EVICTION = "registry/lifecycle/eviction.py"
_OF_EVICTION = f"{_LIFECYCLE}/test_eviction.py"
_EVICTED_NAMED = (
    Named(
        "a-checkout-in-use-makes-room",
        _EVICTION,
        "nullcontext(not leases.needed(connection, digest))",
        "nullcontext(True)",
        (f"{_OF_EVICTION}::test_none_that_is_leased_goes",),
        "an engine would find the folder gone that it reloads an adapter from",
    ),
    Named(
        "a-checkout-of-today-makes-room",
        _EVICTION,
        "checkout.asked > time.time() - unused_s",
        "False",
        (f"{_OF_EVICTION}::test_none_that_was_asked_for_today_goes",),
        "an evaluation that runs would lose the adapter it compares with",
    ),
    Named(
        "asking-for-a-checkout-does-not-keep-it",
        "registry/reading/checkout.py",
        "    asked_for(target)  # first",
        "    pass  # first",
        (f"{_OF_EVICTION}::test_asking_for_one_keeps_it",),
        "the adapter that is asked for most would be unpacked every day",
    ),
    Named(
        "a-builds-lease-ends-after-an-hour",
        "registry/lifecycle/leases.py",
        "                self.renew()\n            except NotFound",
        "                pass\n            except NotFound",
        (f"{_OF_EVICTION}::test_a_lease_is_renewed_until_its_block_ends[sqlite]",),
        "a training of a day would lose what it began from to gc",
        source="registry.md H6",
    ),
)

_OTHER_NAMED = (
    Named(
        "a-review-of-one-will-do",
        "registry/lifecycle/clearance.py",
        "reviewers < rule.reviewers",
        "reviewers < 1",
        ("tests/builders/reviewing/test_review.py::test_an_alias_asks_what_people_prefer",),
        "an alias that asks for two reviewers would move by one",
    ),
    Named(
        "the-record-is-put-first",
        _PUBLISH,
        "sources = {**sources, release.digest: release.to_bytes()}",
        "sources = {release.digest: release.to_bytes(), **sources}",
        (f"{_OF_PUBLISH}::test_the_record_is_put_last",),
        "a record that is there would not mean that its files are",
    ),
    Named(
        "a-publish-lists-what-gc-took",
        _PUBLISH,
        "        if not leases.end(connection, lease):\n            return None\n",
        "        leases.end(connection, lease)\n",
        (f"{_OF_GC}::test_a_publish_whose_lease_has_expired_looks_again",),
        "a version would be listed whose bytes are gone",
    ),
    Named(
        "a-stranger-says-what-our-store-holds",
        "registry/imports/release.py",
        "        if told_at(folder / path) is not None:",
        "        if False:",
        (
            "tests/registry/imports/test_release.py"
            "::test_what_a_store_says_itself_is_no_file_of_a_strangers_release",
        ),
        "a pull that is broken off would stop every gc, and the way out of that would seal rows of "
        "a stranger's choice for ever",
    ),
    Named(
        "what-a-stranger-names-becomes-his",
        _PUBLISH,
        "why for path, why in withheld.items()}",
        "why for path, why in withheld.items()\n"
        "                          if not blobs.exists(release.files[path].digest)}",
        (
            f"{_LIFECYCLE}/test_adopt.py::"
            "test_a_strangers_record_takes_no_private_file_along_when_it_is_pushed_or_copied_on[sqlite]",
        ),
        "a pulled release that names the digest of predictions that stayed here would take them "
        "along when it is pushed",
    ),
    Named(
        "a-digest-in-a-strangers-record-opens-bytes",
        _LOOKUP,
        "_versions.c.deleted.is_(None), ~withheld)",
        "_versions.c.deleted.is_(None))",
        (
            f"{_LIFECYCLE}/test_adopt.py::"
            "test_a_digest_in_a_strangers_record_opens_nothing_and_says_no_size[sqlite]",
        ),
        "whoever may read the registry could fetch a tenant's rows by a release that names them",
    ),
    Named(
        "the-same-release-gets-another-number",
        _PUBLISH,
        "        if existing is None:\n            (version,)",
        "        if True:\n            (version,)",
        (f"{_OF_VERSIONS}::test_publishing_the_same_release_again_gives_the_same_version[sqlite]",),
        "a resumed build would publish twice",
    ),
    Named(
        "gc-forgets-leases",
        _GC,
        "schema.leases.c.expires >= now_s(connection))",
        "schema.leases.c.expires < 0)",
        (f"{_OF_GC}::test_a_lease_keeps_a_deleted_release_until_it_ends[sqlite-serving]",),
        "what a build or a gateway needs would be removed under it",
    ),
    Named(
        "gc-takes-what-is-live",
        _GC,
        "_versions.c.deleted.is_(None)",
        "_versions.c.deleted.is_not(None)",
        (f"{_OF_GC}::test_what_is_kept_is_counted",),
        "it would erase production",
    ),
    Named(
        "gc-forgets-the-grace-period",
        _GC,
        "if blob.modified > limit and blob.digest not in erased:",
        "if False:",
        (f"{_OF_GC}::test_the_grace_period_keeps_young_blobs[sqlite]",),
        "a publisher that has put its bytes and not listed them would lose them",
    ),
    Named(
        "a-dry-run-is-not-dry",
        _GC,
        "    if dry_run:\n        report.blobs = doomed\n    else:",
        "    if dry_run:\n        report.blobs = list(doomed)\n    if True:",
        (f"{_OF_GC}::test_a_dry_run_says_what_and_how_much_and_removes_nothing[sqlite]",),
        "who asks what would be removed would have removed it",
    ),
    Named(
        "staged-files-of-the-living-are-swept",
        _GC,
        "time.time() - max(grace, STAGED_S)",
        "time.time() - grace",
        (f"{_OF_GC}::test_staged_leftovers_go_after_a_day_and_never_sooner",),
        "a large upload would lose its file in the middle",
    ),
    Named(
        "the-dead-hold-their-leases",
        _LEASES,
        "    past = _leases.c.expires < now_s(connection)",
        "    past = _leases.c.expires < 0",
        (f"{_OF_GC}::test_the_lease_of_a_dead_holder_expires[sqlite]",),
        "a crashed build would keep its bytes for ever",
    ),
    Named(
        "a-rollback-returns-to-where-it-came-from",
        _ALIASES,
        "            while stack and stack[-1] != move.version:\n                stack.pop()",
        "            pass",
        (f"{_OF_ALIASES}::test_rollback_goes_further_back_each_time[sqlite]",),
        "a second rollback would bring the bad version back",
    ),
    Named(
        "a-rollback-may-land-on-a-tombstone",
        _ALIASES,
        "if version in live and version != row.version]",
        "if version != row.version]",
        (f"{_OF_ALIASES}::test_rollback_steps_over_deleted_versions[sqlite]",),
        "production would answer 404 after a rollback",
    ),
    Named(
        "a-canary-takes-the-holders-share",
        _ALIASES,
        "share = canary if row.version == row.canary else 100 - canary",
        "share = canary if row.version != row.canary else 100 - canary",
        (
            f"{_OF_ALIASES}::test_a_canary_takes_its_share_and_resolve_stays_with_the_holder[sqlite]",
        ),
        "ten percent would mean ninety",
    ),
    Named(
        "an-alias-move-does-not-move-the-revision",
        _ALIASES,
        "    versions.bump(connection)\n    event = log.append(",
        "    event = log.append(",
        (f"{_OF_VERSIONS}::test_the_revision_changes_with_every_change_and_only_then[sqlite]",),
        "no gateway would see a promotion or a rollback",
    ),
    Named(
        "what-an-alias-holds-may-be-deleted",
        _VERSIONS,
        "    if held:\n        shown",
        "    if False:\n        shown",
        (f"{_OF_VERSIONS}::test_deleting_what_an_alias_holds_is_refused[sqlite]",),
        "production would be gone by a typing error",
    ),
    Named(
        "a-number-is-used-again",
        _VERSIONS,
        "numbers = list(range(last + 1, last + 1 + len(releases)))",
        "numbers = list(range(last, last + len(releases)))",
        (f"{_OF_VERSIONS}::test_versions_are_numbered_from_one_without_a_gap[sqlite]",),
        "`medical@3` would mean two things",
    ),
    Named(
        "a-tombstone-resolves",
        _LOOKUP,
        "    if row.deleted is not None:\n        raise _tombstone(connection, row)\n    return",
        "    return",
        (f"{_OF_VERSIONS}::test_a_deleted_number_is_never_used_again[sqlite]",),
        "what was deleted as backdoored would be served on",
    ),
    Named(
        "a-plan-is-found-in-what-was-deleted",
        _LOOKUP,
        "        .where(where, _versions.c.deleted.is_(None))",
        "        .where(where)",
        (f"{_OF_VERSIONS}::test_find_plan_finds_the_newest_live_version[sqlite]",),
        "a build would be spared for a release that is not there",
    ),
    Named(
        "a-read-is-not-checked",
        _STORE,
        "    if found != digest:",
        "    if False:",
        (
            f"{_OF_BLOBS}::test_a_flipped_bit_in_a_folder_is_an_error_that_names_the_file",
            f"{_OF_BLOBS}::test_local_blobs_are_read_only_and_leave_no_staging",
        ),
        "damaged weights would be served",
    ),
    Named(
        "any-text-becomes-a-path",
        _STORE,
        "    if not DIGEST_PATTERN.fullmatch(digest):",
        "    if not digest:",
        (f"{_OF_BLOBS}::test_only_digests_become_paths",),
        "a hostile record could read and write outside the store",
    ),
    Named(
        "a-damaged-checkout-is-taken",
        _CHECKOUT,
        "            seen.digest(path) == files[name] for name, path in found.items()",
        "            True for name, path in found.items()",
        (f"{_OF_CHECKOUT}::test_a_damaged_checkout_is_made_again_and_the_blob_is_unharmed",),
        "whoever can write to the cache would decide what is served",
    ),
    Named(
        "verify-believes-a-repair",
        _VERIFY,
        "            self._store.put(blob, good)\n        self._hash(blob)",
        "            self._store.put(blob, good)",
        (f"{_OF_VERIFY}::test_a_repair_is_looked_at_itself",),
        "a store that does not keep what it is given would be called clean",
    ),
    Named(
        "a-gap-in-the-numbers-is-not-found",
        _VERIFY_INDEX,
        "if not row.last_version == row.given == row.highest or row.live != row.alive:",
        "if row.live != row.alive:",
        (f"{_OF_VERIFY}::test_an_index_that_was_tampered_with_is_found",),
        "a version that somebody removed from the index would not be missed",
        quick=False,
    ),
    Named(
        "a-promotion-ends-anothers-canary-unseen",
        _ALIASES,
        "if row is not None and row.canary not in (None, version):",
        "if row is not None and row.canary not in (None, version) and weight < 100:",
        (f"{_OF_ALIASES}::test_with_an_expectation_nobody_ends_the_canary_of_another[sqlite]",),
        "a promotion that was thought through would end what somebody else is trying out",
    ),
    Named(
        "a-rollback-expects-the-holder-though-a-canary-runs",
        _ALIASES,
        "_require(name, alias, row.canary or row.version, expect)",
        "_require(name, alias, row.version, expect)",
        (f"{_OF_ALIASES}::test_two_who_see_the_same_trouble_take_one_step_back[sqlite]",),
        "two who end one canary would take production a version back",
    ),
    Named(
        "a-strangers-prefix-is-not-compared-with-the-base",
        _VIRTUAL,
        "if shape is not None and (layers, *first[1:]) != shape[:3]:",
        "if shape is not None and layers != shape[0]:",
        (f"{_OF_VIRTUAL}::test_a_prefix_of_another_base_is_refused_where_its_base_is_here",),
        "every request to it would end with an error of the engine",
    ),
    Named(
        "a-strangers-proof-may-cost-anything",
        _PROBES,
        "    if cost > MAX_TOKENS:",
        "    if cost < 0:",
        (f"{_OF_VIRTUAL}::test_a_fingerprint_that_a_proof_cannot_read_or_pay_is_refused",),
        "each load of a stranger's adapter would take the engine from everybody",
    ),
    Named(
        "a-strangers-probe-has-any-length",
        _PROBES,
        "Field(min_length=2, max_length=MAX_PROBE)",
        "Field(min_length=2)",
        (f"{_OF_VIRTUAL}::test_a_fingerprint_that_a_proof_cannot_read_or_pay_is_refused",),
        "an export of it would take the memory of the machine",
    ),
    Named(
        "a-probe-has-tokens-that-its-base-has-not",
        _PROBES,
        "if vocabulary is not None and max(probe.token_ids) >= vocabulary:",
        "if vocabulary is not None and max(probe.token_ids) > vocabulary:",
        (
            f"{_OF_VIRTUAL}::test_a_probe_that_its_base_cannot_read_is_refused_where_its_base_is_here",
        ),
        "an export of it would end in an index out of range",
    ),
    Named(
        "a-text-that-is-never-closed-is-scanned-from-each-quote",
        "registry/imports/strictjson.py",
        """)*+"?', re.DOTALL)""",
        """)*+"', re.DOTALL)""",
        ("tests/registry/imports/test_strictjson.py",),
        "64 KB of a stranger's would stop a pull for minutes, a megabyte for weeks",
        quick=False,
    ),
    Named(
        "a-release-is-bounded-a-file-at-a-time",
        _IMPORTED,
        "        if others > _MOST_TOGETHER:",
        "        if False:",
        (f"{_OF_IMPORTED}::test_what_a_record_names_is_bounded",),
        "a stranger's record would fill the disk that the index lies on",
    ),
    Named(
        "a-whole-model-is-of-any-size",
        "registry/remotes/arriving.py",
        "check_named(release, find_base(release.base.digest))",
        "check_named(release)",
        (f"{_OF_PULLING}::test_a_whole_model_many_times_its_base_is_refused_before_it_is_fetched",),
        "256 GB would be fetched for a base of a hundred megabytes",
    ),
    Named(
        "nobody-asks-whether-there-is-room",
        "registry/remotes/arriving.py",
        "        require_room_of(held, stage, registry.blobs)\n",
        "",
        (f"{_OF_PULLING}::test_a_release_that_has_no_room_is_refused_before_it_is_fetched",),
        "a pull would fill the disk that registry and index lie on",
    ),
    Named(
        "a-copy-does-not-ask-whether-there-is-room",
        "registry/remotes/delivering.py",
        "        require_room_of(held, stage)\n",
        "",
        (
            "tests/registry/remotes/oci/test_copy.py::"
            "test_a_copy_that_has_no_room_on_its_way_is_refused",
        ),
        "a copy would fill the disk that registry and index lie on",
    ),
    Named(
        "logits-of-a-whole-probe-are-there-at-once",
        "builders/evaluation/served_model.py",
        "input_ids=ids, use_cache=False, logits_to_keep=keep).logits\n        return",
        "input_ids=ids, use_cache=False).logits[:, keep]\n        return",
        (
            "tests/builders/merging/test_merge.py::"
            "test_only_the_rows_that_are_asked_for_are_projected",
        ),
        "a probe of 32,000 tokens would take 20 GB more",
        quick=False,
    ),
    Named(
        "probes-of-others-have-a-kind",
        "builders/merging/merge.py",
        'probe.get("kind") == VALIDATION',
        'probe["kind"] == VALIDATION',
        ("tests/builders/merging/test_merge.py::test_probes_of_others_are_of_any_kind_or_none",),
        "a merge with a stranger's release would end in a crash report",
        quick=False,
    ),
    Named(
        "verify-does-not-look-at-links",
        _VERIFY,
        "        if not links.are_of(linked, release):",
        "        if False:",
        (f"{_OF_VERIFY}::test_what_an_owner_changes_beside_the_record_is_named",),
        "a build could be spared for a release that does not come from it",
    ),
    Named(
        "what-was-deleted-is-trusted-when-it-comes-back",
        _REVOCATION,
        '_log.c.kind.in_(("sign", "revoke", "delete"))',
        '_log.c.kind.in_(("sign", "revoke"))',
        (
            f"{_LIFECYCLE}/test_revocation.py"
            "::test_a_deleted_version_that_is_published_again_stays_revoked[sqlite]",
        ),
        "a version that was deleted as backdoored would be served again under its old signature",
    ),
    Named(
        "a-pulled-signature-undoes-a-revocation",
        _REVOCATION,
        "if not received and key in self.signed_again:",
        "if key in self.signed_again or received:",
        (
            f"{_LIFECYCLE}/test_revocation.py"
            "::test_signatures_that_come_with_a_pull_do_not_undo_a_revocation[sqlite]",
        ),
        "whoever kept the old bundle could bring the release back",
    ),
    Named(
        "a-publish-moves-a-protected-alias",
        _PROTECTION,
        "    if cleared != found.sequence:",
        "    if cleared is not None and cleared != found.sequence:",
        (
            f"{_LIFECYCLE}/test_protection.py"
            "::test_no_publish_moves_it_and_a_build_is_told_before[sqlite]",
        ),
        "production would move to what nobody has proved or signed",
    ),
    Named(
        "one-key-that-signs-twice-is-two-persons",
        _CLEARANCE,
        "            signers.add(identity)",
        "            signers.update((identity, key))",
        (
            f"{_LIFECYCLE}/test_protection.py"
            "::test_signatures_of_different_keys_that_are_named[sqlite]",
        ),
        "one person could pass for two",
    ),
    Named(
        "a-strangers-gates-count",
        _CLEARANCE,
        "    if row.plan is None:",
        "    if False:",
        (
            f"{_LIFECYCLE}/test_protection.py"
            "::test_gates_must_have_passed_in_a_build_of_this_registry[sqlite]",
        ),
        "a pulled report could say that its gates passed",
    ),
    Named(
        "a-purge-takes-what-others-need",
        _PURGE,
        "    kept = {*shared, ",
        "    kept = {",
        (
            f"{_LIFECYCLE}/test_purge.py::test_what_is_its_alone_goes_at_once_and_never_comes_back"
            "[sqlite]",
        ),
        "erasing one release would damage another",
    ),
    Named(
        "the-same-release-under-another-number-is-no-other-version",
        _PURGE,
        "    itself = (_versions.c.name == name) & (_versions.c.version == version)\n",
        "    of = (_versions.c.name == name) & (_versions.c.version == version)\n"
        "    itself = _versions.c.digest.in_(sa.select(_versions.c.digest).where(of))\n",
        (f"{_LIFECYCLE}/test_purge.py::test_of_a_release_that_is_live_again_nothing_goes[sqlite]",),
        "purging an old number would erase the card and the lock of the live version",
    ),
    Named(
        "a-purge-takes-what-went-live-meanwhile",
        "registry/lifecycle/erase.py",
        "            if spare_live:",
        "            if False:",
        (f"{_LIFECYCLE}/test_purge.py::test_what_went_live_after_it_was_looked_at_stays[sqlite]",),
        "a version published during a purge would lose its card",
    ),
    Named(
        "a-line-of-the-log-is-what-a-push-writes",
        _PUSHES,
        " or not (isinstance(repository, str) and isinstance(commit, str)):",
        ":",
        (
            f"{_LIFECYCLE}/test_purge.py"
            "::test_it_works_whatever_the_log_says_of_pushes[sqlite-data0]",
        ),
        "people would be sent to a copy that is nowhere",
    ),
    Named(
        "what-a-push-withheld-is-a-list",
        _PUSHES,
        "    paths = withheld if isinstance(withheld, list) else ()",
        "    paths = withheld or ()",
        (
            f"{_LIFECYCLE}/test_purge.py"
            "::test_a_push_that_does_not_say_what_it_withheld_may_have_taken_all",
        ),
        "one line in a log that only grows would forbid every erasure of a version",
    ),
    Named(
        "a-note-says-anything",
        "gateway/http/routes/registry/bodies.py",
        "        form = _NOTES.get(self.kind)",
        "        form = None",
        ("tests/gateway/registry_http/test_writing.py::test_a_note_says_what_its_kind_does",),
        "the log would keep for ever what nobody can read",
    ),
    Named(
        "an-alias-that-was-taken-away-was-never-held",
        _CLEARANCE,
        "        moves = aliases.history(connection, name, alias)",
        "        moves = []",
        (
            f"{_LIFECYCLE}/test_protection.py"
            "::test_an_alias_that_was_taken_away_is_as_good_as_held[sqlite]",
        ),
        "whoever takes the alias away first moves it to what nobody has reviewed",
    ),
    Named(
        "what-was-erased-before-a-publish-may-stay",
        _PUBLISH,
        "        if published is not None:\n            _delete_erased(database, blobs, sources)\n",
        "        if published is not None:\n            _delete_erased(database, blobs, wanted)\n",
        (
            f"{_LIFECYCLE}/test_erase.py"
            "::test_bytes_that_were_sent_after_they_were_erased_go_with_the_publish[sqlite]",
        ),
        "erased bytes that an older program sent would stay in the store",
    ),
    Named(
        "what-is-put-is-held-for-ever-before-it-is-listed",
        _HOLDING,
        "holder=holder, seconds=UNLISTED_S",
        "holder=holder, seconds=FOR_EVER_S",
        (f"{_OF_HOLDING}::test_what_was_put_and_not_listed_is_collected_after_a_day[sqlite]",),
        "a killed gateway would leave a tenant's rows where no erasure and no gc reaches them",
    ),
    Named(
        "what-is-listed-is-held-for-a-day",
        _HOLDING,
        "    if not leases.renew(connection, lease, seconds=seconds):",
        "    if not leases.renew(connection, lease):",
        (f"{_OF_HOLDING}::test_what_is_listed_is_held_for_as_long_as_it_is_wanted[sqlite]",),
        "datasets and files would be gone after an hour",
    ),
    Named(
        "what-was-erased-while-it-was-put-is-held",
        _HOLDING,
        "            _refuse_erased(connection, gone)\n",
        "",
        (f"{_OF_HOLDING}::test_bytes_that_are_erased_while_they_are_put_do_not_stay",),
        "a file would be listed whose bytes are gone",
    ),
    Named(
        "a-deposit-is-put-before-the-index-knows-it",
        _HOLDING,
        "        )\n        stores.begin(connection, told.digest)\n",
        "        )\n",
        (f"{_OF_HOLDING}::test_what_was_put_and_not_listed_is_collected_after_a_day[sqlite]",),
        "the gc of the right index would refuse what its own gateway put",
    ),
    Named(
        "an-old-index-takes-what-it-does-not-know",
        _GC,
        "            elif found is not None:",
        "            elif False:",
        (f"{_OF_HOLDING}::test_an_index_of_before_takes_no_rows_no_seals_and_no_files",),
        "a week after a restore the rows, seals and files of its lost hours would be gone",
    ),
    Named(
        "only-what-is-new-has-a-deposit",
        _GC,
        "        holding.deposit_older(database, blobs)\n",
        "",
        (f"{_OF_HOLDING}::test_what_was_held_before_there_were_deposits_gets_one",),
        "datasets of before an upgrade would be lost with the index",
    ),
    Named(
        "a-strangers-file-is-a-deposit",
        "registry/lifecycle/rebuild.py",
        "if digest not in known | copies]",
        "if digest not in known]",
        (f"{_OF_HOLDING}::test_nobody_else_says_what_a_store_holds",),
        "a pulled release could hold, and list as rows, whatever digest it names",
    ),
    Named(
        "a-tenants-file-may-be-a-record",
        "registry/jobs/files.py",
        "    if told_at(path) is not None:",
        "    if False:",
        (f"{_OF_HOLDING}::test_nobody_else_says_what_a_store_holds",),
        "one deleted file of a tenant would stop every gc",
    ),
    Named(
        "a-dataset-without-its-rows-is-listed-again",
        "registry/datasets/relist.py",
        "        record = None\n    return Told(",
        "        pass\n    return Told(",
        (f"{_OF_HOLDING}::test_a_test_set_whose_rows_are_gone_stays_sealed",),
        "builds would find a dataset that cannot be read",
    ),
    Named(
        "damaged-bytes-count-as-there",
        _LOCAL,
        "if target.is_file() and target.stat().st_size == size_of(source):",
        "if target.is_file():",
        ("tests/registry/index/test_edges.py::test_bytes_that_are_damaged_are_put_anew",),
        "a new version would be corrupt at birth",
    ),
    Named(
        "a-target-without-tensors-is-taken",
        "registry/imports/tensors.py",
        "        if any(_targets(target, module) for module in base.shapes):",
        "        if False:",
        (
            "tests/registry/imports/test_hostile.py::test_a_target_that_the_base_has_must_have_tensors",
        ),
        "PEFT would create the missing weights anew, and the release be another than the engine's",
        "cases 14",
    ),
    Named(
        "another-template-is-not-said",
        "registry/imports/adapter.py",
        "taken.template not in (None, template)",
        "taken.template not in (None, taken.template)",
        (
            "tests/registry/imports/test_hostile.py::"
            "test_a_template_of_its_own_is_said_and_the_bases_own_is_not",
        ),
        "an adapter would answer under a template that it never saw, and nobody be told",
        "cases 27",
    ),
    Named(
        "a-dead-key-that-is-on-is-taken",
        "registry/imports/config.py",
        "    off = _MUST_BE_OFF | _DEAD",
        "    off = _MUST_BE_OFF\n    table = {k: table[k] for k in table if k not in _DEAD}",
        ("tests/registry/imports/test_hostile.py::test_hostile_adapter_is_refused",),
        "a fused layer adapted in parts would be served as if it were adapted whole",
    ),
    Named(
        "an-adapter-on-a-residual-is-harmless",
        "registry/imports/config.py",
        '"orthogonal", "mica"}',
        '"orthogonal", "mica", "lora_ga"}',
        ("tests/registry/imports/test_hostile.py::test_hostile_adapter_is_refused",),
        "LoRA-GA trains on the base less its first factors: on the base it is another one",
    ),
    Named(
        "a-lease-that-has-expired-is-renewed",
        _LEASES,
        ".where(_leases.c.id == lease, _leases.c.expires >= now)",
        ".where(_leases.c.id == lease)",
        (f"{_LIFECYCLE}/test_gc.py::test_a_lease_that_has_expired_is_lost_swept_or_not",),
        "a publish would go on with bytes that a gc has taken",
    ),
    Named(
        "a-lease-that-has-expired-ends-well",
        _LEASES,
        "sa.select(_leases.c.id).where(of_it, _leases.c.expires >= now_s(connection))",
        "sa.select(_leases.c.id).where(of_it)",
        (f"{_LIFECYCLE}/test_gc.py::test_a_publish_whose_lease_has_expired_looks_again",),
        "a version would be listed whose bytes a gc has taken",
    ),
    Named(
        "what-was-erased-meanwhile-is-listed",
        _PUBLISH,
        "        _refuse_erased(release, absences.erased(connection, wanted))\n",
        "",
        (
            f"{_LIFECYCLE}/test_purge.py::"
            "test_weights_that_are_purged_while_they_are_published_again_are_in_no_version",
        ),
        "a live version would have no weights",
    ),
    Named(
        "an-index-without-releases-is-empty",
        "registry/index/backup.py",
        "for name in sorted(tables - _OF_OPENING)",
        'for name in sorted(tables & {"names"})',
        (
            "tests/registry/index/test_backup.py::"
            "test_an_index_without_releases_that_somebody_uses_is_not_overwritten",
        ),
        "tenants, their keys and what they owe would be overwritten",
    ),
    Named(
        "a-full-disk-is-damage",
        "registry/index/backup.py",
        "    except sqlite3.OperationalError as error:\n",
        "    except sqlite3.NotSupportedError as error:\n",
        (
            "tests/registry/index/test_backup.py::"
            "test_a_disk_that_is_full_is_no_damage_of_the_index",
        ),
        "a sound index would be moved away, and an old copy put in its place",
    ),
    Named(
        "what-is-revoked-while-it-is-judged-counts",
        "registry/registry.py",
        "if cleared is not None and log.head(connection, name) != seen:",
        "if False:",
        (
            f"{_LIFECYCLE}/test_protection.py"
            "::test_what_is_revoked_while_it_is_judged_is_judged_again[sqlite]",
        ),
        "production would move to a release whose signatures were just taken back",
    ),
    Named(
        "a-record-may-steer-a-terminal",
        _IMPORTED,
        'if kind in ("Cc", "Cs")), None)',
        'if kind in ("Cs",)), None)',
        ("tests/registry/imports/test_release.py::test_a_text_that_nobody_can_show_is_refused",),
        "a stranger's release would rewrite what an operator sees, or end a pull with a trace",
    ),
    Named(
        "what-was-deleted-meanwhile-is-missing",
        _VERIFY,
        "if lookup.find_live(connection, resolved.digest) is None:",
        "if False:",
        (
            f"{_OF_VERIFY}"
            "::test_a_version_that_is_purged_while_others_are_verified_is_no_fault[sqlite]",
        ),
        "a nightly check of a busy registry would report faults that are none",
    ),
    Named(
        "a-repair-brings-erased-bytes-back",
        _VERIFY,
        '        if gone is not None:\n            raise IntegrityError(f"it was',
        '        if False:\n            raise IntegrityError(f"it was',
        (f"{_OF_VERIFY}::test_no_repair_brings_erased_bytes_back[sqlite]",),
        "weights that were purged would be in the store again",
    ),
    Named(
        "an-index-is-verified-of-several-moments",
        _VERIFY,
        "with self._database.snapshot() as connection:",
        "with self._database.read() as connection:",
        (f"{_OF_VERIFY}::test_a_publish_in_the_midst_of_a_verification_is_no_fault[postgresql]",),
        "a publish during the check would be told as a fault of the index",
    ),
    Named(
        "what-was-sent-is-collected-before-the-rest-is-here",
        "gateway/tokens/sent.py",
        "leases.take(connection, SENT, [digest], holder=digest, seconds=STAGED_S)",
        "pass",
        (
            "tests/gateway/registry_http/test_writing.py"
            "::test_what_was_sent_is_kept_until_the_rest_is_here",
        ),
        "a large release could not be published beside an hourly gc",
    ),
    Named(
        "another-build-is-a-decision",
        _ALIASES,
        'if not event.data.get("published")]:',
        "if event]:",
        (
            f"{_LIFECYCLE}/test_decided.py"
            "::test_another_build_meanwhile_is_nobodys_decision[sqlite]",
        ),
        "of two builds at once the later one would never get its alias",
    ),
    Named(
        "a-publish-knows-of-no-decision",
        _PUBLISH,
        "why=why, since=act.since",
        "why=why, since=None",
        (
            f"{_LIFECYCLE}/test_decided.py"
            "::test_what_somebody_decided_meanwhile_holds[sqlite-rollback]",
        ),
        "a build of an hour would undo a rollback that was made meanwhile",
    ),
    Named(
        "a-server-knows-of-no-decision",
        "gateway/http/routes/registry/writing.py",
        "since=body.since",
        "since=None",
        (
            "tests/registry/remotes/http/test_remote.py"
            "::test_a_publish_leaves_an_alias_that_somebody_moved_meanwhile",
        ),
        "a build on another machine would undo a rollback that was made meanwhile",
    ),
    Named(
        "a-build-that-goes-on-forgets-when-it-began",
        "builders/building/record.py",
        'if "since" not in self._record:',
        "if self._record:",
        (
            "tests/builders/building/test_build.py"
            "::test_an_alias_that_was_rolled_back_during_a_build_stays",
        ),
        "a build that was killed would undo a rollback when it goes on",
        quick=False,
    ),
    Named(
        "s3-copies-whatever-its-size",
        "registry/blobs/s3.py",
        "            if size > self._copied_at_once:\n",
        "            if size < 0:\n",
        (
            f"{_OF_BLOBS}"
            "::test_a_blob_that_no_server_copies_at_once_goes_to_the_trash_and_back[moto]",
        ),
        "gc would end at the first file above 5 GiB, each time",
    ),
    Named(
        "an-upload-of-too-many-parts",
        "registry/blobs/s3.py",
        "max(PART, -(-size // MOST_PARTS))",
        "PART",
        (f"{_OF_BLOBS}::test_no_upload_has_more_parts_than_s3_takes",),
        "weights above 80 GB could not be published to S3",
    ),
    Named(
        "a-look-that-finds-nothing-is-not-repeated",
        "registry/catalog.py",
        "            while found is None:\n",
        "            if found is None:\n                raise AssertionError\n"
        "            while found is None:\n",
        (f"{_OF_PUBLISH}::test_a_release_that_is_listed_between_two_looks_is_found",),
        "a digest that is deleted meanwhile would be a crash, not an answer",
    ),
    Named(
        "modules-of-an-import-are-named-as-files-are",
        "registry/imports/modules.py",
        'if "text_config" in config:',
        'if "texts" in config:',
        (
            "tests/builders/methods/test_towers.py::"
            "test_an_adapter_of_others_is_imported_by_its_modules_names",
        ),
        "on a Gemma 3 that takes images no adapter of others and no pulled release would fit",
        quick=False,
    ),
    Named(
        "a-scale-goes-with-the-old-names",
        "registry/imports/tensors.py",
        "    if prefixes:\n        _check_patterns",
        "    if False:\n        _check_patterns",
        ("tests/registry/imports/test_hostile.py::test_a_pattern_under_the_old_names_is_not_lost",),
        "an adapter would be served at another strength than it was trained with",
    ),
)

NAMED = (*_REVIEW_NAMED, *_EVICTED_NAMED, *_OTHER_NAMED)
