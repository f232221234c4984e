"""The commands that README and docs/ print, so that tests type them.

A block of commands says above itself which test runs it, in a comment that pages do not show:

    <!-- run: own-data -->

        trainer make-lists flowers --val 0.2

The word is a key of `RUNNERS`. What no test can run says why: `<!-- not run: needs the internet -->`.
`errors.md` is one table of its own (tests/mistakes), where each block is a command and its answer; so
is its Chinese page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
APART = {
    "docs/errors.md": "tests/mistakes/test_mistakes.py",
    "docs/zh/errors.md": "tests/docs/test_chinese_pages.py",
}
RUNNERS = {
    "ci": ".ci/run",
    "around": "tests/e2e/test_printed_commands.py",
    "own-data": "tests/e2e/test_printed_commands.py",
    "predict": "tests/e2e/test_printed_commands.py",
    "card": "tests/trainer/cli/test_export_card.py",
    "folds": "tests/trainer/cli/test_make_lists_command.py",
    "data-report": "tests/trainer/insight/test_data_report.py",
    "data-report-claim": "tests/launcher/jobs/test_data_report.py",
    "evaluation-report": "tests/trainer/cli/test_trainer_commands.py",
    "selection": "tests/trainer/cli/test_eval_selection.py",
    "average": "tests/trainer/cli/test_ckpt_average.py",
    "profile": "tests/trainer/cli/test_trainer_commands.py",
    "weights": "tests/e2e/test_printed_commands.py",
    "convert": "tests/e2e/test_printed_commands.py",
    "track": "tests/launcher/cli/test_track_command.py",
    "trust": "tests/e2e/test_printed_commands.py",
    "install": "tests/e2e/test_install.py",
    "install-signed": "tests/e2e/test_install.py",
    "howto": "tests/e2e/test_howto.py",
    "howto-onnx": "tests/e2e/test_howto.py",
    "chinese": "tests/e2e/test_chinese_quickstart.py",
    "docker": "tests/e2e/test_docker_jobs.py",
    "sweep": "tests/launcher/sweep/test_sweep_page.py",
    "sweep-pod": "tests/launcher/sweep/test_driver_pod.py",
    "team": "tests/launcher/team/test_teams_page.py",
    "cluster": "tests/e2e/cluster/test_printed_commands.py",
    "cluster-admin": "tests/e2e/cluster/test_printed_commands.py",
    "cluster-files": "tests/e2e/cluster/test_printed_commands.py",
}
"""Which test runs the blocks of a scenario, in the order of their pages and lines."""

_PROGRAMS = (
    r"(?:ftlaunch|trainer|make|docker(?:/\S+)?|podman|python3?|pip|pipx|uv|git|kubectl|source|cp|curl"
    r"|sha256sum|gpg)"
)
_COMMAND = re.compile(rf"^(?:\$ )?(?:[A-Z_]+=\S* )*{_PROGRAMS}\s+\S")
_MARK = re.compile(r"^\s*<!-- (run|not run): (.+?) -->$")
_FENCE = re.compile(r"^```(\w*)$")
_LANGUAGES = ("", "sh", "bash", "console", "shell")


@dataclass(frozen=True, kw_only=True)
class Block:
    """Commands that a page prints together.

    Attributes:
        page: Relative to the repository.
        line: Of the first command, from 1.
        scenario: What runs it, or None where a reason stands instead, or nothing.
        reason: Why no test runs it.
        commands: As a shell takes them, comments left out, continued lines joined.
    """

    page: str
    line: int
    scenario: str | None
    reason: str | None
    commands: tuple[str, ...]


def pages() -> list[Path]:
    """Return README, and all pages below docs/."""
    return [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


def blocks(scenario: str | None = None, *, page: str | None = None) -> list[Block]:
    """Return the blocks of a scenario, or all, in the order of pages."""
    found = [block for path in pages() for block in read_blocks(path)]
    return [
        block
        for block in found
        if (scenario is None or block.scenario == scenario) and (page is None or block.page == page)
    ]


def commands(scenario: str, *, page: str | None = None) -> list[str]:
    """Return the commands of a scenario in their order; fails where there are none."""
    found = [command for block in blocks(scenario, page=page) for command in block.commands]
    assert found, f"no page prints a command of {scenario!r}"
    return found


def read_blocks(path: Path) -> Iterator[Block]:
    """Yield the blocks of a page in which a line looks like a command."""
    name = path.relative_to(REPOSITORY).as_posix()
    if name in APART:
        return
    for begin, mark, lines in _raw_blocks(path.read_text(encoding="utf-8").splitlines()):
        text = re.sub(r"\\\n\s*", "", "\n".join(lines))
        typed = [_without_comment(line) for line in text.splitlines() if _COMMAND.match(line)]
        if not typed:
            continue
        kind, word = mark or ("", "")
        yield Block(
            page=name, line=begin, commands=tuple(typed),
            scenario=word if kind == "run" else None, reason=word if kind == "not run" else None,
        )  # fmt: skip


def _raw_blocks(lines: list[str]) -> Iterator[tuple[int, tuple[str, str] | None, list[str]]]:
    """Yield number of the first line, the mark above, and the lines of fenced and of indented blocks."""
    index, mark = 0, None
    while index < len(lines):
        line = lines[index]
        if found := _MARK.match(line):
            mark = (found[1], found[2])
        elif fence := _FENCE.match(line):
            end = lines.index("```", index + 1)
            if fence[1] in _LANGUAGES:
                yield index + 2, mark, lines[index + 1 : end]
            index, mark = end, None
        elif line.startswith("    ") and (index == 0 or not lines[index - 1].strip()):
            end = index
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            yield index + 1, mark, [text.lstrip() for text in lines[index:end]]
            index, mark = end - 1, None
        elif line.strip():
            mark = None
        index += 1


def _without_comment(line: str) -> str:
    """Take the prompt off, and what a page explains beside a command: after `#`, or after many blanks."""
    return re.split(r"\s{2,}#|\s+# ", line.removeprefix("$ "), maxsplit=1)[0].rstrip()
