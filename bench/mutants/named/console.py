"""The console: a page runs with somebody's key, so whoever steers it acts as that person."""

from __future__ import annotations

from bench.mutants.mutant import Named

_GUARD = "gateway/console/guard.py"
_VISIT = "gateway/console/visit.py"
_SESSIONS = "gateway/console/sessions.py"
_INSIDE = "gateway/console/inside.py"
_MARKDOWN = "gateway/console/markdown.py"
_PAGE = "gateway/console/page.py"
_RELEASE = "gateway/console/pages/release.py"
_DOORS = "tests/gateway/console/test_doors.py"
_PAGES = "tests/gateway/console/test_pages.py"
_OPERATORS = "tests/gateway/console/test_operators.py"
_ADAPTERS = "tests/gateway/console/test_adapters.py"
_OF_PAGES = "tests/gateway/http/test_own_pages.py"

NAMED = (
    Named(
        "a-page-of-a-sibling-site-may-send-forms",
        _GUARD,
        'return site == "same-origin"',
        'return site != "cross-site"',
        (f"{_DOORS}::test_what_changes_something_is_a_form_of_this_session",),
        "another application under the same domain would act with the key of who is logged in",
    ),
    Named(
        "the-token-of-any-session-will-do",
        _SESSIONS,
        "return self._tokens.verify_signature(session.id, token)",
        "return bool(token)",
        (f"{_DOORS}::test_what_changes_something_is_a_form_of_this_session",),
        "whoever can open the login page has a token for everybody's forms",
    ),
    Named(
        "forms-without-a-token",
        _VISIT,
        "if not is_own(request) or not visit",
        "if not is_own(request) and not visit",
        (f"{_DOORS}::test_what_changes_something_is_a_form_of_this_session",),
        "one of two locks would be enough",
    ),
    Named(
        "logged-out-only-in-the-browser",
        _SESSIONS,
        "        self._open.pop(session.id, None)",
        "        self._open.get(session.id)",
        (f"{_DOORS}::test_who_logs_out_is_out_with_the_old_cookie_too",),
        "a cookie that was copied would work on",
    ),
    Named(
        "a-session-lasts-for-good",
        _SESSIONS,
        "session.ends <= self._now()",
        "session.ends <= 0",
        (f"{_DOORS}::test_a_session_ends_with_its_time_and_the_oldest_for_one_too_many",),
        "a browser that was left open is logged in until the gateway restarts",
    ),
    Named(
        "a-cookie-for-every-scheme",
        _VISIT,
        "secure=secure or self.is_https",
        "secure=False",
        (f"{_DOORS}::test_by_tls_the_cookie_goes_by_tls_only",),
        "one request by plain http would show the session to the network",
    ),
    Named(
        "any-name-for-this-machine",
        _GUARD,
        "if self._local and not is_local(host):",
        "if self._local and not host:",
        (f"{_DOORS}::test_no_other_name_for_this_machine_gets_in",),
        "a page whose name is pointed to 127.0.0.1 would be of the console's own origin",
    ),
    Named(
        "a-form-leads-anywhere",
        _VISIT,
        "if parts.scheme or parts.netloc or not own or",
        "if not own or",
        (f"{_DOORS}::test_a_form_leads_to_no_other_place",),
        "a link to the login would end at a copy of it that asks for the key again",
    ),
    Named(
        "templates-escape-nothing",
        _PAGE,
        "autoescape=True,",
        "autoescape=False,",
        (f"{_PAGES}::test_hostile_names_are_text",),
        "a file's name would be markup in its owner's page",
    ),
    Named(
        "a-card-may-have-html",
        _MARKDOWN,
        '{"html": False}',
        '{"html": True}',
        (f"{_ADAPTERS}::test_a_card_cannot_break_out",),
        "a card that was pulled from elsewhere would be a part of the page",
    ),
    Named(
        "a-card-links-into-the-console",
        _MARKDOWN,
        '_SCHEMES = ("http", "https", "mailto")',
        '_SCHEMES = ("http", "https", "mailto", "")',
        (f"{_ADAPTERS}::test_a_card_is_shown_without_anything_of_its_own_running",),
        "a stranger's text would lead who reads it to pages that act",
    ),
    Named(
        "a-plot-is-whatever-it-says",
        _RELEASE,
        "or not answer.body.startswith(_PNG)",
        "or not answer.body",
        (f"{_ADAPTERS}::test_a_plot_is_a_picture_and_nothing_else",),
        "a release could serve any bytes from the console's own origin",
    ),
    Named(
        "a-part-of-a-path-may-be-a-path",
        _INSIDE,
        'or "/" in text or',
        "or",
        (f"{_ADAPTERS}::test_what_stands_for_one_part_of_a_path_is_one",),
        "an address could be made to ask another path of the API with the reader's key",
    ),
    Named(
        "a-tenants-job-is-a-build",
        "gateway/console/pages/builds.py",
        '    if found["kind"] != DETACHED:\n',
        "    if False:\n",
        (f"{_OPERATORS}::test_builds_of_the_command_line_are_watched_and_asked",),
        "the page for builds would end a tenant's training",
    ),
    Named(
        "a-part-of-a-turn-is-not-shown",
        "gateway/console/pages/file.py",
        'and turn.keys() == {"role", "content"}',
        'and {"role", "content"} <= turn.keys()',
        (f"{_OPERATORS}::test_what_is_no_conversation_is_shown_as_it_stands",),
        "whoever looks at rows would not see what is learnt of them",
    ),
    Named(
        "blank-lines-are-rows",
        "gateway/files/shown.py",
        "number <= after or (line is not None and not line.strip())",
        "number <= after",
        (f"{_OPERATORS}::test_the_rows_of_a_file_come_in_pages",),
        "a page of blank lines would look like a file without rows",
    ),
    Named(
        "a-name-that-points-here-is-this-machine",
        "gateway/http/own_pages.py",
        "        if host is not None and not is_local(host) and host.lower() not in self._hosts:",
        "        if False:",
        (f"{_OF_PAGES}::test_who_may_ask_where_no_key_is_asked_for",),
        "a page whose name is made to point here would read answers, files and kept exchanges",
    ),
    Named(
        "any-page-may-have-an-open-gateway-work",
        "gateway/http/own_pages.py",
        "            return origin not in self._origins and urlsplit(origin).netloc != host\n",
        "            return False\n",
        (f"{_OF_PAGES}::test_who_may_ask_where_no_key_is_asked_for",),
        "each page that a developer visits could start jobs and write feedback",
    ),
    Named(
        "a-training-takes-the-newest-file",
        "gateway/console/pages/jobs.py",
        '    for name in {filled.training_file, filled.validation_file} - {"", *listed}:',
        "    for name in set[str]():",
        (f"{_PAGES}::test_a_job_is_begun_with_the_file_that_was_chosen_however_old",),
        "whoever chose an older file would train on another one",
    ),
    Named(
        "the-forms-token-is-in-an-address",
        _VISIT,
        '        if self.request.method != "GET":\n            path, query',
        "        if False:\n            path, query",
        (f"{_PAGES}::test_colours_lead_back_from_what_a_form_led_to",),
        "it would be in the browser's history, and the page that follows none",
    ),
    Named(
        "the-console-compares-with-a-base-that-nobody-serves",
        _RELEASE,
        '(*base, release["id"])',
        '(release["base_model"], release["id"])',
        (f"{_ADAPTERS}::test_what_gates_said_and_what_it_can_be_compared_with",),
        "one of the two answers would always be that there is no such model",
    ),
)
