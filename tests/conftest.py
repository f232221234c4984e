"""Options of the whole suite."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Tests hold no times: on a busy machine an example takes as long as it takes.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

GOLDENS = Path(__file__).parent / "goldens"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-goldens", action="store_true", help="write tests/goldens anew")


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder whose name says nothing.

    pytest names it after the test, and messages name files in it: `assert "docker" in err` then holds of
    whatever is said about a file, where the test is called so.
    """
    return tmp_path_factory.mktemp("t")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the caller's FTLAUNCH_ variables from a test; the commands would obey them, or warn of them."""
    for name in [name for name in os.environ if name.startswith("FTLAUNCH_")]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_cache_of_the_user(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Keep what commands remember of images from the user's cache and from other tests.

    End-to-end tests give the commands a home of their own; what builds clusters and images for them keeps
    its builds in the user's cache, for the next time.
    """
    if request.node.get_closest_marker("e2e") is None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def check_golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with a file of tests/goldens, or write that file under --update-goldens."""

    def check(name: str, text: str) -> None:
        path = GOLDENS / name
        if request.config.getoption("--update-goldens"):
            path.write_bytes(text.encode())
        assert text == path.read_bytes().decode(), f"{name}: see the change with pytest --update-goldens"

    return check
