"""The built site, read as files: links lead somewhere, no network is asked, it fits, search finds."""

from __future__ import annotations

import re
import tarfile
import time
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

from tests.pages.browser import Browser, open_browser

pytestmark = pytest.mark.browser
REPOSITORY = Path(__file__).resolve().parents[2]
SITE = REPOSITORY / "build/site"
SEEN = (
    "index.html", "commands.html", "kubernetes.html", "zh/quickstart.html", "repository/CHANGELOG.html",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    assert (SITE / "index.html").is_file(), "expected the built site; `make page-check` builds it"
    with open_browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def _anchors(path: Path) -> frozenset[str]:
    return frozenset(re.findall(r'\bid="([^"]+)"', _text(path)))


def test_every_link_leads_to_a_page_and_to_a_heading_of_it():
    lost = []
    for page in sorted(SITE.rglob("*.html")):
        if page.name == "404.html":  # its links begin at the root of a server
            continue
        for link in re.findall(r'<(?:a|link|img|script)\b[^>]*?\b(?:href|src)="?([^"\s>]+)', _text(page)):
            address, anchor = urldefrag(unquote(link))
            target = (page.parent / address).resolve() if address else page
            if re.match(r"[a-z]+:", address):
                continue
            if not target.exists() or (anchor and anchor not in _anchors(target) and anchor != "__skip"):
                lost.append(f"{page.relative_to(SITE)}: {link}")
    assert lost == []


def test_nothing_is_loaded_from_elsewhere():
    loads = re.compile(r'<(?:link|img|script|iframe|source)\b[^>]*?\b(?:href|src)="?(?:https?:)?//')
    assert [page.name for page in SITE.rglob("*.html") if loads.search(_text(page))] == []
    outside = re.compile(r"(?:@import|url\()\s*['\"]?(?:https?:)?//")
    assert [path.name for path in SITE.rglob("*.css") if outside.search(_text(path))] == []


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("name", SEEN)
def test_a_page_fits_asks_nobody_and_has_no_fault(browser: Browser, name: str, width: int) -> None:
    browser.open(SITE / name, width=width)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert [url for url in browser.requests() if not url.startswith(("file:", "data:", "blob:"))] == []
    faults = [event for event in browser.events if event["method"] == "Runtime.exceptionThrown"]
    assert faults == []


@pytest.mark.parametrize(("words", "page"), [("gang", "kubernetes.html"), ("快速上手", "zh/quickstart.html")])
def test_the_search_finds_without_a_server(browser: Browser, words: str, page: str) -> None:
    browser.open(SITE / "index.html")
    browser.evaluate(
        "document.querySelector('.md-search__input').focus();"
        f"document.querySelector('.md-search__input').value = {words!r};"
        "document.querySelector('.md-search__input').dispatchEvent(new Event('keyup'))"
    )
    found: list[str] = []
    until_s = time.monotonic() + 60
    while not any(page in link for link in found):
        assert time.monotonic() < until_s, f"nothing was found but {found}"
        found = browser.evaluate(
            "[...document.querySelectorAll('.md-search-result__link')].map(link => link.href)"
        )
        time.sleep(0.2)


def test_the_archive_has_the_whole_site():
    with tarfile.open(REPOSITORY / "build/ftlaunch-site.tar.gz") as archive:
        names = {name.removeprefix("site/") for name in archive.getnames() if Path(name).suffix}
    here = {path.relative_to(SITE).as_posix() for path in SITE.rglob("*") if path.is_file()}
    assert names == here
