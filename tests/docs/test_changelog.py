"""The changelog is merged by taking the lines of both sides: a section or a line may be left there twice."""

from __future__ import annotations

import re
from pathlib import Path

CHANGELOG = Path(__file__).parents[2] / "CHANGELOG.md"
SECTIONS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")


def _versions() -> dict[str, str]:
    """Return the text of each version by its heading."""
    heads = re.split(r"^## (.+)\n", CHANGELOG.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(heads[1::2], heads[2::2], strict=True))


def _sections(text: str) -> list[tuple[str, str]]:
    parts = re.split(r"^### (.+)\n", text, flags=re.MULTILINE)
    return list(zip(parts[1::2], parts[2::2], strict=True))


def test_each_version_has_each_section_once_and_in_order() -> None:
    for version, text in _versions().items():
        names = [name for name, _ in _sections(text)]
        assert names == [name for name in SECTIONS if name in names], version


def test_each_entry_stands_once_and_whole() -> None:
    entries: list[str] = []
    for version, text in _versions().items():
        for name, body in _sections(text):
            lines = body.strip("\n").split("\n")
            odd = [line for line in lines if not re.match(r"(- |  )\S", line)]
            assert not odd, f"{version}, {name}: expected entries without other lines between them, got {odd}"
            entries += re.split(r"\n(?=- )", "\n".join(lines))
    assert len(entries) > 100
    assert [entry for entry in entries if not entry.endswith((".", ".)"))] == []
    assert sorted({entry for entry in entries if entries.count(entry) > 1}) == []


def test_releases_are_dated_below_what_is_not_released() -> None:
    first, *released = _versions()
    assert first == "[Unreleased]"
    assert released
    assert [head for head in released if not re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", head)] == []
