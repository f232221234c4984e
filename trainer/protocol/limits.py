"""What this process may use of its machine: cores and memory, as control groups limit them.

A pod sees all cores and all memory of its node; what it was given stands in its control group. Version 2 is
one tree with `cpu.max` and `memory.max`; version 1 has a tree each, with `cpu.cfs_quota_us` and
`memory.limit_in_bytes` (https://docs.kernel.org/admin-guide/cgroup-v2.html, cgroup-v1). A container mostly
sees its own group as the root of the tree, while /proc/self/cgroup may name a path outside of it: so the
group that is named, all above it, and the root itself are asked, and the least of them holds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")
_UNLIMITED = 1 << 60  # version 1 writes nearly 2 ** 63 where there is no limit

_AMOUNT = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)([kKmMgGtT]i?|)")
_UNITS = {
    "": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12,
    "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40,
}  # fmt: skip


def usable_cores(root: Path = _ROOT) -> float:
    """Return how many cores' time this process may use, at least 0.01.

    Args:
        root: Where /proc and /sys are looked for.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = [float(affinity)]
    for folder in _groups(root, "cpu"):
        quota, period = _numbers(folder / "cpu.max", 2) or (None, None)
        if quota is None:
            quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        if quota and period and quota > 0 and period > 0:
            found.append(quota / period)
    return max(0.01, min(found))


def free_memory(root: Path = _ROOT) -> int | None:
    """Return how many bytes of memory this process and its children may still take; None where unknown.

    What is cached of files counts as free: the kernel gives it back before it refuses anything.
    """
    found = [available] if (available := _available(root)) is not None else []
    for folder in _groups(root, "memory"):
        for limit_file, usage_file, cached in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            limit, used = _number(folder / limit_file), _number(folder / usage_file)
            if limit is not None and used is not None and limit < _UNLIMITED:
                found.append(max(0, limit - used + _field(folder / "memory.stat", cached)))
    return min(found, default=None)


def parse_bytes(text: str) -> int | None:
    """Return the bytes of an amount as Kubernetes writes it, such as 4Gi or 2G; None where it is none."""
    match = _AMOUNT.fullmatch(text.strip())
    return int(float(match[1]) * _UNITS[match[2].lower()]) if match is not None else None


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's control groups, both versions', innermost first."""
    top = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        base = top / controllers if controllers else top
        if controllers and not base.is_dir():
            base = top / controller
        folder = base / path.lstrip("/")
        while folder != base and base in folder.parents:
            yield folder
            folder = folder.parent
        yield base


def _available(root: Path) -> int | None:
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return None


def _field(file: Path, name: str) -> int:
    for line in _text(file).splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.isdigit():
            return int(value)
    return 0


def _number(file: Path) -> int | None:
    found = _numbers(file, 1)
    return found[0] if found else None


def _numbers(file: Path, count: int) -> list[int] | None:
    words = _text(file).split()
    if len(words) < count or not all(word.lstrip("-").isdigit() for word in words[:count]):
        return None  # `max`, or no such file
    return [int(word) for word in words[:count]]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


__all__ = ["free_memory", "parse_bytes", "usable_cores"]
