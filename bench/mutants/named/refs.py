"""References and digests: one spelling, one meaning."""

from __future__ import annotations

from bench.mutants.mutant import Named

_REFS = "manifests/refs.py"
_DIGESTS = "manifests/digests.py"
_PATHS = "registry/releases/paths.py"
_OF_REFS = "tests/manifests/test_refs.py"
_OF_DIGESTS = "tests/manifests/test_digests.py"
_OF_PATHS = "tests/registry/test_paths.py"

NAMED = (
    Named(
        "a-bare-name-means-latest",
        _REFS,
        'DEFAULT_ALIAS = "prod"',
        'DEFAULT_ALIAS = "latest"',
        (f"{_OF_REFS}::test_a_bare_name_means_prod",),
        "every client that writes a bare name would get what nobody promoted",
    ),
    Named(
        "a-number-is-an-alias",
        _REFS,
        "    if not _NAME.fullmatch(alias) or alias.isdigit():",
        "    if not _NAME.fullmatch(alias):",
        (f"{_OF_REFS}::test_names_and_aliases_alone",),
        "`medical:7` would be taken for version 7",
    ),
    Named(
        "a-version-may-have-leading-zeros",
        _REFS,
        '_VERSION = re.compile(r"[1-9][0-9]{0,8}")',
        '_VERSION = re.compile(r"[0-9]{1,9}")',
        (f"{_OF_REFS}::test_malformed_refs_are_refused",),
        "one version would have many spellings, and limits by name would not match",
    ),
    Named(
        "a-name-may-go-on-after-its-end",
        _REFS,
        "    if not _NAME.fullmatch(name):",
        "    if not _NAME.match(name):",
        (f"{_OF_REFS}::test_malformed_refs_are_refused",),
        "`a/../b` would be a name, and a path",
    ),
    Named(
        "keys-keep-their-order",
        _DIGESTS,
        "return bytes(rfc8785.dumps(value))",
        'return __import__("json").dumps(value, separators=(",", ":")).encode()',
        (_OF_DIGESTS,),
        "the same release would have another digest on another machine",
    ),
    Named(
        "a-large-file-has-the-digest-of-its-last-part",
        _DIGESTS,
        "            hasher.update(chunk)\n",
        "            hasher = hashlib.sha256(chunk)\n",
        (f"{_OF_DIGESTS}::test_a_file_has_the_digest_of_its_bytes",),
        "weights that differ in the middle would be the same blob",
    ),
    Named(
        "a-path-may-climb",
        _PATHS,
        'part not in ("", ".", "..")',
        'part not in ("", ".")',
        (f"{_OF_PATHS}::test_a_path_that_leads_anywhere_else_is_refused",),
        "a stranger's record would write outside its folder",
    ),
    Named(
        "a-path-may-have-a-backslash",
        _PATHS,
        'or "\\\\" in path ',
        "",
        (f"{_OF_PATHS}::test_a_path_that_leads_anywhere_else_is_refused",),
        "on another system it would lead elsewhere",
    ),
)
