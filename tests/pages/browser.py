"""A headless Chromium, spoken to by its DevTools protocol."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import websocket

_START_S = 60.0
_LEFT = "Inspected target navigated or closed"


class PageLeftError(Exception):
    """The browser went to another page while it was asked about this one."""


def find_program() -> str:
    found = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))),
        None,
    )
    assert found, "expected Chromium (apt-get install chromium), found none: nothing was checked"
    return found


class Browser:
    """One page of it."""

    def __init__(self, channel: websocket.WebSocket) -> None:
        self._channel, self._number = channel, 0
        self.events: list[dict[str, Any]] = []
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        self._channel.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            message = json.loads(self._channel.recv())
            if message.get("id") == self._number:
                if message.get("error", {}).get("message") == _LEFT:
                    raise PageLeftError
                assert "error" not in message, message
                return message["result"]
            self.events.append(message)

    def open(
        self,
        page: Path | str,
        *,
        width: int = 1280,
        scheme: str = "light",
        media: str = "screen",
        scripts: bool = True,
    ) -> None:
        self.events.clear()
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )
        self.ask(
            "Emulation.setEmulatedMedia",
            media=media,
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )
        self.ask("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.go(page if isinstance(page, str) else page.as_uri())

    def go(self, url: str) -> None:
        self.events.clear()
        self.ask("Page.navigate", url=url)
        self.wait_for_load()

    def wait_for_load(self) -> None:
        until_s = time.monotonic() + _START_S
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            assert time.monotonic() < until_s, "the page was not loaded"
            self.events.append(json.loads(self._channel.recv()))

    def wait_until(self, expression: str) -> None:
        until_s = time.monotonic() + _START_S
        while not self._holds(expression):
            assert time.monotonic() < until_s, f"never so: {expression}"
            time.sleep(0.05)

    def _holds(self, expression: str) -> bool:
        try:
            return bool(self.evaluate(expression))
        except PageLeftError:  # for the one that is waited for, perhaps
            return False

    def press(self, key: str, *, text: str = "") -> None:
        codes = {"Tab": 9, "Enter": 13, " ": 32, "ArrowDown": 40}
        given = {"key": key, "windowsVirtualKeyCode": codes.get(key, 0)}
        text = {"Enter": "\r", " ": " "}.get(key, text)
        self.ask("Input.dispatchKeyEvent", type="keyDown", text=text, **given)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **given)

    def evaluate(self, expression: str) -> Any:
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def size(self) -> tuple[int, int]:
        found = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        return found["width"], found["height"]

    def screenshot(self) -> bytes:
        return base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"])

    def requests(self) -> list[str]:
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event["method"] == "Network.requestWillBeSent"
        ]


@contextmanager
def open_browser(folder: Path) -> Iterator[Browser]:
    """Start a browser with a profile in `folder`."""
    command = [
        find_program(), "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
        "--remote-allow-origins=*", f"--user-data-dir={folder}", "about:blank",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port_file, until_s = folder / "DevToolsActivePort", time.monotonic() + _START_S
        while not port_file.is_file() or "\n" not in port_file.read_text():
            assert time.monotonic() < until_s, "the browser has not started"
            assert process.poll() is None, "the browser has ended"
            time.sleep(0.1)
        port, path = port_file.read_text().split("\n")[:2]
        browser = websocket.create_connection(f"ws://127.0.0.1:{port}{path}", timeout=_START_S)
        browser.send(json.dumps({"id": 1, "method": "Target.createTarget", "params": {"url": "about:blank"}}))
        while "id" not in (answer := json.loads(browser.recv())):
            pass
        target = answer["result"]["targetId"]
        channel = websocket.create_connection(
            f"ws://127.0.0.1:{port}/devtools/page/{target}", timeout=_START_S
        )
        try:
            yield Browser(channel)
        finally:
            channel.close()
            browser.close()
    finally:
        process.terminate()
        process.wait(20)
