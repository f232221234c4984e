"""What the coscheduling plug-in says, in its own words of a real cluster, and what is made of it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from launcher.backends.kubernetes.gangs import is_about_gang, makes_gangs, read_gap, say_plainly, tells_little
from launcher.backends.kubernetes.pods import read_wait
from launcher.backends.kubernetes.status import read_job
from tests.launcher.why.made import GANG, unscheduled
from tests.launcher.why.situations import clock, job, pod

AMOUNTS = (
    "cpu:{{500 -3} {<nil>}  DecimalSI} memory:{{3221225472 0} {<nil>} 3Gi BinarySI} "
    "nvidia.com/gpu:{{4 0} {<nil>}  DecimalSI}"
)
GAP = GANG.format(f"resource gap: map[{AMOUNTS}]")
SIBLINGS = GANG.format(
    "pre-filter pod flowers-worker-0 cannot find enough sibling pods, current pods number: 1, "
    "minMember of group: 2"
)
REJECTED = "0/1 nodes are available: 1 optimistic rejection in PostFilter."
ORDINARY = "0/2 nodes are available: 2 Insufficient cpu. preemption: 0/2 nodes are available."
LABELS = {"training.kubeflow.org/job-name": "other"}
MEMBER = {**LABELS, "scheduling.x-k8s.io/pod-group": "other"}


def test_what_is_lacking_is_read_from_the_plug_in_s_own_data() -> None:
    assert read_gap(GAP) == {
        "cpu": Decimal("0.5"),
        "memory": Decimal(3 * 2**30),
        "nvidia.com/gpu": Decimal(4),
    }
    assert read_gap(SIBLINGS) == read_gap(ORDINARY) == {}
    assert read_gap("resource gap: map[]") == read_gap("resource gap: map[cpu:{{9 0} {0xc0001} x}") == {}


@pytest.mark.parametrize(("message", "about", "little"), [
    (GAP, True, False), (SIBLINGS, True, True), (REJECTED, True, True), (ORDINARY, False, False),
    (GANG.format("2 Insufficient cpu"), True, False), (say_plainly(SIBLINGS), True, True),
], ids=["gap", "siblings", "rejected", "ordinary", "ordinary in a gang", "plain siblings"])  # fmt: skip
def test_messages_about_gangs_are_known_and_those_that_tell_little(
    message: str, about: bool, little: bool
) -> None:
    assert (is_about_gang(message), tells_little(message)) == (about, little)


@pytest.mark.parametrize(("message", "plain"), [
    (GAP, "0/2 nodes are available: Insufficient cpu, memory, nvidia.com/gpu for all pods of its gang "
          "(short of 0.5 cpu and 3 GiB memory and 4 nvidia.com/gpu)"),
    (SIBLINGS, "0/2 nodes are available: 1 of the 2 pods of its gang was there"),
    (ORDINARY, "0/2 nodes are available: 2 Insufficient cpu"),
], ids=["gap", "siblings", "ordinary"])  # fmt: skip
def test_status_and_logs_say_it_in_plain_words_and_without_evictions(message: str, plain: str) -> None:
    (waiting,) = unscheduled(0, message=message)
    assert read_wait(waiting) == f"scheduling: {plain}"
    status = read_job(job("Created"), [waiting], restarts={}, progress=None)
    assert status.reason == f"Unschedulable: {plain}"


def test_a_job_s_reason_is_that_of_the_pod_that_says_most() -> None:
    pods = [*unscheduled(0, message=SIBLINGS), *unscheduled(1, message=GAP)]
    status = read_job(job("Created", replicas=2), pods, restarts={}, progress=None)
    assert status.reason.startswith("Unschedulable: 0/2 nodes are available: Insufficient cpu, memory")


def made(age_s: float, labels: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"labels": labels, "creationTimestamp": clock(age_s)}}


@pytest.mark.parametrize(("pods", "gangs"), [
    ([], None), ([made(9, MEMBER)], True), ([made(9, LABELS)], False),
    ([made(9, LABELS), made(5, MEMBER)], True), ([made(9, MEMBER), made(5, LABELS)], False),
    ([made(5, {"scheduling.x-k8s.io/pod-group": "of nobody's operator"})], None),
], ids=["nothing runs", "a gang", "no gang", "by now", "no longer", "somebody else's"])  # fmt: skip
def test_whether_the_operator_makes_gangs_is_seen_at_the_newest_of_its_pods(
    pods: list[dict[str, Any]], gangs: bool | None
) -> None:
    assert makes_gangs(pods) is gangs
    assert makes_gangs([*pods, pod(0)]) is gangs
