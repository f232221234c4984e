"""A job that trains with fewer nodes than it has, by real node processes and real ranks on CPUs."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from benchmarks.soak_elastic import count_redone, find_wrong_steps, read_noted, write_lists
from tests.e2e.conftest import config, draw_images
from tests.trainer.node.conftest import Job, wait_for

EPOCHS = 5
RANK = Path(__file__).parents[2] / "benchmarks/elastic_rank.py"


def test_a_node_that_is_lost_and_comes_back_leaves_every_sample_once_an_epoch(tmp_path: Path) -> None:
    job = Job(
        tmp_path, nodes=3, procs_per_node=1, min_nodes=2, patience_s=1.0, max_restarts=0, grace_s=60.0,
        rendezvous_timeout_s=120.0,
    )  # fmt: skip
    try:
        lose_and_regain(job)
    finally:
        job.close()


def lose_and_regain(job: Job) -> None:
    draw_images(job.folder)
    document = config(
        Global__epochs=EPOCHS, Global__output_dir="/output", Global__save_every_steps=2,
        DataLoader__Train__sampler__batch_size=2,
    )  # fmt: skip
    samples = Counter(range(write_lists(job.folder, document)))
    (job.folder / "cfg.yaml").write_text(yaml.safe_dump(document))
    plan = {"config": str(job.folder / "cfg.yaml"), "step_s": 0.1}

    def start(*nodes: int) -> list[Any]:
        return job.start(*nodes, plan=plan, env={"FTL_TEST_RANK": str(RANK)})

    def attempt_has(number: int, steps: int) -> Callable[[], bool]:
        path = job.scratch / f"attempt{number}/noted.0"
        return lambda: path.exists() and len(path.read_text().splitlines()) >= steps

    second, third = start(1, 2)
    for node in (second, third):
        node.says("waiting for node 0")
    (first,) = start(0)
    wait_for(attempt_has(1, 3), timeout_s=90, what="three nodes to train")
    third.process.send_signal(signal.SIGTERM)  # as a node that is drained
    assert third.exit(60) == 143, third.text
    wait_for(attempt_has(2, 2), timeout_s=90, what="two nodes to train")
    (third,) = start(2)
    wait_for(attempt_has(3, 1), timeout_s=90, what="three nodes to train again")
    second.process.send_signal(signal.SIGKILL)  # as a machine that is gone
    second.exit()
    assert [first.exit(120), third.exit(120)] == [0, 0], first.text
    assert [(one.attempt, one.nodes) for one in job.run_file.nodes or ()] == [
        (1, "0-2"), (2, "0-1"), (3, "0-2"), (4, "0,2"),
    ]  # fmt: skip
    assert (job.run_file.attempts, job.run_file.fingerprints) == (1, ())
    rows = read_noted(job.scratch)
    redone = count_redone(rows)
    assert (redone[2], redone[3]) == (0, 0)
    # 64 samples are padded to 66 for three ranks; what is noted are those that count.
    assert find_wrong_steps(rows, samples_of=dict.fromkeys(range(EPOCHS), samples)) == []
    assert {row["step"] for row in rows} == set(range(EPOCHS * 11))
    assert first.progress[-1].absent == (1,)
