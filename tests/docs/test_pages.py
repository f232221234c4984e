"""Every block of commands that README and docs/ print is typed by a test, or says why none can."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import APART, REPOSITORY, RUNNERS, blocks, pages


def test_every_block_of_commands_says_what_runs_it():
    bare = [
        f"{block.page}:{block.line}: {block.commands[0]}"
        for block in blocks()
        if block.scenario is None and block.reason is None
    ]
    assert bare == []


def test_every_scenario_is_known_and_printed_somewhere():
    assert {block.scenario for block in blocks() if block.scenario} == set(RUNNERS)


@pytest.mark.parametrize("scenario", [name for name in RUNNERS if name not in ("ci", "chinese")])
def test_the_runner_of_a_scenario_asks_for_its_commands(scenario):
    text = (REPOSITORY / RUNNERS[scenario]).read_text(encoding="utf-8")
    assert re.search(rf'commands\(\s*"{scenario}"', text)


@pytest.mark.parametrize("page", APART)
def test_a_page_of_another_form_has_its_own_test(page):
    assert (REPOSITORY / page).is_file()
    assert (REPOSITORY / APART[page]).is_file()


def test_what_readme_tells_a_newcomer_to_type_is_what_continuous_integration_types():
    text = (REPOSITORY / ".ci/run").read_text(encoding="utf-8")
    typed = {
        target
        for line in text.splitlines()
        for part in re.findall(r"\bmake ((?:[a-z0-9-]+ ?)+)", line.partition("#")[0])
        for target in part.split()
    }
    for block in blocks("ci"):
        for command in block.commands:
            if not command.startswith("git clone"):
                assert command.removeprefix("make ") in typed, command


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_no_link_of_a_page_leads_nowhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), target


def _anchor(heading: str) -> str:
    """Return what GitHub calls a heading in a link: small letters, no punctuation, hyphens for blanks."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_no_link_leads_to_a_heading_that_is_not_there(page):
    text = page.read_text(encoding="utf-8")
    for name, anchor in re.findall(r"\]\(([^)#\s:]*\.md|)#([^)\s]+)\)", text):
        target = page.parent / name if name else page
        headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
        assert anchor in map(_anchor, headings), f"{name}#{anchor}"


def test_the_map_of_pages_in_readme_has_every_page():
    table = [
        line
        for line in (REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()
        if line[:1] == "|"
    ]
    linked = set(re.findall(r"\]\((docs/[^)#/]+\.md)\)", "\n".join(table)))
    assert linked == {f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md")} - {
        "docs/index.md"  # the front page of the site, as README is that of the repository
    }
