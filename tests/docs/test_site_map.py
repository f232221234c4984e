"""The site (mkdocs.yml, docs/site): each page has one place in it, and nothing comes from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"))


def _places(part: Any) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    for item in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from _places(item)


def test_no_page_has_two_places_and_all_that_are_named_are_there():
    """A page that the navigation does not name gets a place below Guides, More: docs/site/hooks.py."""
    places = [place for place in _places(CONFIG["nav"]) if not place.startswith("repository/")]
    assert len(places) == len(set(places))
    assert [place for place in places if not (REPOSITORY / "docs" / place).is_file()] == []


def test_what_the_navigation_has_of_the_repository_is_there():
    places = [place for place in _places(CONFIG["nav"]) if place.startswith("repository/")]
    assert places
    assert [place for place in places if not (REPOSITORY / place.removeprefix("repository/")).is_file()] == []


def test_fonts_and_scripts_are_the_sites_own():
    assert CONFIG["theme"]["font"] is False
    taken = [*CONFIG["extra"]["polyfills"], *CONFIG["extra_css"]]
    assert [name for name in taken if not (REPOSITORY / "docs/site/theme" / name).is_file()] == []
