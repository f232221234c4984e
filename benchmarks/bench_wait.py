"""How many requests `wait` sends to a cluster in a while: watching, and asking again and again.

    python benchmarks/bench_wait.py kubernetes://NAMESPACE/JOB

The job is looked at and not touched; one in which nothing happens shows the difference best.
"""

from __future__ import annotations

import argparse
import sys
import time

from launcher.backends.kubernetes import KubernetesBackend
from launcher.backends.poll_timer import FixedPause, PollTimer
from launcher.kube.transport import Transport
from launcher.plan.handle import Handle, parse_handle

LOOK_S = 0.5  # as `wait` does


def count_requests(
    backend: KubernetesBackend, handle: Handle, poll_timer: PollTimer, *, seconds: float
) -> int:
    """Ask how a job stands whenever the timer says so, and count what is sent meanwhile."""
    sent = []
    send = Transport._exchange
    Transport._exchange = lambda *a, **k: sent.append(1) or send(*a, **k)
    until_s = time.monotonic() + seconds
    try:
        while time.monotonic() < until_s:
            backend.status(handle)
            poll_timer.wait(LOOK_S, most_s=max(LOOK_S, until_s - time.monotonic()))
    finally:
        Transport._exchange = send
    return len(sent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("handle", type=parse_handle)
    parser.add_argument("--seconds", type=float, default=30.0)
    given = parser.parse_args()
    for name in ("asking", "watching"):
        backend = KubernetesBackend.connect(namespace=given.handle.namespace)
        poll_timer = FixedPause() if name == "asking" else backend.poll_timer(given.handle)
        sent = count_requests(backend, given.handle, poll_timer, seconds=given.seconds)
        sys.stdout.write(f"{name}: {sent} requests in {given.seconds:g} s\n")


if __name__ == "__main__":
    main()
