from __future__ import annotations

import re
from pathlib import Path

from launcher.why.codes import CODES
from launcher.why.verdict import Resolves

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "why.md").read_text()


def test_the_page_has_every_code_in_order_with_its_meaning() -> None:
    table = PAGE.partition("## Every verdict")[2]
    assert re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", table, re.MULTILINE) == list(CODES.items())


def test_the_page_says_what_resolves_a_matter() -> None:
    assert re.findall(r"^\| `(itself|later|by-change)` \|", PAGE, re.MULTILINE) == [
        item.value for item in Resolves
    ]
