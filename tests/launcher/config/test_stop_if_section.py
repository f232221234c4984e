"""`Launch.stop_if` and `Launch.avoid_nodes`: from the config to node.json and the pods."""

from __future__ import annotations

import dataclasses

import pytest

from launcher.plan.parent_run import ParentRun
from launcher.render.render import render
from trainer.config.problems import ConfigError
from trainer.protocol.nodefile import StopIf


@pytest.mark.parametrize(
    ("launch", "expected"),
    [
        ({"gpus": 2, "stop_if": {"gpu_below": "10%"}}, StopIf(gpu_below=0.1, for_s=1800.0)),
        ({"stop_if": {"progress_below": 50, "for": "5m"}}, StopIf(progress_below=50.0, for_s=300.0)),
        ({}, None),
    ],
)
def test_it_reaches_the_node_processes(make_plan, launch, expected):
    assert make_plan(launch=launch).node_file.stop_if == expected


@pytest.mark.parametrize(
    ("launch", "said"),
    [
        ({"gpus": 1, "stop_if": {"gpu_below": 0.1}}, "expected a share such as 10%"),
        ({"gpus": 1, "stop_if": {"gpu_below": "0%"}}, "expected a share such as 10%, above 0%"),
        ({"gpus": 1, "stop_if": {"gpu_below": "101%"}}, "at most 100%"),
        ({"gpus": 0, "stop_if": {"gpu_below": "10%"}}, "expected gpus beside stop_if.gpu_below, got 0"),
        ({"stop_if": {"for": "10m"}}, "expected gpu_below, progress_below or both, got neither"),
        ({"stop_if": {"progress_below": -1}}, "Launch.stop_if.progress_below"),
        ({"stop_if": {"idle": "10%"}}, "Launch.stop_if"),
        ({"avoid_nodes": ["Node 1"]}, "Launch.avoid_nodes"),
    ],
)
def test_what_says_nothing_or_nonsense_is_refused_with_its_place(load, launch, said):
    with pytest.raises(ConfigError, match="Launch") as refused:
        load(launch=launch)
    assert said in str(refused.value)


def find_fields(plan) -> list[dict[str, object]]:
    affinity = render(plan).pod_spec.get("affinity") or {}
    required = (affinity.get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or {}
    return [field for term in required.get("nodeSelectorTerms", ()) for field in term["matchFields"]]


def test_pods_keep_off_nodes_by_name_beside_what_else_they_wish(make_plan):
    plan = make_plan(launch={"avoid_nodes": ["g1", "g2"], "topology_key": "example.com/rack"})
    # An API server takes one name a field (kubernetes, pkg/apis/core/validation, ValidateNodeFieldSelector…).
    assert find_fields(plan) == [
        {"key": "metadata.name", "operator": "NotIn", "values": [name]} for name in ("g1", "g2")
    ]
    assert "podAffinity" in render(plan).pod_spec["affinity"]
    assert "affinity" not in render(make_plan()).pod_spec


def test_a_run_that_goes_on_keeps_off_the_node_where_a_gpu_broke(make_plan):
    parent = ParentRun(asked="flowers-a", run_id="f" * 32, sub_path=None, faulty_nodes=("g7",))
    plan = make_plan(launch={"avoid_nodes": ["g1", "g7"]}, parent=parent)
    assert plan.avoid_nodes == ("g1", "g7")
    assert "it keeps off g7, where flowers-a met a broken GPU [gpu-fault]" in plan.notes
    assert make_plan(parent=dataclasses.replace(parent, faulty_nodes=())).avoid_nodes == ()
