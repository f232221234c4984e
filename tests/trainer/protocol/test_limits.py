from __future__ import annotations

import os
from pathlib import Path

import pytest

from trainer.protocol.limits import free_memory, usable_cores

MIB = 1 << 20


@pytest.fixture(autouse=True)
def _many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))


def write(root: Path, groups: str, **files: str) -> Path:
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "250000 100000\n"}, 2.5),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "max 100000\n"}, 64),
        ("0::/pod/box\n", {"sys/fs/cgroup/pod/box/cpu.max": "800000 100000\n",
                           "sys/fs/cgroup/pod/cpu.max": "400000 100000\n"}, 4),
        ("0::/../outside\n", {"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 0.5),
        ("3:cpu,cpuacct:/pods/x\n", {"sys/fs/cgroup/cpu,cpuacct/pods/x/cpu.cfs_quota_us": "300000\n",
                                         "sys/fs/cgroup/cpu,cpuacct/pods/x/cpu.cfs_period_us": "100000"}, 3),
        ("3:cpu,cpuacct:/seen/from/outside\n", {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000\n",
                                                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 1.5),
        ("3:cpu:/\n", {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                       "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ("nonsense\n", {"sys/fs/cgroup/cpu.max": "what\n"}, 64),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "1 100000\n"}, 0.01),
    ],
    ids=["v2", "v2 unlimited", "v2 nested", "v2 outside", "v1", "v1 root", "v1 none", "broken", "tiny"],
)  # fmt: skip
def test_cores_are_those_of_the_narrowest_group(
    tmp_path: Path, groups: str, files: dict[str, str], cores: float
) -> None:
    assert usable_cores(write(tmp_path, groups, **files)) == pytest.approx(cores)


def test_affinity_counts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    assert usable_cores(write(tmp_path, "0::/\n", **{"sys/fs/cgroup/cpu.max": "800000 100000"})) == 2


def test_memory_is_what_the_group_leaves_and_what_it_caches(tmp_path: Path) -> None:
    root = write(
        tmp_path, "0::/\n",
        **{
            "proc/meminfo": "MemTotal: 9 kB\nMemAvailable: 1048576 kB\n",
            "sys/fs/cgroup/memory.max": str(512 * MIB), "sys/fs/cgroup/memory.current": str(300 * MIB),
            "sys/fs/cgroup/memory.stat": f"anon 1\ninactive_file {100 * MIB}\n",
        },
    )  # fmt: skip
    assert free_memory(root) == 312 * MIB
    (root / "sys/fs/cgroup/memory.max").write_text("max\n")
    assert free_memory(root) == 1024 * MIB


def test_memory_of_the_first_version(tmp_path: Path) -> None:
    root = write(
        tmp_path, "4:memory:/pod\n",
        **{
            "sys/fs/cgroup/memory/pod/memory.limit_in_bytes": str(400 * MIB),
            "sys/fs/cgroup/memory/pod/memory.usage_in_bytes": str(100 * MIB),
            "sys/fs/cgroup/memory/memory.limit_in_bytes": str(9223372036854771712),
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "5",
        },
    )  # fmt: skip
    assert free_memory(root) == 300 * MIB


def test_nothing_known_is_said_to_be_unknown(tmp_path: Path) -> None:
    assert free_memory(tmp_path) is None
    assert usable_cores(tmp_path) == 64
