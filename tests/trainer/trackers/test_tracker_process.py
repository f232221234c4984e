"""The process that sends: what it is told, what it says, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.trackers.conftest import Output
from trainer.protocol.codec import encode
from trainer.protocol.installation import packages_command
from trainer.protocol.tracking import Ending, Request, Target
from trainer.trackers import TrackerError
from trainer.trackers.__main__ import read_credentials
from trainer.trackers.registry import find_tracker

REPOSITORY = Path(__file__).resolve().parents[3]
SLOW = """
import sys, time
from trainer.trackers import Tracker
class Hangs(Tracker):
    def start(self, run):
        print("noise of a library")
        while True: time.sleep(1)
    def log(self, rows): ...
class Quick(Hangs):
    def start(self, run): return "1"
"""


def start(request: Request, folder: Path, **env: str) -> subprocess.Popen[bytes]:
    (folder / "slow.py").write_text(SLOW)
    process = subprocess.Popen(
        [sys.executable, "-m", "trainer.trackers"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        cwd=REPOSITORY, env={**os.environ, "FTL_CODE": str(folder), **env},
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(json.dumps(encode(request)).encode() + b"\n")
    process.stdin.flush()
    return process


def answers(process: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
    assert process.stdout is not None
    found = [json.loads(line) for line in process.stdout]
    assert process.stdin is not None
    process.stdin.close()
    process.wait()
    process.stdout.close()
    return found


def test_what_hangs_is_ended_by_the_kernel(output: Output, tmp_path: Path) -> None:
    output.steps(1)
    process = start(output.request("slow:Hangs"), tmp_path, FTL_TRACK_CALL_S="1")
    assert answers(process) == []
    assert process.returncode == -signal.SIGALRM


def test_what_hangs_at_the_end_gets_a_bounded_time_and_tells_what_is_left(
    output: Output, tmp_path: Path
) -> None:
    output.steps(1, 2)
    ending = Ending(state="finished", within_s=0.1)
    last = answers(start(output.request("slow:Hangs", ending=ending), tmp_path))[-1]
    assert (last["event"], last["left"]) == ("ended", 2)


def test_it_ends_with_whoever_asked(output: Output, tmp_path: Path) -> None:
    process = start(output.request("slow:Quick"), tmp_path)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(60) == 0
    assert process.stdout is not None
    process.stdout.close()


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (Target(tracker="sacred"), "sacred: expected one of tensorboard, mlflow, wandb, "),
        (Target(tracker="tensorboard", settings={"url": "x"}), "expected settings of uri, got 'url'"),
        (Target(tracker="no_such:Thing"), "no_such:Thing cannot be imported: ModuleNotFoundError"),
        (Target(tracker="pathlib:Path"), "expected a subclass of trainer.trackers.Tracker"),
        (Target(tracker="swanlab"), packages_command(["swanlab"])),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_to_is_refused_by_name(target: Target, said: str) -> None:
    with pytest.raises(TrackerError) as refused:
        find_tracker(target)
    assert said in str(refused.value)


def test_credentials_go_into_the_environment_of_the_process_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")
    file = tmp_path / "secret"
    file.write_text("s3cret=\n")
    read_credentials("mlflow", {"credentials": str(file)})
    assert os.environ["MLFLOW_TRACKING_TOKEN"] == "s3cret="
    file.write_text("# who\nMLFLOW_TRACKING_USERNAME=ann\nMLFLOW_TRACKING_PASSWORD = a=b\n")
    read_credentials("mlflow", {"credentials": str(file)})
    assert os.environ["MLFLOW_TRACKING_USERNAME"] == "ann"
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "a=b"
    file.write_text("A=1\nhunter2\n")
    with pytest.raises(TrackerError, match="expected NAME=value in line 2") as refused:
        read_credentials("mlflow", {"credentials": str(file)})
    assert "hunter2" not in str(refused.value)
    with pytest.raises(TrackerError, match="no such file"):
        read_credentials("mlflow", {"credentials": str(tmp_path / "none")})


def test_a_target_is_known_by_its_place_and_not_by_its_credentials() -> None:
    one = Target(tracker="mlflow", settings={"uri": "http://u:p@tracking:5000/x", "credentials": "/a"})
    other = Target(tracker="mlflow", settings={"uri": "http://u:p@tracking:5000/x"})
    assert one.key == other.key
    assert one.key != Target(tracker="mlflow").key
    assert one.title == "mlflow (http://tracking:5000/x)"
    assert "/" not in Target(tracker="../../x:Y").key


def test_what_comes_along_is_checked_without_its_library() -> None:
    code = (
        "import sys\nfrom trainer.trackers.registry import check_target\n"
        "from trainer.protocol.tracking import Target\n"
        "check_target(Target(tracker='mlflow'))\nprint('mlflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stdout == "False\n"
