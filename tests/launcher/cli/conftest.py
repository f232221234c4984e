from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from launcher.cli.main import run


@dataclass(frozen=True)
class Ran:
    """What a command printed and how it exited."""

    code: int
    out: str
    err: str


@pytest.fixture
def ftlaunch(capsysbinary: pytest.CaptureFixture[bytes]) -> Callable[..., Ran]:
    """Run a command in this process, as the entry point does."""

    def call(*arguments: object) -> Ran:
        capsysbinary.readouterr()
        code = run([str(argument) for argument in arguments])
        out, err = capsysbinary.readouterr()
        return Ran(code=int(code), out=out.decode(), err=err.decode())

    return call
