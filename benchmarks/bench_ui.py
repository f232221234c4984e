"""`ftlaunch ui` over 10,000 runs, in Chromium: first paint, filters, how late a point is, and memory.

    python -m benchmarks.bench_ui [--runs 10000]

Run folders are made as `submit` leaves them; of all but the newest the outcome is noted. A point is a row
that is written into the `metrics.jsonl` of a run that goes on; it is there when the browser has put it on the
page.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from launcher.backends.states import JobState
from launcher.jobs.metrics import Score
from launcher.jobs.outcome import OUTCOME, SCHEMA, Outcome
from launcher.names import new_run_id
from launcher.plan.handle import Handle
from launcher.runs.record import RunRecord, Stage
from launcher.runs.store import RECORD, RunStore
from tests.contract.harness import RUN_ID
from tests.contract.local_harness import LocalUnderTest
from tests.pages.browser import Browser, open_browser
from trainer.protocol.codec import encode
from trainer.protocol.jobfile import JobFile
from trainer.protocol.runfile import claim_output

CONFIG = "Global: {{epochs: {epochs}}}\nOptimizer: {{lr: {{learning_rate: {rate}}}}}\n"


def make_runs(store: RunStore, count: int) -> None:
    now_s = time.time()
    for number in range(count):
        created_s = now_s - 600.0 * (count - number)
        record = RunRecord(
            handle=Handle(backend="local", job=f"flowers-{number:05}"), run_id=new_run_id(),
            stage=Stage.SUBMITTED, project="/home/me/flowers", config=f"/home/me/flowers/{number % 40}.yaml",
            command=("submit", "cfg.yaml"), created_s=created_s,
        )  # fmt: skip
        config = CONFIG.format(epochs=number % 7 + 1, rate=0.1 / (number % 5 + 1))
        folder = store.begin(record, config=config.encode(), manifest="", git=None)
        state = JobState.FAILED if number % 10 == 0 else JobState.SUCCEEDED
        outcome = Outcome(
            state=state.value, step=900, total_steps=900, began_s=created_s, ended_s=created_s + 500,
            score=Score(metric="top1", value=0.5 + number % 100 / 250, epoch=3, largest_class=0.1),
        )  # fmt: skip
        (folder / OUTCOME).write_text(json.dumps(encode(outcome, schema=SCHEMA)))
        os.utime(folder / RECORD, (created_s, created_s))


def start_job(folder: Path) -> tuple[LocalUnderTest, Path]:
    place, output = LocalUnderTest(folder), folder / "output"
    store, handle = RunStore(place.runs_dir), Handle(backend="local", job="flowers")
    record = RunRecord(
        handle=handle, run_id=RUN_ID, stage=Stage.SUBMITTED, project="p", config="cfg.yaml",
        command=("submit",), created_s=time.time(),
    )  # fmt: skip
    job_file = JobFile(
        job="flowers", backend="local", run_id=RUN_ID, workdir=str(folder), overrides=(), extra_modules=(),
        folders={"/output": str(output)}, output_dir="/output",
    )  # fmt: skip
    store.begin(record, config=b"Global: {}\n", manifest="", git=None, job_file=job_file)
    place.submit(name="flowers", nodes=1)
    place.reaches(handle, lambda status: status.state is JobState.RUNNING, what="the job to run")
    output.mkdir()
    claim_output(output, run_id=RUN_ID, now_s=time.time())
    return place, output / "metrics.jsonl"


def paint_ms(browser: Browser, url: str) -> tuple[float, float]:
    """Return when something, and when the rows were on the screen, in ms from the request."""
    browser.go(url)
    browser.wait_until("performance.getEntriesByName('first-contentful-paint').length > 0")
    paint = browser.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    ready = browser.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
    return paint, ready


def point_ms(browser: Browser, rows: Path, first: int, count: int) -> list[float]:
    browser.wait_until("document.querySelectorAll('polyline').length > 0")
    found = []
    for step in range(first, first + count):
        browser.evaluate(
            f"window.seen = 0; window.watcher?.disconnect(); window.watcher = new MutationObserver(() => {{"
            f"  if (document.querySelector('polyline').points.length >= {step}) window.seen ||= Date.now()"
            "}); window.watcher.observe(document.body, {childList: true, subtree: true})"
        )
        add_row(rows, step)
        written_ms = time.time() * 1000
        browser.wait_until("window.seen > 0")
        found.append(browser.evaluate("window.seen") - written_ms)
        time.sleep(0.37)  # at other moments of the page's own rhythm
    return found


def add_row(rows: Path, step: int) -> None:
    row = {"event": "step", "attempt": 1, "time_s": time.time(), "epoch": 1, "step": step, "loss": 3 / step}
    with rows.open("a") as file:
        file.write(json.dumps(row) + "\n")


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=10_000)
    count = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        place, rows = start_job(folder)
        make_runs(RunStore(folder / "runs"), count)
        for step in range(1, 11):
            add_row(rows, step)
        environment = {**os.environ, "FTLAUNCH_STATE": name}
        command = [sys.executable, "-m", "launcher", "ui", "--no-open"]
        profile = folder / "profile"
        with (
            open_browser(profile) as browser,
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as served,
        ):
            browser.open("about:blank")
            assert served.stdout is not None
            address = served.stdout.readline().strip()
            try:
                measure(browser, address, served.pid, rows)
            finally:
                served.terminate()
                place.close()


def measure(browser: Browser, address: str, pid: int, rows: Path) -> None:
    began_s = time.monotonic()
    browser.go(address)
    browser.wait_until("document.querySelectorAll('tbody tr').length >= 50")
    print(f"address opened to 50 rows, just started: {1000 * (time.monotonic() - began_s):.0f} ms")
    root = browser.evaluate("location.href")
    for what, path in (
        ("first page", ""), ("page 200", "?page=200"), ("name 'flowers-001'", "?q=flowers-001"),
        ("a run", "run/flowers-00007/"),
    ):  # fmt: skip
        browser.go("about:blank")
        before_s = cpu_s(pid)
        times = [paint_ms(browser, root + path) for _ in range(5)]
        each_ms = (cpu_s(pid) - before_s) * 200
        paint, ready = (statistics.median(column) for column in zip(*times, strict=True))
        print(
            f"{what}: first paint {paint:.0f} ms, whole {ready:.0f} ms (medians of 5), "
            f"{each_ms:.0f} ms of the server's processor time"
        )
    began_s = time.monotonic()
    browser.go(f"{root}?state=Failed")
    browser.wait_until("document.querySelectorAll('tbody .state.bad').length >= 50")
    print(f"state Failed to 50 rows: {1000 * (time.monotonic() - began_s):.0f} ms")
    browser.go(f"{root}run/flowers/")
    late = sorted(point_ms(browser, rows, 11, 20))
    print(f"a point: {statistics.median(late):.0f} ms late (median of 20), {late[-1]:.0f} ms at most")
    print(f"memory of the server: {rss_mib(pid):.0f} MiB")
    for step in range(31, 300_000):
        if step % 50_000 == 0:
            time.sleep(2)
        if step % 1000 == 31:
            file = rows.open("a")
        row = {
            "event": "step",
            "attempt": 1,
            "time_s": 1.0,
            "epoch": 1,
            "step": step,
            "loss": 3 / step,
            "lr": 0.1,
        }
        file.write(json.dumps(row) + "\n")
        if step % 1000 == 30:
            file.close()
    time.sleep(10)
    print(f"after 300,000 rows: {rss_mib(pid):.0f} MiB")


if __name__ == "__main__":
    main()
