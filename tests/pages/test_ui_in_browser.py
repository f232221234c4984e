"""`ftlaunch ui` in a real browser: live, by keyboard, narrow and dark, against hostile runs and pages."""

from __future__ import annotations

import base64
import http.server
import io
import json
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image

from launcher.backends.states import JobState
from launcher.names import new_run_id
from launcher.plan.handle import Handle
from launcher.runs.record import RunRecord, Stage
from launcher.runs.store import RunStore
from tests.contract.harness import RUN_ID
from tests.contract.local_harness import LocalUnderTest
from tests.pages.browser import Browser, open_browser
from trainer.protocol.jobfile import JobFile
from trainer.protocol.runfile import claim_output

pytestmark = pytest.mark.browser

HOSTILE = (
    "<script>window.hacked=1</script>", "<img src=x onerror='window.hacked=1'>",
    "\x1b]0;title\x07\x1b[31mred", "\u202eright to left", "</div></body><svg onload=window.hacked=1>",
    "x" * 1_000_000,
)  # fmt: skip
LIVE = "document.getElementById('live').textContent == 'live'"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run that goes on, whose words are hostile, and others that have ended."""
    folder = tmp_path_factory.mktemp("place")
    made = LocalUnderTest(folder)
    store, output = RunStore(made.runs_dir), folder / "output"
    handle = Handle(backend="local", job="flowers")
    record = RunRecord(
        handle=handle, run_id=RUN_ID, stage=Stage.SUBMITTING, project=HOSTILE[0], config=HOSTILE[1],
        command=("submit", HOSTILE[4]), created_s=time.time(),
    )  # fmt: skip
    job_file = JobFile(
        job="flowers", backend="local", run_id=RUN_ID, workdir=str(folder), overrides=(), extra_modules=(),
        folders={"/output": str(output)}, output_dir="/output",
    )  # fmt: skip
    for number in range(60):
        other = RunRecord(
            handle=Handle(backend="local", job=f"older-{number:02}"), run_id=new_run_id(),
            stage=Stage.SUBMITTED, project="p", config="cfg.yaml", command=("submit",),
            created_s=1e9 + number,
        )  # fmt: skip
        store.begin(other, config=f"Global: {{epochs: {number}}}".encode(), manifest="", git=None)
    store.begin(
        record, config=f"Global: {{a: {json.dumps(HOSTILE[0])}}}".encode(), manifest="", git=None,
        job_file=job_file,
    )  # fmt: skip
    made.submit(name="flowers", nodes=1)
    store.finish(record)
    made.reaches(handle, lambda status: status.state is JobState.RUNNING, what="the job to run")
    output.mkdir()
    claim_output(output, run_id=RUN_ID, now_s=1.0)
    for text in HOSTILE:
        made.say(handle, 0, f"[a1 r0] {text}\n".encode())
    (output / "report.html").write_text(
        "<!doctype html><script>parent.hacked=1;window.hacked=1</script><h1>Report</h1>"
        "<form action='../cancel' method=post><button>x</button></form>"
    )
    made.rows = output / "metrics.jsonl"
    made.handle = handle
    yield made
    made.close()


@pytest.fixture(scope="module")
def address(place):
    """Of a page that is served by the command."""
    environment = {**os.environ, "FTLAUNCH_STATE": str(place.folder)}
    command = [sys.executable, "-m", "launcher", "ui", "--no-open"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as served:
        yield served.stdout.readline().strip()
        served.terminate()
        assert served.wait(20) == 0


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with open_browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def root(browser, address) -> str:
    """Address of the list, in a browser that was let in."""
    browser.open(address)
    browser.wait_until("location.pathname != '/' && document.readyState == 'complete'")
    return browser.evaluate("location.href")


def write_rows(place, first: int, last: int) -> None:
    with place.rows.open("a") as file:
        for step in range(first, last):
            row = {"event": "step", "attempt": 1, "time_s": 1.0, "epoch": 1, "step": step, "loss": 3 / step}
            file.write(json.dumps(row) + "\n")


def brightness(png: bytes) -> float:
    with Image.open(io.BytesIO(png)) as picture:
        return float(np.asarray(picture.convert("L"), dtype=np.float64).mean())


def complaints(browser: Browser) -> list[object]:
    seen = ("Log.entryAdded", "Runtime.exceptionThrown", "Page.javascriptDialogOpening")
    return [event["params"] for event in browser.events if event["method"] in seen]


def test_a_point_is_on_the_page_soon_after_it_was_written(browser, root, place):
    write_rows(place, 1, 20)
    browser.go(f"{root}run/flowers/")
    browser.wait_until("document.querySelector('polyline')?.points.length == 19")
    browser.evaluate(
        "window.seen = 0; new MutationObserver(() => {"
        "  if (!window.seen && document.querySelector('polyline')?.points.length == 20)"
        "    window.seen = Date.now()"
        "}).observe(document.body, {childList: true, subtree: true})"
    )
    write_rows(place, 20, 21)
    browser.wait_until("window.seen")
    assert complaints(browser) == []


@pytest.mark.parametrize("path", ["", "run/flowers/", "run/flowers/logs", "run/flowers/config",
                                  "run/flowers/report", "compare?job=flowers&job=older-59"])  # fmt: skip
def test_what_is_hostile_stands_as_text_and_asks_nobody(browser, root, path):
    browser.go(root + path)
    if not path.startswith("compare"):
        browser.wait_until(LIVE)
        browser.wait_until("document.querySelector('.state').textContent != '…'")
    if path.endswith("logs"):
        browser.wait_until("document.getElementById('log').childElementCount == 6")
        lines = browser.evaluate("[...document.getElementById('log').children].map(x => x.textContent)")
        assert "<script>window.hacked=1</script>" in lines[0]
        assert max(map(len, lines)) < 2100
        assert "\u202e" not in "".join(lines)
    assert browser.evaluate("window.hacked") is None
    assert browser.evaluate("document.title").isprintable()
    own = root.partition("://")[2].partition("/")[0]
    assert {url.partition("://")[2].partition("/")[0] for url in browser.requests()} == {own}
    if not path.endswith("report"):  # there the script of the report is refused, and the browser says so
        assert complaints(browser) == []


def test_a_report_is_shown_in_a_frame_that_can_do_nothing(browser, root):
    browser.go(f"{root}run/flowers/report")
    browser.wait_until("!!document.querySelector('iframe')")
    assert browser.evaluate("document.querySelector('iframe').getAttribute('sandbox')") == ""
    assert browser.evaluate("document.querySelector('iframe').contentDocument") is None
    browser.go(f"{root}run/flowers/report.html")  # opened by itself it is no less shut in
    assert browser.evaluate("document.querySelector('h1').textContent") == "Report"
    assert browser.evaluate("window.hacked") is None
    assert browser.evaluate("self.origin") == "null"


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize(
    "path", ["", "run/flowers/", "run/flowers/logs", "run/flowers/config", "run/flowers/cancel"]
)
def test_nothing_sticks_out_of_the_page(browser, root, path, width):
    browser.open(root + path, width=width)
    browser.wait_until("document.querySelector('main').textContent.length > 100")
    assert browser.size()[0] <= width


def test_it_is_dark_where_that_is_preferred(browser, root):
    browser.open(f"{root}run/flowers/", scheme="light")
    light = brightness(browser.screenshot())
    browser.open(f"{root}run/flowers/", scheme="dark")
    assert brightness(browser.screenshot()) < 110 < 180 < light


def test_a_run_is_found_opened_and_cancelled_by_keyboard_alone(browser, root):
    browser.open(root)
    browser.wait_until(LIVE)
    press_until(browser, "document.activeElement.name == 'q'")
    for letter in "flow":
        browser.press(letter, text=letter)
    browser.press("Enter")
    browser.wait_until("location.search.includes('q=flow') && document.readyState == 'complete'")
    press_until(browser, "document.activeElement.id == 'to-flowers'")
    assert browser.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    browser.press("Enter")
    browser.wait_until(
        "location.pathname.endsWith('/run/flowers/') && !!document.getElementById('do-cancel')"
    )
    press_until(browser, "document.activeElement.id == 'do-cancel'")
    time.sleep(1.5)  # parts of the page are drawn anew meanwhile
    assert browser.evaluate("document.activeElement.id") == "do-cancel"
    browser.press("Enter")
    browser.wait_until("location.pathname.endsWith('/cancel') && document.activeElement.tagName == 'BUTTON'")


def press_until(browser: Browser, condition: str) -> None:
    for _ in range(80):
        browser.press("Tab")
        if browser.evaluate(condition):
            return
    raise AssertionError(f"no Tab leads there: {condition}")


def test_choices_survive_what_is_drawn_anew(browser, root):
    browser.go(root)
    browser.wait_until(LIVE)
    browser.evaluate("document.getElementById('pick-flowers').click()")
    browser.evaluate("document.getElementById('pick-older-59').click()")
    time.sleep(2.5)
    assert browser.evaluate("document.querySelectorAll('input:checked').length") == 2
    browser.evaluate(
        "[...document.querySelectorAll('button')].find(x => /Compare/.test(x.textContent)).click()"
    )
    browser.wait_until("location.pathname.endsWith('/compare') && !!document.querySelector('h1')")
    assert "2 runs compared" in browser.evaluate("document.querySelector('h1').textContent")


def test_a_page_that_was_saved_is_whole_without_a_server(browser, root, tmp_path):
    for name, path in (("run", "run/flowers/"), ("report", "run/flowers/report"), ("list", "")):
        browser.go(root + path)
        url = json.dumps(f"{root}{path}?save=1")
        browser.evaluate(f"fetch({url}).then(x => x.text()).then(x => {{window.saved = x}})")
        browser.wait_until("window.saved")
        page = tmp_path / f"{name}.html"
        page.write_text(browser.evaluate("window.saved"))
        browser.open(page)
        assert {url.partition(":")[0] for url in browser.requests()} <= {"file", "data", "about"}
        assert browser.evaluate("window.hacked") is None
        assert browser.evaluate("document.scripts.length") == 0
        assert browser.evaluate("getComputedStyle(document.body).maxWidth") != "none"
        assert "flowers" in browser.evaluate("document.body.innerText")


class _Elsewhere(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.seen.append(self.headers.get("cookie"))
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>elsewhere</title>")

    def log_message(self, *args: object) -> None:
        pass


def test_another_page_of_this_machine_reads_nothing_and_changes_nothing(browser, root, place):
    with http.server.HTTPServer(("127.0.0.1", 0), _Elsewhere) as elsewhere:
        elsewhere.seen = []
        threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
        browser.go(f"http://127.0.0.1:{elsewhere.server_port}/")
        browser.evaluate(
            f"fetch({json.dumps(root)}, {{credentials: 'include', mode: 'no-cors'}})"
            ".then(x => {window.answer = x.status + x.type}, x => {window.answer = 'refused'});"
            f"fetch({json.dumps(root + 'stream')}, {{credentials: 'include'}})"
            ".then(x => x.text()).then(x => {window.read = x}, x => {window.read = 'refused'})"
        )
        browser.wait_until("window.answer && window.read")
        assert browser.evaluate("window.answer") in ("0opaque", "refused")
        assert browser.evaluate("window.read") == "refused"
        browser.evaluate(
            "const form = document.createElement('form'); form.method = 'post';"
            f"form.action = {json.dumps(root + 'run/flowers/cancel')};"
            "document.body.append(form); form.submit()"
        )
        browser.wait_until("location.pathname.endsWith('/cancel')")
        assert "expected" in browser.evaluate("document.body.textContent")
        elsewhere.shutdown()
        assert elsewhere.seen
        assert not any(elsewhere.seen)  # our cookie is not sent to other ports
    assert place.backend.status(place.handle).state is JobState.RUNNING


def test_by_another_name_of_this_machine_nothing_is_answered(browser, root, address):
    browser.go(address.replace("127.0.0.1", "127.0.0.2"))  # not listened on
    assert browser.evaluate("document.querySelector('table')") is None
    png = base64.b64decode(browser.ask("Page.captureScreenshot", format="png")["data"])
    assert png
