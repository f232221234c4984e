"""Reports in a real browser: they fit, in light and dark and on paper, need no script, and run none."""

from __future__ import annotations

import base64
import io
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.pages.browser import open_browser
from trainer.insight.curves import History
from trainer.insight.evaluation_report import Maps, Origin, Predictions, TrainingView, write_page
from trainer.protocol.reportfile import ConfigValue, Fact

pytestmark = pytest.mark.browser

HOSTILE = [
    "<script>window.hacked=1;alert(1)</script>",
    "\"><img src=x onerror='window.hacked=1'>",
    "<svg onload=window.hacked=1>",
    "javascript:window.hacked=1",
    "</style><script>window.hacked=1</script>",
    "\u202eright to left\u202c שלום",
    "中文名字很长很长很长很长很长很长很长很长很长很长",
    "a" * 200,
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with open_browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module", params=[8, 60], ids=["few classes", "many classes"])
def page(request, tmp_path_factory) -> Path:
    """A page of a training with every part, whose names, paths and values are hostile."""
    folder, classes = tmp_path_factory.mktemp("page"), request.param
    draws = np.random.default_rng(0)
    names = [HOSTILE[label % len(HOSTILE)] + str(label) for label in range(classes)]
    paths = []
    for number in range(30):
        paths.append(str(folder / f"x' onload='window.hacked=1' <b>{number}.png"))
        cv2.imwrite(paths[-1], draws.integers(0, 255, (40, 60, 3), dtype=np.uint8))
    labels = draws.integers(0, classes, 300)
    logits = draws.normal(0, 1, (300, classes)).astype(np.float32)
    logits[np.arange(300), labels] += 2
    given = Predictions(
        paths=[paths[row % 30] for row in range(300)], places=[f"{HOSTILE[0]}:{row}" for row in range(300)],
        labels=labels, logits=logits, names=names,
    )  # fmt: skip
    history = History()
    for epoch in range(1, 6):
        history.add({"event": "epoch", "epoch": epoch, "loss": 3 / epoch, "top1": epoch / 8})
        history.add(
            {"event": "eval", "epoch": epoch, "loss": 4 / epoch, "top1": epoch / 9, "largest_class": 0.2}
        )
        history.add({"event": "times", "epoch": epoch, "steps": 9, "compute_s": 0.1, "wait_s": 0.02})
    history.add({"event": "resumed", "epoch": 3})
    view = TrainingView(
        epoch=5, step=50, epochs=9, key="top1", history=history,
        values=[ConfigValue(key="Global.x", value=HOSTILE[0], origin=HOSTILE[1])],
        facts=[Fact(name=HOSTILE[2], value=HOSTILE[4])], captions=HOSTILE[:4],
        seen=draws.integers(0, 255, (4, 32, 32, 3), dtype=np.uint8),
    )  # fmt: skip
    heat = np.zeros((4, 4), dtype=np.uint8)
    maps = Maps(
        heat=dict.fromkeys(paths, heat), pictures=dict.fromkeys(paths, np.zeros((32, 32, 3), dtype=np.uint8)),
        layer=HOSTILE[0],
    )  # fmt: skip
    origin = Origin(weights=HOSTILE[0], listed=HOSTILE[1], version="1", notes=(HOSTILE[2],))
    return write_page(given, given.probabilities(), folder, origin, maps=maps, training=view)[0]


def brightness(png: bytes) -> float:
    with Image.open(io.BytesIO(png)) as picture:
        return float(np.asarray(picture.convert("L"), dtype=np.float64).mean())


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_sticks_out_of_the_page(browser, page, width):
    browser.open(page, width=width)
    assert browser.size()[0] <= width


def test_it_is_dark_where_that_is_preferred(browser, page):
    browser.open(page, scheme="light")
    light = brightness(browser.screenshot())
    browser.open(page, scheme="dark")
    assert brightness(browser.screenshot()) < 110 < 180 < light


def test_with_scripts_off_all_of_it_is_there(browser, page):
    browser.open(page)
    size = whole_size(browser)
    browser.open(page, scripts=False)
    assert whole_size(browser) == size
    assert size[1] > 2000


def whole_size(browser):
    """Return the page's size as it is printed: on a screen, parts out of view have a guessed height."""
    browser.ask("Emulation.setEmulatedMedia", media="print")
    browser.wait_until("matchMedia('print').matches")
    return browser.size()


def test_it_can_be_printed(browser, page):
    browser.open(page)
    pdf = base64.b64decode(browser.ask("Page.printToPDF", printBackground=True)["data"])
    assert pdf.startswith(b"%PDF")
    assert pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") > 1


def test_hostile_names_run_nothing_and_ask_for_nothing(browser, page):
    browser.open(page)
    assert browser.evaluate("window.hacked") is None
    assert browser.evaluate("document.scripts.length") == 0
    assert "<script>window.hacked=1;alert(1)</script>" in browser.evaluate("document.body.innerText")
    assert not [event for event in browser.events if event["method"] == "Page.javascriptDialogOpening"]
    assert {url.partition(":")[0] for url in browser.requests()} <= {"file", "data"}
    assert sum(url.startswith("file:") for url in browser.requests()) == 1


@pytest.mark.parametrize(
    "planted",
    [
        "<script>window.hacked=1</script>",
        "<img src=x onerror='window.hacked=1'>",
        "<script src='https://example.com/x.js'></script>",
        "<iframe srcdoc='<script>parent.hacked=1</script>'></iframe>",
        "<link rel=stylesheet href='https://example.com/x.css'><img src='https://example.com/x.png'>",
    ],
)
def test_what_would_get_into_the_page_all_the_same_is_refused_by_its_policy(browser, page, tmp_path, planted):
    other = tmp_path / "page.html"
    shutil.copy(page, other)
    text = other.read_text()
    other.write_text(text.replace("<h1>", f"{planted}<h1>", 1))
    browser.open(other)
    assert browser.evaluate("window.hacked") is None
    refused = [event for event in browser.events if "Content Security Policy" in str(event)]
    assert refused
    loaded = [event for event in browser.events if event["method"] == "Network.responseReceived"]
    assert not [event for event in loaded if "example.com" in event["params"]["response"]["url"]]


def test_a_cell_of_the_matrix_shows_its_images_when_it_is_followed(browser, page):
    browser.open(page)
    shown = "[...document.querySelectorAll('section.cell')].filter(x => x.offsetHeight).length"
    assert browser.evaluate(shown) == 0
    anchor = browser.evaluate("document.querySelector('section.cell').id")
    assert browser.evaluate(f"document.querySelector('a[href=\"#{anchor}\"]').textContent.length") > 0
    browser.evaluate(f"document.querySelector('a[href=\"#{anchor}\"]').click()")
    assert browser.evaluate(shown) == 1
    assert browser.evaluate(f"document.getElementById('{anchor}').querySelectorAll('img').length") > 0
