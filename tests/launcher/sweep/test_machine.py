"""How trials share a machine."""

from __future__ import annotations

import pytest

from launcher.sweep.machine import share_cluster, share_machine


def gpus(asked, *, each=1, count=4, per_gpu=1):
    present = tuple(str(index) for index in range(count))
    return share_machine(asked, ranks=each, nodes=1, gpus=each, present=present, cores=8, per_gpu=per_gpu)


def test_each_job_has_gpus_of_its_own():
    found = gpus(None, each=2)
    assert [place.gpu_ids for place in found.places] == [("0", "1"), ("2", "3")]
    assert found.sentence == "2 jobs at once, each with 2 of 4 GPUs"


def test_more_jobs_than_gpus_wait_and_that_is_said():
    found = gpus(9)
    assert len(found.places) == 4
    assert found.warning == "9 jobs at once were asked for; there are GPUs for 4, and the others wait"


def test_several_jobs_share_a_gpu_where_that_is_asked():
    found = gpus(None, count=2, per_gpu=2)
    assert [place.gpu_ids for place in found.places] == [("0",), ("1",), ("0",), ("1",)]


@pytest.mark.parametrize(
    ("asked", "ranks", "count", "warns"),
    [(None, 1, 8, False), (None, 3, 2, False), (3, 1, 3, False), (3, 4, 3, True)],
)
def test_cpus_are_shared_by_processes(asked, ranks, count, warns):
    found = share_machine(asked, ranks=ranks, nodes=1, gpus=0, present=(), cores=8)
    assert (len(found.places), bool(found.warning)) == (count, warns)
    assert all(place.gpu_ids is None for place in found.places)


def test_a_cluster_decides_itself_when_jobs_start():
    assert len(share_cluster(None).places) == 4
    assert len(share_cluster(24).places) == 24
