from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.objects import requests_of
from launcher.quantity import format_quantity, parse_quantity
from launcher.why.node_capacity import count_fit, is_selected, read_capacities, taint_against
from launcher.why.rules.capacity import check_capacity
from launcher.why.unschedulable import read_blockers
from launcher.why.verdict import Resolves
from tests.launcher.why.situations import node, placed, template

GPU = "nvidia.com/gpu"


@pytest.mark.parametrize(("text", "amount"), [
    ("2", "2"), (8, "8"), ("1500m", "1.5"), ("64Gi", str(64 * 2**30)), ("1.5G", "1500000000"),
    ("2e3", "2000"), ("100k", "100000"), ("", "0"), ("many", "0"), (None, "0"),
])  # fmt: skip
def test_amounts_are_read_as_kubernetes_writes_them(text: object, amount: str) -> None:
    assert parse_quantity(text) == Decimal(amount)


@pytest.mark.parametrize(("amount", "resource", "text"), [
    ("1.5", "cpu", "1.5"), ("8", GPU, "8"), (str(2**30), "memory", "1 GiB"),
    (str(900 * 2**20), "memory", "900 MiB"),
])  # fmt: skip
def test_amounts_are_written_for_people(amount: str, resource: str, text: str) -> None:
    assert format_quantity(Decimal(amount), resource) == text


def test_a_pod_asks_for_its_containers_or_its_largest_starter() -> None:
    spec = {
        "containers": [{"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2", GPU: "4"}}}] * 2,
        "initContainers": [
            {"resources": {"requests": {"cpu": "5"}}},
            {"resources": {"requests": {"memory": "1Gi"}}, "restartPolicy": "Always"},
        ],
        "overhead": {"cpu": "250m"},
    }  # fmt: skip
    asked = requests_of(spec)
    assert (asked["cpu"], asked[GPU], asked["memory"], asked["pods"]) == (Decimal("5.25"), 8, 2**30, 1)


@given(
    st.lists(st.tuples(st.integers(0, 16), st.integers(0, 16), st.booleans()), max_size=6),
    st.integers(1, 8), st.integers(1, 8),
)  # fmt: skip
def test_pods_fit_as_if_they_were_put_one_by_one(
    nodes: list[tuple[int, int, bool]], each: int, pods: int
) -> None:
    made = [node(f"g{index}", gpus=gpus, cordoned=shut) for index, (gpus, _, shut) in enumerate(nodes)]
    used = [placed(f"g{index}", gpus=min(gpus, taken)) for index, (gpus, taken, _) in enumerate(nodes)]
    spec = template(gpus=each, cpu="1", memory="1Gi")
    free = [gpus - min(gpus, taken) for gpus, taken, shut in nodes if not shut]
    count = 0
    while any(left >= each for left in free) and count < 200:
        free[next(index for index, left in enumerate(free) if left >= each)] -= each
        count += 1
    capacities = read_capacities(made, used)
    assert count_fit(requests_of(spec), capacities).now == count
    verdict = check_capacity(spec, pods=pods, more=pods, capacities=capacities)
    assert (verdict is None) is (count >= pods)
    ever = sum(gpus // each for gpus, _, _ in nodes)
    if verdict is not None:
        assert (verdict.resolves is Resolves.BY_CHANGE) is (ever < pods)


def test_who_is_not_allowed_to_see_pods_gets_no_count() -> None:
    capacities = read_capacities([node("g1")], None)
    assert count_fit(requests_of(template()), capacities).now is None
    assert check_capacity(template(), pods=1, more=1, capacities=capacities) is None
    seldom = check_capacity(template(), pods=2, more=2, capacities=capacities)
    assert seldom is not None
    assert "the largest node has 8 (node g1)" in seldom.sentence


def affinity(operator: str, *values: str, key: str = "zone") -> dict[str, Any]:
    term = {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    return {"affinity": {"nodeAffinity": required}}


@pytest.mark.parametrize(("spec", "takes"), [
    ({}, True), ({"nodeSelector": {"zone": "a"}}, True), ({"nodeSelector": {"zone": "b"}}, False),
    (affinity("In", "a", "b"), True), (affinity("NotIn", "a"), False), (affinity("Exists"), True),
    (affinity("DoesNotExist"), False), (affinity("Exists", key="rack"), False),
    (affinity("Gt", "3", key="size"), True), (affinity("Lt", "3", key="size"), False),
    (affinity("Gt", "3"), False),
])  # fmt: skip
def test_selectors_and_required_affinity_choose_nodes(spec: dict[str, Any], takes: bool) -> None:
    (capacity,) = read_capacities([node("g1", labels={"zone": "a", "size": "4"})], [])
    assert is_selected(spec, capacity) is takes


@pytest.mark.parametrize(("tolerations", "keeps_away"), [
    ([], True), ([{"key": "gpu", "value": "yes"}], False), ([{"key": "gpu", "value": "no"}], True),
    ([{"key": "gpu", "operator": "Exists"}], False), ([{"operator": "Exists"}], False),
    ([{"key": "gpu", "operator": "Exists", "effect": "NoExecute"}], True),
])  # fmt: skip
def test_a_taint_keeps_away_who_does_not_tolerate_it(
    tolerations: list[dict[str, str]], keeps_away: bool
) -> None:
    taint = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
    passing = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    (capacity,) = read_capacities([node("g1", taints=(passing, taint))], [])
    assert (taint_against({"tolerations": tolerations}, capacity) is not None) is keeps_away


def test_of_what_a_scheduler_says_that_of_the_node_that_came_furthest_is_first() -> None:
    said = (
        "0/7 nodes are available: 1 Insufficient cpu, 1 Insufficient nvidia.com/gpu, "
        "1 node(s) were unschedulable, 2 node(s) had untolerated taint {team: b}, "
        "3 node(s) didn't match Pod's node affinity/selector. "
        "no new claims to deallocate, preemption: 0/7 nodes are available: 7 No preemption victims found."
    )
    blockers = read_blockers(said)
    assert [(blocker.code, blocker.nodes) for blocker in blockers] == [
        ("insufficient", 1), ("insufficient", 1), ("node-selector", 3), ("untolerated-taint", 2),
        ("nodes-cordoned", 1),
    ]  # fmt: skip
    assert {blocker.resource for blocker in blockers} == {"cpu", GPU, ""}
    assert read_blockers("no nodes available to schedule pods") == ()
