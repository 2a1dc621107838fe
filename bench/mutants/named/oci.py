"""OCI registries: who is told what, what is sent twice, what is believed."""

from __future__ import annotations

from bench.mutants.mutant import Named

_OCI = "registry/remotes/oci"
_TESTS = "tests/registry/remotes/oci"
_OF_RELEASE, _OF_WHO = f"{_TESTS}/test_release.py", f"{_TESTS}/test_who.py"
_OF_WIRE = f"{_TESTS}/test_wire.py"
_OF_CUT_OFF = f"{_TESTS}/test_cut_off.py"

NAMED: tuple[Named, ...] = (
    Named(
        "what-is-public-is-pushed-to-all-the-same",
        f"{_OCI}/push.py",
        "    if public and private:",
        "    if False:",
        (f"{_OF_RELEASE}::test_who_may_read_is_found_out_before_anything_is_sent",),
        "a private adapter would be published to the world",
    ),
    Named(
        "its-owner-is-asked-whether-anybody-may-read",
        f"{_OCI}/client.py",
        'plain_http=self.scheme == "http", anonymous=True)',
        'plain_http=self.scheme == "http")',
        (f"{_OF_WHO}::test_who_logged_in_pushes_in_private_and_nobody_else_reads",),
        "every repository of one's own would be called public",
    ),
    Named(
        "a-tag-is-moved",
        f"{_OCI}/push.py",
        "        if manifest.config.digest != release.digest:",
        "        if False:",
        (f"{_OF_RELEASE}::test_a_tag_of_something_else_is_not_moved",),
        "a push would say that it is done where something else is",
    ),
    Named(
        "an-upload-begins-anew",
        f"{_OCI}/uploads.py",
        "        place, offset = self._resume(digest) or self._start(digest)\n        while",
        "        place, offset = self._start(digest)\n        while",
        (f"{_OF_CUT_OFF}::test_no_byte_is_sent_twice_beyond_a_chunk",),
        "gigabytes would be sent again after each break of a line",
    ),
    Named(
        "a-download-begins-anew",
        f"{_OCI}/client.py",
        "            have = target.stat().st_size if target.exists() else 0",
        "            have = 0",
        (f"{_OF_CUT_OFF}::test_no_byte_is_fetched_twice",),
        "gigabytes would be fetched again after each break of a line",
        quick=False,
    ),
    Named(
        "a-manifest-is-what-a-registry-says",
        f"{_OCI}/client.py",
        '            if reference.startswith("sha256:") and found != reference:',
        "            if False:",
        (f"{_OF_RELEASE}::test_changed_bytes_do_not_arrive",),
        "what was pinned could be another adapter tomorrow",
    ),
    Named(
        "a-password-goes-to-a-token-server-without-tls",
        f"{_OCI}/auth.py",
        "        if not is_safe(url, self._name, plain=self._plain):",
        "        if False:",
        (f"{_OF_WHO}::test_a_token_server_is_told_over_tls_only",),
        "whoever listens would read passwords",
    ),
    Named(
        "any-host-is-told-who-we-are",
        f"{_OCI}/auth.py",
        "        return url.netloc == own.netloc and is_safe(url, self._name, plain=self._plain)",
        "        return True",
        (f"{_OF_WHO}::test_no_other_host_is_told_who_we_are",),
        "a registry could have the password of another sent to it",
    ),
    Named(
        "the-fallback-of-old-registries-is-forgotten",
        f"{_OCI}/referrers.py",
        "        if not client.put_manifest(digest_bytes(made), made, media.MANIFEST):\n"
        "            _list_by_tag(client, digest, made)",
        "        client.put_manifest(digest_bytes(made), made, media.MANIFEST)",
        (f"{_OF_RELEASE}::test_a_release_comes_back_as_the_same_one_with_its_signature",),
        "signatures would not come along from most registries",
    ),
    Named(
        "what-was-let-out-once-is-let-out-again",
        "registry/remotes/leaving.py",
        "    held_back = private_files(release, read)\n    left_out = leave_out(release, {}, ",
        "    held_back = set[str]()\n    left_out = leave_out(release, {}, ",
        (f"{_TESTS}/test_copy.py::test_what_was_let_out_once_is_not_let_out_again",),
        "rows that a company's own registry may have would go to the Hub with a copy",
    ),
    Named(
        "between-own-registries-the-records-word-does-not-count",
        "registry/remotes/own.py",
        "stays = self._absent.keys() | self.release.withheld",
        "stays = self._absent.keys()",
        (f"{_TESTS}/test_copy.py::test_between_own_registries_all_goes_but_what_the_record_keeps",),
        "what was promised to stay where it was published would travel",
    ),
    Named(
        "a-token-servers-answer-is-the-registrys",
        f"{_OCI}/auth.py",
        "            if self._header is None and answer.status_code != 200:",
        "            if self._header is None:",
        (f"{_OF_WIRE}::test_a_token_servers_answer_without_a_token_is_not_the_registrys",),
        "a push would leave out what a token server's answer said to be there",
    ),
    Named(
        "a-registry-that-sends-us-in-circles-is-a-fault-of-ours",
        f"{_OCI}/errors.py",
        "    except (httpx2.RequestError, httpx2.InvalidURL, ConnectionError) as error:",
        "    except (httpx2.TransportError, ConnectionError) as error:",
        (
            f"{_OF_WIRE}::test_what_a_registry_should_not_answer_is_told_in_a_sentence",
            f"{_OF_WIRE}::test_an_upload_that_goes_on_nowhere_ends_in_a_sentence",
        ),
        "a pull would end in a report of a fault of this program",
    ),
    Named(
        "any-artifact-is-a-release",
        f"{_OCI}/held.py",
        "        if manifest.artifactType != media.RELEASE "
        "or manifest.config.media_type != media.RECORD:",
        "        if False:",
        (f"{_OF_RELEASE}::test_what_is_not_there_and_what_is_not_ours",),
        "a container image would end in a message about records",
    ),
    Named(
        "a-redirect-leads-out-of-tls",
        f"{_OCI}/wire.py",
        "        if not is_safe(request.url, name, plain=plain):",
        "        if request.url.scheme not in ('http', 'https'):",
        (f"{_OF_WIRE}::test_no_redirect_leads_out_of_tls",),
        "a private adapter would come, and a token go, where anybody on the way reads it",
    ),
    Named(
        "whoever-we-are-sent-to-asks-for-the-password",
        f"{_OCI}/auth.py",
        "if response.status_code != 401 or not self._is_own(response.url):",
        "if response.status_code != 401:",
        (f"{_OF_WIRE}::test_whoever_we_are_sent_to_cannot_ask_for_the_password",),
        "a store of blobs would be given the password of the registry",
    ),
    Named(
        "an-upload-goes-on-in-the-clear",
        f"{_OCI}/wire.py",
        'return url.scheme == "https" or (url.scheme == "http" and (plain or local))',
        'return url.scheme == "https" or url.host == name.host or plain or local',
        (f"{_OF_WIRE}::test_no_upload_goes_on_in_the_clear",),
        "an upload's address over http would be told who we are",
    ),
    Named(
        "an-answer-has-no-end",
        f"{_OCI}/wire.py",
        "            if size > MOST:",
        "            if size > 2 * MOST:",
        (f"{_OF_WIRE}::test_an_answer_without_an_end_is_not_read_to_it",),
        "a registry would fill the memory of whoever asks it",
    ),
)
