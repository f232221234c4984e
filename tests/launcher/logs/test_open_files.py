from __future__ import annotations

import resource
import subprocess
import sys

import pytest

ASK = """
import resource
from launcher.logs.follow import make_room
resource.setrlimit(resource.RLIMIT_NOFILE, (100, {hard}))
print(make_room({pods}))
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def make_room(*, pods: int, hard: int) -> list[str]:
    """In a process of its own, because a hard limit does not come back."""
    command = [sys.executable, "-c", ASK.format(pods=pods, hard=hard)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_the_soft_limit_is_raised_to_what_the_pods_need_and_no_further():
    assert make_room(pods=10, hard=200) == ["", "100 200"]
    assert make_room(pods=50, hard=200) == ["", "164 200"]


def test_a_hard_limit_that_is_too_low_is_used_up_and_told():
    told, limits = make_room(pods=512, hard=200)
    assert limits == "200 200"
    assert "expected room for 1088" in told
    assert "hard limit of 200" in told
    assert "ulimit -Hn 1088" in told
    assert "68 pods are read at once" in told


def test_as_many_pods_are_read_at_once_as_there_can_be_files():
    code = ASK.replace("import make_room", "import make_room, most_at_once") + "print(most_at_once())"
    for hard, seats in ((200, "68"), (65, "1"), (60, "1")):
        command = [sys.executable, "-c", code.replace("(100,", "(60,").format(pods=1, hard=hard)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == seats


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 1088, reason="the hard limit is too low")
def test_512_pods_fit_where_the_hard_limit_allows_them():
    assert make_room(pods=512, hard=1088) == ["", "1088 1088"]
