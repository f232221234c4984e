"""Following many pods' logs over TLS: lines a second, memory, a slow reader, and `kubectl` beside it.

The server is a Go program on the last core (`logserver/`), the client has the first core. Rates are those of
`log_client.py`, against a bare pump that only splits and prefixes lines: wall time counts everything from the
first look at the job to the last line, and ratios are taken from runs one after the other. Processor time
says the same where other work takes the core. The rest is measured of whole commands (`log_commands.py`).

    bench_logs.py [rates] [memory] [slow] [kubectl] [h11] [--rounds N]

`h11` compares the whole follower with our parser and with that library's, over the same loads.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from go_server import CORES, Load, build, pin, serving
from log_commands import check, ftlaunch, kubectl, run

RATES = [
    Load(pods=64, lines=6000),
    Load(pods=512, lines=800),
    Load(pods=512, lines=4000),
    Load(pods=64, lines=3000, batch=1),
    Load(pods=64, lines=6000, ranks=8),
]


def measure(program: Path, what: str, load: Load) -> dict[str, float]:
    client = Path(__file__).parent / "log_client.py"
    with serving(program, load) as folder:
        command = [sys.executable, client, what, folder, str(load.pods)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, **pin(CORES[0]))
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["lines"] == load.total, found
    return found


def show(what: str, found: dict[str, float]) -> None:
    cpu_us = found["cpu_s"] / found["lines"] * 1e6
    print(
        f"  {what:7s}{found['lines'] / found['s']:10,.0f} lines/s {cpu_us:6.2f} us of the processor a line;"
        f" attached {found['attached_s']:.2f} s, last line {found['s']:.2f} s, end {found['end_s']:.2f} s;"
        f" {found['mb']:.0f} MB",
        flush=True,
    )


def compare_rates(program: Path, rounds: int) -> None:
    for load in RATES:
        print(
            f"{load.pods} pods of {load.ranks} ranks, {load.lines:,} lines a pod, {load.batch} lines at once"
        )
        pairs = [(measure(program, "pump", load), measure(program, "follow", load)) for _ in range(rounds)]
        bare, ours = min(pairs, key=lambda pair: pair[1]["s"])
        show("pump", bare)
        show("follow", ours)
        by_wall = statistics.median(bare["s"] / ours["s"] for bare, ours in pairs)
        by_processor = statistics.median(bare["cpu_s"] / ours["cpu_s"] for bare, ours in pairs)
        print(
            f"  {by_wall:.2f} x the pump by wall time, {by_processor:.2f} x by processor time"
            f" (median of {rounds}; shown is the fastest)"
        )


def compare_parsers(program: Path, rounds: int) -> None:
    for load in [*RATES[:4], Load(pods=512, lines=400, batch=1)]:
        print(f"{load.pods} pods, {load.lines:,} lines a pod, {load.batch} lines at once")
        pairs = [(measure(program, "follow", load), measure(program, "h11", load)) for _ in range(rounds)]
        for what, number in (("ours", 0), ("h11", 1)):
            show(what, min((pair[number] for pair in pairs), key=lambda found: found["cpu_s"]))
        ratio = statistics.median(ours["cpu_s"] / theirs["cpu_s"] for ours, theirs in pairs)
        print(f"  lines a second of processor time with h11: {ratio:.2f} of ours (median of {rounds})")


def measure_memory(program: Path) -> None:
    load = Load(pods=512, lines=2000, together=True)
    with serving(program, load) as folder:
        ran = check(load, run(ftlaunch(folder), folder))
    print(f"`ftlaunch logs -f`, 512 streams at once, {load.total:,} lines: {ran.mb:.0f} MB")


def measure_slow(program: Path) -> None:
    load = Load(pods=64, lines=10000, together=True)
    with serving(program, load) as folder:
        ran = check(load, run(ftlaunch(folder), folder, slow=True))
    print(
        f"`ftlaunch logs -f`, 64 streams, a reader that sleeps 5 s, then takes 8 MB/s: {load.total:,} lines,"
        f" each rank's complete and in order; {ran.passed_s:.0f} s, {ran.mb:.0f} MB"
    )


def compare_kubectl(program: Path, rounds: int) -> None:
    if shutil.which("kubectl") is None:
        print("kubectl: NOT COMPARED: there is no `kubectl`")
        return
    load = Load(pods=64, lines=6000)
    tries = []
    for _ in range(rounds):
        with serving(program, load) as folder:
            tries.append(check(load, run(ftlaunch(folder), folder)))
    ours = sorted(tries, key=lambda ran: ran.passed_s)[rounds // 2]
    with serving(program, load) as folder:
        theirs = check(load, run(kubectl(folder, load.pods), folder))
    for name, ran in (("kubectl logs -l … -f --prefix", theirs), ("ftlaunch logs -f", ours)):
        print(f"  {name}: {ran.passed_s:.2f} s, {ran.cpu_s:.2f} s of the processor, {ran.mb:.0f} MB")
    ratio = ours.passed_s / theirs.passed_s
    print(
        f"64 x 6,000 lines from command to prompt: {ratio:.2f} of kubectl's time (median of {rounds} of ours)"
    )


def main() -> None:
    arguments = sys.argv[1:]
    rounds = int(arguments.pop(arguments.index("--rounds") + 1)) if "--rounds" in arguments else 3
    chosen = {word for word in arguments if word != "--rounds"} or {"rates", "memory", "slow", "kubectl"}
    with tempfile.TemporaryDirectory() as name:
        program = build(Path(name))
        if "rates" in chosen:
            compare_rates(program, rounds)
        if "memory" in chosen:
            measure_memory(program)
        if "slow" in chosen:
            measure_slow(program)
        if "kubectl" in chosen:
            compare_kubectl(program, rounds)
        if "h11" in chosen:
            compare_parsers(program, rounds)


if __name__ == "__main__":
    main()
