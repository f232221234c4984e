from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launcher.cli.main import run
from tests.contract.local_harness import LocalUnderTest

Ftlaunch = Callable[..., tuple[int, str, str]]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalUnderTest]:
    monkeypatch.setenv("FTLAUNCH_STATE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    made = LocalUnderTest(tmp_path)
    yield made
    made.close()


@pytest.fixture
def ftlaunch(capfd: pytest.CaptureFixture[str]) -> Ftlaunch:
    def call(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run(arguments)
        out, err = capfd.readouterr()
        return code, out, err

    return call
