"""Pages that a newcomer reads are in plain English: no phrases that only we use."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import REPOSITORY

PAGES = [
    REPOSITORY / "README.md",
    *(REPOSITORY / f"docs/{name}.md" for name in ("index", "install", "init", "predict", "doctor")),
    *(REPOSITORY / f"docs/{name}.md" for name in ("errors", "evaluation-report", "kubernetes")),
    *(REPOSITORY / f"docs/{name}.md" for name in ("commands", "config")),
    *sorted((REPOSITORY / "docs/howto").glob("*.md")),
    *sorted((REPOSITORY / "docs/platform").glob("*.md")),
]
OURS = re.compile(
    r"\b(?:(?:images|folder|folders) a class|an? (?:line|row) an image|(?:object|path|label) a line"
    r"|a line each|images a second|says so|(?:is|are) said|(?:bug|error|key|keys) of ours|name of before"
    r"|likewise|(?:is|are) told of|the very text)\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_a_page_has_no_phrases_that_only_we_use(page) -> None:
    found = [
        f"{number}: {match[0]}"
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
        for match in OURS.finditer(line)
    ]
    assert found == []
