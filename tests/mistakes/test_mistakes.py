from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.cli.main import run as run_launcher
from tests.mistakes.table import CHECK, GROUPS, RENDER, VALIDATE, Mistake
from tests.mistakes.workspace import make_workspace, rewrite
from trainer.cli.main import main as run_trainer

PAGE = Path(__file__).parents[2] / "docs/errors.md"
INTRODUCTION = """\
# Error messages, and what to do

Every message tells you where the problem is, what was expected, what was found, and what to do. All problems
of a file are reported at once, and no message is a traceback. `ftlaunch` ends with 2 for a mistake in a
command or a config, 3 for a cluster that does not answer, 4 for a job that is not there; `trainer` with 2 for
the config, 3 for data, 4 for a loss that is no number, 5 for a checkpoint or the output folder.

Each answer was printed by the command above it in a folder that holds the mistake, and a test compares them;
long lists of names are cut (…).
"""
MISTAKES = [mistake for group in GROUPS.values() for mistake in group]


@pytest.fixture
def meet(tmp_path, monkeypatch, capsys) -> Callable[[Mistake], tuple[int, str]]:
    """Make a mistake in a folder of its own; returns the exit code and what the command said."""

    def go(mistake: Mistake) -> tuple[int, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("FTLAUNCH_STATE", str(tmp_path / ".state"))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-settings"))
        make_workspace(tmp_path)
        undo = mistake.change(tmp_path) if mistake.change is not None else None
        capsys.readouterr()
        program, *arguments = mistake.command.split()
        try:
            code = _call(monkeypatch, program, arguments)
        finally:
            if callable(undo):
                undo()
        said = capsys.readouterr().err.replace(str(tmp_path), ".")
        said = re.sub(r"run [0-9a-f]{32}", "run 0123…", said)
        said = re.sub(r"expected one of .*?, got", "expected one of …, got", said)
        return code, re.sub(r"cfg-[a-z2-7]{5}\b", "cfg-abcde", said).strip()

    return go


def _call(monkeypatch, program: str, arguments: list[str]) -> int:
    if program == "ftlaunch":
        return run_launcher(arguments)
    monkeypatch.setattr("sys.argv", [program, *arguments])
    with pytest.raises(SystemExit) as ended:
        run_trainer()
    return int(ended.value.code or 0)


def section(mistake: Mistake, said: str) -> str:
    """Return what the page says of a mistake."""
    title = mistake.what[0].upper() + mistake.what[1:]
    return f"### {title}\n\n```console\n$ {mistake.command}\n{said}\n$ echo $?\n{mistake.exit}\n```\n"


@pytest.fixture(scope="module")
def written(request) -> dict[str, str]:
    """Sections of the page by mistake; filled by the tests, read by the one that renews the page."""
    return {}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.what.replace(" ", "-"))
def test_a_mistake_is_answered_as_the_page_says(mistake, meet, written, request):
    code, said = meet(mistake)
    written[mistake.what] = text = section(mistake, said)
    assert (code, "Traceback" in said, said != "") == (mistake.exit, False, True), said
    if not request.config.getoption("--update-goldens"):
        assert text in PAGE.read_text(), "renew the page: pytest -n 0 --update-goldens tests/mistakes"


def as_windows_saves_it(folder: Path) -> None:
    for name in ("cfg.yaml", "train_list.txt"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(codecs.BOM_UTF8 + content.replace(b"\n", b"\r\n"))


@pytest.mark.parametrize("command", [VALIDATE, CHECK, RENDER, f"{VALIDATE} -o Global.epochs=3"])
def test_line_ends_and_byte_order_mark_of_windows_are_no_mistake(command, meet):
    assert meet(Mistake(what="none", command=command, change=as_windows_saves_it))[0] == 0


def test_places_are_right_with_line_ends_and_byte_order_mark_of_windows(meet):
    def misspell(folder: Path) -> None:
        rewrite("  epochs: 2", "  epochs: many")(folder)
        as_windows_saves_it(folder)

    assert meet(Mistake(what="none", command=VALIDATE, change=misspell))[1].startswith("cfg.yaml:5:11: ")


def test_the_page_shows_every_mistake_and_nothing_else(written, request):
    if request.config.getoption("--update-goldens"):
        parts = [
            f"## {title}\n\n" + "\n".join(written[mistake.what] for mistake in group)
            for title, group in GROUPS.items()
        ]
        PAGE.write_text("\n".join([INTRODUCTION, *parts]))
    titles = re.findall(r"^### (.*)", PAGE.read_text(), re.MULTILINE)
    assert titles == [mistake.what[0].upper() + mistake.what[1:] for mistake in MISTAKES]
    assert PAGE.read_text().startswith(INTRODUCTION)
