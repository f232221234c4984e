"""Makes the pictures of the live view (watch-80.svg, watch-200.svg) and of `ftlaunch ui` (../ui-*.png).

    .venv/bin/python -m docs.recording.draw_views

Of real jobs on this machine: the terminal is tmux, whose screen is drawn as it is, and the browser is
Chromium. Needs both; `make views` runs it.
"""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

from docs.recording.record_logs import prepare
from tests.pages.browser import open_browser

HERE = Path(__file__).resolve().parent
SIZES = ((80, 24), (200, 50))
WIDTH, HEIGHT = 1200, 900
"""Of the browser's window, in CSS pixels."""
_CELL, _LINE, _SIZE, _EDGE = 8.4, 18, 14, 10
_SGR = re.compile(r"\x1b\[([0-9;]*)m")
_PLAIN, _BACK = "#d4d4d4", "#1e1e1e"
_COLOURS = (
    "#666666", "#f14c4c", "#23d18b", "#e5c07b", "#5ea1ff", "#d670d6", "#29b8db", "#e5e5e5",
)  # fmt: skip
RATES = (0.1, 0.02)


def main() -> None:
    """Train two jobs one after the other, and draw the second while it runs."""
    with tempfile.TemporaryDirectory(prefix="views-") as name:
        folder = Path(name)
        prepare(folder)
        env = {
            **os.environ, "FTLAUNCH_STATE": str(folder / "state"), "TERM": "tmux-256color",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }  # fmt: skip
        env.pop("NO_COLOR", None)
        first, second = "digits-fast", "digits-slow"
        for number, (job, rate) in enumerate(zip((first, second), RATES, strict=True)):
            write_config(folder, number, rate)
            call(folder, env, "submit", "digits.yaml", "--on", "local", "--name", job)
            if job == first:
                call(folder, env, "wait", job)
        rows = folder / ".quickstart/output/1/metrics.jsonl"
        while not rows.exists() or rows.read_text().count('"event": "eval"') < 8:
            time.sleep(0.2)
        for columns, lines in SIZES:
            screen = capture(folder, env, f"ftlaunch status --watch {second}", columns, lines)
            (HERE / f"watch-{columns}.svg").write_text(draw(screen, columns, lines), encoding="utf-8")
        photograph(folder, env, first, second)
        call(folder, env, "delete", first, second, "--force")


def write_config(folder: Path, number: int, rate: float) -> None:
    """Write the config anew, with an output folder and a rate of its own."""
    document = yaml.safe_load((folder / "digits.yaml").read_text())
    document["Global"] |= {"epochs": 2 if number == 0 else 30, "output_dir": f"/output/{number}"}
    document["Optimizer"]["lr"]["learning_rate"] = rate
    document["Launch"] |= {"nodes": 1, "procs_per_node": 2}
    document["Launch"].pop("name", None)
    (folder / "digits.yaml").write_text(yaml.safe_dump(document, sort_keys=False))


def call(folder: Path, env: dict[str, str], *arguments: str) -> None:
    """Run a command of ftlaunch."""
    subprocess.run(["ftlaunch", *arguments], cwd=folder, env=env, check=True, stdout=-3)


def capture(folder: Path, env: dict[str, str], command: str, columns: int, lines: int) -> list[str]:
    """Run a command in a terminal of that size for a few seconds, and return its screen with its colours."""
    tmux = ["tmux", "-L", f"views-{columns}", "-f", "/dev/null"]
    size = ["-x", str(columns), "-y", str(lines)]
    subprocess.run([*tmux, "new-session", "-d", *size, command], cwd=folder, env=env, check=True)
    try:
        deadline_s, screen = time.monotonic() + 60, ""
        while "EPOCH" not in screen and time.monotonic() < deadline_s:
            time.sleep(1)
            asked = [*tmux, "capture-pane", "-e", "-p"]
            screen = subprocess.run(asked, env=env, check=True, capture_output=True, text=True).stdout
    finally:
        subprocess.run([*tmux, "kill-server"], env=env, check=False)
    return screen.split("\n")[:lines]


def carry_over(screen: list[str]) -> Iterator[str]:
    """Yield lines that each begin with what was set at the end of the one before, as tmux means them."""
    before = ""
    for line in screen:
        yield before + line
        found = _SGR.findall(line)
        for codes in found:
            before = "" if codes in ("", "0") else f"{before}\x1b[{codes}m"


def runs_of(line: str) -> Iterator[tuple[str, str, bool, bool]]:
    """Yield pieces of a line: text, colour, whether it is bold, whether it is faint."""
    colour, bold, faint, at = _PLAIN, False, False, 0
    for match in (*_SGR.finditer(line), None):
        text = line[at : match.start() if match else len(line)]
        if text:
            yield text, colour, bold, faint
        if match is None:
            return
        at = match.end()
        for part in match[1].split(";"):
            code = int(part or 0)
            if code == 0:
                colour, bold, faint = _PLAIN, False, False
            elif code in (1, 2, 22):
                bold, faint = code == 1, code == 2
            elif code == 39:
                colour = _PLAIN
            elif 30 <= code <= 37 or 90 <= code <= 97:
                colour = _COLOURS[code % 10]


def draw(screen: list[str], columns: int, lines: int) -> str:
    """Draw a screen as SVG, each piece as wide as its cells whatever font there is."""
    width, height = round(columns * _CELL) + 2 * _EDGE, lines * _LINE + 2 * _EDGE
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="{_SIZE}">',
        f'<rect width="{width}" height="{height}" rx="6" fill="{_BACK}"/>',
    ]
    for number, line in enumerate(carry_over(screen)):
        at = 0
        for text, colour, bold, faint in runs_of(line):
            inner = text.strip(" ")
            if inner:
                x = _EDGE + (at + len(text) - len(text.lstrip(" "))) * _CELL
                style = ' font-weight="bold"' * bold + ' fill-opacity="0.6"' * faint
                out.append(
                    f'<text x="{x:.1f}" y="{_EDGE + number * _LINE + _SIZE}" fill="{colour}"{style} '
                    f'textLength="{len(inner) * _CELL:.1f}" lengthAdjust="spacingAndGlyphs" '
                    f'xml:space="preserve">{html.escape(inner)}</text>'
                )
            at += len(text)
    return "\n".join([*out, "</svg>", ""])


def photograph(folder: Path, env: dict[str, str], other: str, job: str) -> None:
    """Take pictures of the list, of a run's page, and of both runs compared."""
    command = ["ftlaunch", "ui", "--no-open"]
    with subprocess.Popen(
        command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=-3, text=True
    ) as serving:
        try:
            assert serving.stdout is not None
            address = serving.stdout.readline().strip()
            with open_browser(folder / "browser") as browser:
                browser.ask(
                    "Emulation.setDeviceMetricsOverride", width=WIDTH, height=HEIGHT, deviceScaleFactor=1,
                    mobile=False,
                )  # fmt: skip
                browser.go(address)
                browser.wait_until("location.pathname != '/'")  # a page that leads on
                pages = (("", "list"), (f"run/{job}/", "run"), (f"compare?job={other}&job={job}", "compare"))
                for page, name in pages:
                    root = browser.evaluate("location.pathname.split('/').slice(0, 2).join('/') + '/'")
                    browser.go(f"{address.partition('/?')[0]}{root}{page}")
                    browser.wait_until("document.body.innerText.includes('Running')")
                    time.sleep(5)  # for what its stream brings
                    (HERE.parent / f"ui-{name}.png").write_bytes(browser.screenshot())
        finally:
            serving.terminate()


if __name__ == "__main__":
    main()
