"""What Kueue's words are read as."""

from __future__ import annotations

from typing import Any

import pytest

from launcher.backends.kubernetes import workloads

_POD_SET = "couldn't assign flavors to pod set worker: "
_LACK = "insufficient unused quota for {} in flavor {}, 2 more needed"
_LARGE = (
    "insufficient quota for {} in flavor {}, previously considered podsets requests (0) + current podset"
    " request (8) > maximum capacity (4)"
)
_TAINT = "untolerated taint {{spot true NoSchedule <nil>}} in flavor {}"


def lack(flavor: str, what: str = "cpu") -> str:
    return _LACK.format(what, flavor)


def large(flavor: str, what: str = "cpu") -> str:
    return _LARGE.format(what, flavor)


def workload(name: str, *, queue: str = "a", priority: int = 0, minute: int = 0, **conditions: str) -> Any:
    return {
        "metadata": {"name": name, "creationTimestamp": f"2026-01-01T00:{minute:02}:00Z"},
        "spec": {"queueName": queue, "priority": priority},
        "status": {"conditions": [{"type": key, "status": value} for key, value in conditions.items()]},
    }


@pytest.mark.parametrize(("refusal", "never"), [
    (large("spot"), True), (lack("spot"), False), (f"{large('spot')}, {lack('fixed')}", False),
    (f"{large('spot', 'memory')}, {lack('spot')}", True), (_TAINT.format("spot"), True),
    (f"{_TAINT.format('spot')}, {lack('fixed')}", False), ("flavor spot doesn't match node affinity", True),
    ("resource nvidia.com/gpu unavailable in ClusterQueue", True), ("ClusterQueue a is inactive", False),
    ("insufficient quota for cpu in flavor spot, request > maximum capacity (8 > 4)", True),
    ('Flavor "spot" does not support TopologyAwareScheduling', True),
    (f'Flavor "spot" does not contain the requested level, {lack("fixed")}', False),
    ('topology "racks" doesn\'t allow to fit any of 2 pod(s)', False),
], ids=["too large", "in use", "another flavour", "another resource", "tainted", "another is not tainted",
        "elsewhere", "not offered", "closed", "too large, as older ones say it", "no topology",
        "without the level, and another in use", "scattered"])  # fmt: skip
def test_a_job_fits_never_where_each_flavour_lacks_what_time_does_not_bring(refusal, never):
    assert workloads.fits_never(_POD_SET + refusal) is never


@pytest.mark.parametrize(("refusal", "short"), [
    (lack("spot"), "2 more cpu needed in flavour spot"),
    (f"{lack('spot')}, {lack('fixed', 'memory')}",
     "2 more cpu needed in flavour spot; 2 more memory needed in flavour fixed"),
    (large("spot"), "8 cpu wanted in flavour spot, which has 4"),
    ("flavor spot doesn't match node affinity", "flavor spot doesn't match node affinity"),
    ('Flavor "spot" does not support TopologyAwareScheduling', "flavour spot has no topology"),
    ('Flavor "spot" does not contain the requested level',
     "flavour spot has a topology without the level asked for"),
    ('topology "racks" doesn\'t allow to fit any of 4 pod(s). Total nodes: 3; excluded: resource "cpu": 2, '
     'taint "a": 1',
     'topology "racks" has no place for 4 pods together; of its 3 nodes are out: resource "cpu": 2, '
     'taint "a": 1'),
    ('topology "racks" allows to fit only 1 out of 4 pod(s)',
     'topology "racks" has no place for 4 pods together, at most for 1'),
    ('topology "racks" doesn\'t allow to fit; 1/2 slice(s) fit on level rack',
     'topology "racks" has no place for its pods together'),
])  # fmt: skip
def test_what_a_quota_lacks_is_said_in_few_words(refusal, short):
    assert workloads.shorten_refusal(_POD_SET + refusal) == short


def test_the_place_counts_those_of_the_queue_that_wait_by_priority_and_age():
    own = workload("own", minute=5)
    held = workload("held", minute=1)
    held["spec"]["active"] = False
    others = [
        workload("older", minute=1), workload("younger", minute=9), workload("urgent", minute=9, priority=5),
        workload("elsewhere", queue="b"), workload("runs", QuotaReserved="True"), held,
        workload("done", Finished="True"),
    ]  # fmt: skip
    assert workloads.find_place(own, [*others, own]) == "place 3 of 4"
    assert workloads.find_place(held, [*others, own]) == ""


def test_a_deactivation_that_was_taken_back_is_no_eviction():
    own = workload("own", Evicted="True")
    own["status"]["conditions"][0]["reason"] = workloads.DEACTIVATED
    assert workloads.eviction_of(own) is None
    own["spec"]["active"] = False
    assert workloads.eviction_of(own) is not None
