"""Merging the logs of many pods: lines a second, against splitting the same bytes into lines and no more."""

from __future__ import annotations

import statistics
import time

from launcher.logs.lines import LineReader
from launcher.logs.log_filter import LogFilter
from launcher.logs.log_format import Formatter, LogFormat
from launcher.logs.merge import Merger

PODS, LINES, ROUNDS = 64, 2000, 5


def write_log(pod: int) -> bytes:
    lines = []
    for number in range(LINES):
        second, nano = divmod(number * 37_000_000 + pod * 11_000, 1_000_000_000)
        lines.append(
            f"2026-01-01T00:{second // 60:02d}:{second % 60:02d}.{nano:09d}Z stdout F "
            f"[a1 r{pod}] [Train][Epoch 1/10][Iter: {number}/{LINES}]lr: 0.1, loss: 1.0\n"
        )
    return "".join(lines).encode()


def main() -> None:
    logs = [write_log(pod) for pod in range(PODS)]
    splitting, merging = [], []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        count = sum(len(log.split(b"\n")) - 1 for log in logs)
        splitting.append(time.perf_counter() - began)
        began = time.perf_counter()
        merger = Merger()
        for pod, log in enumerate(logs):
            formatter = Formatter(node=pod, log_filter=LogFilter(), form=LogFormat())
            merger.add(merger.open_stream(), formatter.format_lines(LineReader().take(log)), now_s=0.0)
        merged = merger.take_all()
        merging.append(time.perf_counter() - began)
        assert len(merged) == count
    limit, found = statistics.median(splitting), statistics.median(merging)
    print(f"split into lines   {count / limit:12,.0f} lines/s  1.00 x of the time")
    print(f"read, shaped, merged   {count / found:12,.0f} lines/s  {found / limit:.0f} x of the time")


if __name__ == "__main__":
    main()
