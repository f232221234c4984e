"""Runs a command beside a real API server: what it asked for by the server's own count, time and memory."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

_METRIC = re.compile(r"^apiserver_(request_total|response_sizes_sum)\{(.*)\} (\S+)$")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
RUNNER = Path(__file__).with_name("scale_runner.py")
READ = frozenset({"GET", "LIST", "WATCH", "CONNECT"})
COUNTED = frozenset({
    "configmaps", "deployments", "events", "jobs", "jobsets", "leases", "limitranges", "namespaces", "nodes",
    "paddlejobs", "persistentvolumeclaims", "podgroups", "pods", "pods/log", "resourcequotas",
    "selfsubjectaccessreviews", "selfsubjectrulesreviews", "services", "storageclasses", "trainingruntimes",
    "trainjobs", "workloads",
})  # fmt: skip
"""What commands ask for. Controllers watch, look after leases and nodes, and write."""
THEIRS = frozenset(
    {
        "GET leases",
        "GET services",
        "PUT leases",
        "WATCH leases",
        "POST events",
        "PATCH events",
        "PATCH nodes",
        "POST pods",
        "DELETE pods",
    }
)
WATCHED = frozenset({"WATCH pods", "WATCH paddlejobs", "WATCH jobsets", "WATCH trainjobs", "WATCH jobs"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """What one command did.

    Attributes:
        asked: Requests by `VERB resource`.
        sent: Bytes of the server's answers without log streams, compressed where the client took that.
        wall_s: From start to end.
        cpu_s: Of its process.
        peak_mib: The most memory that its process held.
        code: Exit code.
        lines: Of its standard output.
        most: The most threads and open sockets at once, where that was looked at.
    """

    asked: Counter[str]
    sent: int
    wall_s: float
    cpu_s: float
    peak_mib: float
    code: int
    lines: int
    most: dict[str, int] = field(default_factory=dict)
    attached_s: float | None = None

    def __add__(self, other: Ran) -> Ran:
        """Two commands one after the other."""
        return Ran(
            asked=self.asked + other.asked, sent=self.sent + other.sent, wall_s=self.wall_s + other.wall_s,
            cpu_s=self.cpu_s + other.cpu_s, peak_mib=max(self.peak_mib, other.peak_mib),
            code=self.code or other.code, lines=self.lines + other.lines,
        )  # fmt: skip


def read_counts(*, writes: bool) -> tuple[Counter[str], int]:
    """Return the API server's requests by verb and resource, and the bytes of its answers to reads.

    Controllers go on meanwhile: what they ask for all the time is left out, and with it the discovery of
    kinds; writes are counted only for commands that write.
    """
    text = subprocess.run(
        ["kubectl", "get", "--raw", "/metrics"], capture_output=True, text=True, check=True
    ).stdout
    asked: Counter[str] = Counter()
    sent = 0
    for line in text.splitlines():
        match = _METRIC.match(line)
        if match is None:
            continue
        labels = dict(_LABEL.findall(match[2]))
        verb, resource = labels["verb"], labels["resource"]
        if labels.get("subresource"):
            resource += f"/{labels['subresource']}"
        call = f"{verb} {resource}"
        if resource not in COUNTED or call in THEIRS or (verb == "WATCH" and call not in WATCHED):
            continue
        if verb in READ or (writes and resource != "services"):
            if match[1] == "request_total":
                asked[call] += int(float(match[3]))
            elif verb in ("GET", "LIST"):
                sent += int(float(match[3]))
    return asked, sent


def measure(
    argv: list[str], *, environ: dict[str, str], cwd: Path, writes: bool = False,
    limit_s: float | None = None, sockets: int | None = None,
) -> Ran:  # fmt: skip
    """Run a command to its end.

    Args:
        argv: The command.
        environ: More of the environment.
        cwd: Its folder.
        writes: Whether it writes objects; then requests of controllers are counted too.
        limit_s: Interrupt it after so long.
        sockets: Look how many it has open, note when there are so many, and interrupt it 5 s later.
    """
    before, sent = read_counts(writes=writes)
    told, tell = os.pipe()
    began = time.perf_counter()
    counter = subprocess.Popen(["wc", "-l"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    runner = subprocess.Popen(
        [sys.executable, "-S", str(RUNNER), str(tell), *argv], cwd=cwd, env=os.environ | environ,
        stdout=counter.stdin, stderr=subprocess.DEVNULL, pass_fds=[tell],
    )  # fmt: skip
    os.close(tell)
    counter.stdin.close()  # type: ignore[union-attr]
    with os.fdopen(told) as heard:
        pid = int(heard.readline())
        most: dict[str, int] = {}
        attached_s = None
        while runner.poll() is None and (sockets or limit_s):
            passed_s = time.perf_counter() - began
            if sockets:
                look(pid, most)
                if attached_s is None and most.get("sockets", 0) >= sockets:
                    attached_s = passed_s
                    limit_s = passed_s + 5.0
            if limit_s and passed_s > limit_s:
                os.kill(pid, signal.SIGINT)
                limit_s += 10.0
            time.sleep(0.05)
        runner.wait()
        passed_s = time.perf_counter() - began
        code, cpu_s, peak_kib = heard.readline().split()
    lines = int(counter.stdout.read())  # type: ignore[union-attr]
    counter.wait()
    after, sent_after = read_counts(writes=writes)
    return Ran(
        asked=after - before, sent=sent_after - sent, wall_s=passed_s, cpu_s=float(cpu_s),
        peak_mib=int(peak_kib) / 1024, code=int(code), lines=lines, most=most, attached_s=attached_s,
    )  # fmt: skip


def look(pid: int, most: dict[str, int]) -> None:
    """Note how many threads and sockets a process has, where that is more than before."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        files = [str(Path(entry.path).readlink()) for entry in os.scandir(f"/proc/{pid}/fd")]
    except OSError:
        return
    now = {
        "threads": int(re.search(r"Threads:\s+(\d+)", status)[1]),  # type: ignore[index]
        "sockets": sum(name.startswith("socket:") for name in files),
        "files": len(files),
    }
    for name, number in now.items():
        most[name] = max(most.get(name, 0), number)


def describe(title: str, ran: Ran, peer: Ran | None = None) -> str:
    """Write what a command did on a line, and the ratios to its peer."""
    asked = ", ".join(f"{count} {what}" for what, count in sorted(ran.asked.items()))
    text = (
        f"{title}: {ran.asked.total()} requests ({asked}), {ran.sent / 1e6:.2f} MB, {ran.wall_s:.2f} s wall, "
        f"{ran.cpu_s:.2f} s CPU, {ran.peak_mib:.0f} MiB, {ran.lines} lines"
    )
    if ran.attached_s is not None:
        text += f", connected after {ran.attached_s:.1f} s"
    if ran.most:
        text += "".join(f", {number} {name}" for name, number in ran.most.items())
    if ran.code:
        text += f", exit {ran.code}"
    if peer is not None:
        text += (
            f"; of kubectl's: requests {_ratio(ran.asked.total(), peer.asked.total())}, bytes "
            f"{_ratio(ran.sent, peer.sent)}, wall {_ratio(ran.wall_s, peer.wall_s)}, CPU "
            f"{_ratio(ran.cpu_s, peer.cpu_s)}, memory {_ratio(ran.peak_mib, peer.peak_mib)}"
        )
    return text


def _ratio(ours: float, theirs: float) -> str:
    return f"{ours / theirs:.2f}" if theirs else "-"
