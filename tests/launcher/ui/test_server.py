"""The command `ftlaunch ui`: where it listens, what it prints, and how it ends."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from launcher.cli.main import run


@pytest.fixture
def start(tmp_path):
    started = []

    def begin(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "launcher", "ui", "--no-open", *arguments], text=True,
            env={**os.environ, "FTLAUNCH_STATE": str(tmp_path / "state")},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def test_it_prints_its_address_serves_this_machine_alone_and_ends_with_ctrl_c(start):
    process = start()
    address = urlsplit(process.stdout.readline().strip())
    assert re.fullmatch(r"127\.0\.0\.1:\d+", address.netloc)
    connection = http.client.HTTPConnection("127.0.0.1", address.port, timeout=20)
    connection.request("GET", f"/?{address.query}")
    answer = connection.getresponse()
    assert (answer.status, answer.headers["server"]) == (200, None)
    answer.read()
    connection.close()
    with socket.socket() as other:  # not all addresses of this machine
        assert other.connect_ex(("127.0.0.2", address.port)) != 0
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "")
    assert "Traceback" not in err


def test_a_port_that_is_taken_is_said(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(["ui", "--no-open", "--port", str(port)]) == 2
    said = capsys.readouterr().err
    assert said == (
        f"--port {port}: expected a free port of this machine, got one that is in use; "
        "leave it out to have one chosen\n"
    )


def test_without_its_packages_it_says_what_installs_them_here(monkeypatch, capsys):
    for name in [name for name in sys.modules if name.startswith(("launcher.ui", "uvicorn"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert run(["ui"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("ui: expected the packages starlette and uvicorn, got no uvicorn; ")
    assert "install" in said
