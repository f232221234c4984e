from __future__ import annotations

import pytest

from trainer.ranks import read_ranks


@pytest.mark.parametrize(
    ("own", "all_of_them", "count"),
    [
        ("10.0.0.1:6000", "10.0.0.1:6000,10.0.0.1:6001,10.0.0.2:6000,10.0.0.2:6001", 2),
        ("job-worker-0:1", "job-worker-0:1,job-worker-1:1", 1),
        ("[::1]:7000", "[::1]:7000,[::1]:7001,[::1]:7002", 3),
        ("", "", 1),
        ("10.0.0.9:1", "10.0.0.1:6000", 1),
    ],
)
def test_ranks_of_one_host_share_its_cores(own: str, all_of_them: str, count: int) -> None:
    environment = {"PADDLE_CURRENT_ENDPOINT": own, "PADDLE_TRAINER_ENDPOINTS": all_of_them}
    assert read_ranks(environment).ranks_here == count
    assert read_ranks({}).ranks_here == 1
