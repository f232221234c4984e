from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any


def exits(nodes: list[Any]) -> list[int]:
    return [node.exit() for node in nodes]


def fault(rank: int, step: int, do: str, *, attempt: int = 1) -> dict[str, Any]:
    return {"rank": rank, "attempt": attempt, "step": step, "do": do}


def test_all_ranks_done_ends_every_node_with_zero(new_job: Callable[..., Any]) -> None:
    job = new_job()
    nodes = job.start(0, 1)
    assert exits(nodes) == [0, 0], nodes[0].text
    assert [node.termination.exit for node in nodes] == [0, 0]
    assert (nodes[0].termination.step, nodes[0].termination.checkpoint) == (10, "ckpt-10")
    assert job.run_file.ended == 0


def test_every_line_of_every_rank_arrives_whole_and_tagged(new_job: Callable[..., Any]) -> None:
    job = new_job()
    nodes = job.start(0, 1)
    exits(nodes)
    found = Counter(
        (line.tag.rank, line.text) for node in nodes for line in node.lines if line.tag.rank is not None
    )
    expected = Counter(
        (rank, text.encode())
        for rank in range(4)
        for text in [
            f"rank {rank} of 4 begins attempt 1 ¡ü",
            *(f"rank {rank} step {step}" for step in range(1, 11)),
            f"rank {rank} is done, without a newline",
        ]
    )
    assert found == expected
    assert all(line.tag is not None for node in nodes for line in node.lines)


def test_a_failed_rank_makes_all_nodes_start_again_in_place(new_job: Callable[..., Any]) -> None:
    job = new_job()
    nodes = job.start(0, 1, plan={"faults": [fault(3, 4, "exit:1")]})
    assert exits(nodes) == [0, 0], nodes[0].text
    assert job.run_file.starts == 2
    assert {line.tag.attempt for line in nodes[1].lines if line.tag.rank == 3} == {1, 2}
