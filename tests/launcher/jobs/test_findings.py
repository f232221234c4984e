from __future__ import annotations

from pathlib import Path

import pytest

from launcher.config.load import load_run_config
from launcher.jobs import findings
from launcher.jobs.findings import find_doubts
from tests.launcher.configs import config_values
from trainer.config.problems import format_path
from trainer.config.step_memory import StepEstimate, StepMemory
from trainer.protocol.lists import read_list

SORTED = "".join(f"{label}/{index}.jpg {label}\n" for label in range(3) for index in range(100))
MIXED = "".join(f"{label}/{index}.jpg {label}\n" for index in range(100) for label in range(3))


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTLAUNCH_STATE", str(tmp_path / "state"))


@pytest.fixture
def doubts(write_config, tmp_path):
    """Say what is doubtful of a config with such a list, one sentence a doubt."""

    def ask(text: str, *, on="local", launch=None, **changes):
        (tmp_path / "flowers").mkdir(exist_ok=True)
        (tmp_path / "flowers" / "train_list.txt").write_text(text)
        quiet = {"Global__epochs": 9999, "Optimizer__lr": {"learning_rate": 0.02}}
        gpus = {"gpus": 0, "procs_per_node": 1, **(launch or {})}
        config = load_run_config(write_config(config_values(launch=gpus, **{**quiet, **changes})))
        return [f"{format_path(problem.path)}: {problem.message}" for problem in find_doubts(config, on=on)]

    return ask


@pytest.mark.parametrize("on", [None, "local", "kubernetes"])
def test_an_order_by_classes_that_is_not_shuffled_is_told_wherever_the_list_is_here(doubts, on):
    (said,) = doubts(SORTED, on=on)
    assert said.startswith(
        "DataLoader.Train.sampler.shuffle: expected True, or a list in which the classes are"
    )
    assert "of two images of a batch of 64, 78 % have one class, where mixed it would be 33 %" in said
    assert said.endswith("(flowers/train_list.txt)")


def test_a_mixed_or_a_shuffled_list_is_not_told(doubts):
    sampler = {"name": "DistributedBatchSampler", "batch_size": 8}
    assert doubts(MIXED) == []
    assert doubts(SORTED, DataLoader__Train__sampler={**sampler, "shuffle": True}) == []
    (said,) = doubts(SORTED, DataLoader__Train__sampler=sampler)
    assert "of two images of a batch of 8, 97 % have one class" in said
    assert doubts(SORTED, DataLoader__Train__sampler={**sampler, "batch_size": 200}) == []


def test_classes_out_of_balance_and_bad_lines_are_told(doubts):
    text = "".join(f"{index}.jpg {index % 10 == 0:d}\n" for index in range(100)) + "x.jpg 9\nnothing\n"
    bad, balance = doubts(text)
    assert "train_list.txt:101: expected a label" in bad
    assert "and 1 more like it" in bad
    assert "got 90 of class 0 and 10 of class 1" in balance


def test_a_list_is_read_once_until_it_changes(write_config, monkeypatch, tmp_path):
    file = tmp_path / "flowers" / "train_list.txt"
    file.parent.mkdir()
    file.write_text(SORTED)
    config = load_run_config(write_config(launch={"gpus": 0}))
    first = find_doubts(config, on=None)
    asked = []

    def read(*given, **more):
        asked.append(given)
        return read_list(*given, **more)

    monkeypatch.setattr(findings, "read_list", read)
    assert [str(problem) for problem in find_doubts(config, on=None)] == [str(problem) for problem in first]
    assert asked == []
    file.write_text(MIXED + MIXED)
    assert len(find_doubts(config, on=None)) < len(first)
    assert len(asked) == 1


def test_a_broken_cache_is_passed_over(doubts, tmp_path):
    first = doubts(SORTED, DataLoader__Train__sampler__batch_size=8)
    (tmp_path / "state/cache/lists/lists.json").write_text('{"x": 3')
    assert doubts(SORTED, DataLoader__Train__sampler__batch_size=8) == first


def test_a_step_that_was_estimated_is_held_against_the_pods_memory(doubts, write_config):
    assert doubts(MIXED, launch={"resources": {"memory": "1Gi"}}) == []  # nothing is known of it
    config = load_run_config(write_config(config_values(launch={"gpus": 0, "procs_per_node": 1}))).job
    step = StepEstimate(weights_bytes=10 << 20, image_bytes=20 << 20, multiplications=1)
    StepMemory().keep(config, step)
    assert StepMemory().find(config) == step
    (said,) = doubts(MIXED, launch={"resources": {"memory": "1Gi"}})
    assert (
        "expected a step within the 1,024 MiB of Launch.resources.memory, got 64 images, which take about"
        in said
    )
    assert "try 32, and `trainer fit-batch` measures" in said
    assert doubts(MIXED, launch={"resources": {"memory": "4Gi"}}) == []
    (each,) = doubts(MIXED, launch={"resources": {"memory": "1Gi"}, "procs_per_node": 4})
    assert "256 MiB of Launch.resources.memory, for each of 4 ranks" in each
    assert "not even one image fits" in each


def test_submit_says_it_before_anything_is_sent(doubts, write_config, ftlaunch):
    doubts(SORTED)
    path = write_config(DataLoader__Train__sampler__batch_size=8)
    code, out, err = ftlaunch("submit", str(path), "--on", "kubernetes", "--dry-run", "client")
    assert code == 0
    assert "warning: DataLoader.Train.sampler.shuffle: expected True, or a list in which the classes" in err
    assert "sorted by classes" not in out
