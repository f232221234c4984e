"""Each page that a newcomer reads is there in Chinese, with the same commands, or says that it lags.

A Chinese page ends with the hash of the English page that it was made from. Whoever changes the English page
brings the Chinese one up to date and renews the hash (the failing test prints it), or puts the line `LAGS`
below its title.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from launcher.why.codes import CODES
from tests.docs.pages import blocks

DOCS = Path(__file__).resolve().parents[2] / "docs"
LAGS = "> 本页可能落后于[英文版]"
ENGLISH = [
    *(DOCS / name for name in ("index.md", "errors.md", "why.md")),
    *sorted((DOCS / "howto").glob("*.md")),
]
_NAMES = [path.relative_to(DOCS).as_posix() for path in ENGLISH]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _fenced(text: str) -> list[str]:
    """Return what is to be copied, without its comments, and what programs answer."""
    parts = re.findall(r"^```(?:yaml|python|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [re.sub(r" +#.*", "", part) for part in parts]


def test_no_chinese_page_is_without_an_english_one() -> None:
    there = {path.relative_to(DOCS / "zh").as_posix() for path in (DOCS / "zh").rglob("*.md")}
    assert there == {*_NAMES, "quickstart.md"}  # whose English form is README


@pytest.mark.parametrize("name", _NAMES)
def test_a_page_has_its_counterpart(name: str) -> None:
    text = (DOCS / "zh" / name).read_text(encoding="utf-8")
    of = re.findall(r"<!-- of: (\S+) sha256: (\w{16}) -->", text)
    assert [page for page, _ in of] == [name]
    is_current = of[0][1] == _digest(DOCS / name)
    assert is_current or LAGS in text, f"docs/zh/{name}: bring it up to date, sha256: {_digest(DOCS / name)}"
    if is_current:
        mine = [block.commands for block in blocks(page=f"docs/zh/{name}")]
        assert mine == [block.commands for block in blocks(page=f"docs/{name}")]
        english = (DOCS / name).read_text(encoding="utf-8")
        assert _fenced(text) == _fenced(english)
        assert len(re.findall("^#+ ", text, re.MULTILINE)) == len(re.findall("^#+ ", english, re.MULTILINE))


def test_each_verdict_is_there_in_chinese() -> None:
    page = (DOCS / "zh/why.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| `([a-z-]+)` \| (.*[\u4e00-\u9fff].*) \|$", page.partition("## 全部结论")[2], re.MULTILINE
    )
    assert [code for code, _ in rows] == list(CODES)
    assert len({meaning for _, meaning in rows}) == len(CODES)
