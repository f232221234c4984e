from __future__ import annotations

from launcher.backends.kubernetes.status import read_job
from launcher.backends.states import JobState
from tests.launcher.kube.test_phases import CREATED, job, pod
from trainer.protocol.termination import Termination, format_termination

FAILED = {"type": "Failed", "status": "True", "message": "because Worker replica(s) failed."}


def ended(index: int, code: int, said: str, *, reason: str = "Error"):
    there = pod(index, {"terminated": {"exitCode": code, "reason": reason, "message": said}})
    there["status"]["phase"] = "Failed" if code else "Succeeded"
    return there


def words(reason: str) -> str:
    return format_termination(Termination(exit=20, attempt=2, reason=reason)).decode()


def test_a_failed_job_says_what_its_pod_said() -> None:
    pods = [ended(0, 0, ""), ended(1, 20, words("killed by signal 9"), reason="OOMKilled")]
    status = read_job(job(CREATED, FAILED), pods, restarts={}, progress=None)
    assert status.state is JobState.FAILED
    assert status.reason == "job-worker-1: OOMKilled: killed by signal 9"


def test_a_failed_job_without_last_words_says_what_the_operator_said() -> None:
    status = read_job(job(CREATED, FAILED), [ended(0, 1, "")], restarts={}, progress=None)
    assert status.reason == "because Worker replica(s) failed."
