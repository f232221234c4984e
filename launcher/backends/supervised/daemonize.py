"""How a supervisor becomes one: a detached child of a program that returns once the job has been taken over.

The submitter runs `python -m ….supervisor RUN_FOLDER` in a session of its own and waits for it. That
program forks, and the two halves talk through a pipe once: the child builds the supervisor, installs its
signal handlers, writes the first state, and only then a byte; the parent exits with 0 for that byte and
with 1 for a pipe that was closed without one. So when a submit returns, the job has an owner that is on
disk, or there is none and the log says why in one line. No second fork: the session is the submitter's
doing, and the parent lives for less than a second.

That there is one supervisor a job hangs on two things. A lock on a file of the run folder is held for as
long as the supervisor lives, so that a second one that starts meanwhile waits; and the request's
generation, which a resume counts up, tells that second one whether the job was taken over while it waited,
by the supervisor that it was asked for or by a later one: then it returns as if it had done so itself.

SIGTERM asks a supervisor to cancel its job, SIGINT to kill its pods at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import time
from pathlib import Path

from launcher.backends.supervised.state import JobLayout, load_job_record, load_request
from launcher.backends.supervised.supervisor import Expand, MakeKubelet, Supervisor
from launcher.errors import LaunchError
from launcher.plan.handle import BackendKind
from trainer.protocol.codec import FormatError

_LOOK_S = 0.05


def daemonize(run_folder: str, *, kind: BackendKind, expand: Expand, make_kubelet: MakeKubelet) -> int:
    """Take over the job of a run folder, in a child that goes on; return the exit code of each of both."""
    layout = JobLayout(Path(run_folder), kind)
    lock = os.open(layout.supervisor_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _is_first(layout, lock):
            return 0
    except (FormatError, OSError) as error:
        sys.stderr.write(" ".join(str(error).split()) + "\n")
        return 1
    reading, writing = os.pipe()
    if os.fork() != 0:
        os.close(writing)
        return 0 if os.read(reading, 1) else 1
    os.close(reading)
    try:
        supervisor = Supervisor(layout, expand=expand, make_kubelet=make_kubelet)
        signal.signal(signal.SIGTERM, supervisor.on_signal)
        signal.signal(signal.SIGINT, supervisor.on_signal)
        supervisor.claim()
    except (LaunchError, FormatError, OSError) as error:
        sys.stderr.write(" ".join(str(error).split()) + "\n")  # one line, which the submitter repeats
        return 1
    os.write(writing, b"1")
    os.close(writing)
    supervisor.run()
    return 0


def _is_first(layout: JobLayout, lock: int) -> bool:
    """Take the supervisor's lock; False once another supervisor has taken the job over."""
    while not _is_taken(layout):
        with contextlib.suppress(BlockingIOError):  # another one is starting now
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return not _is_taken(layout)
        time.sleep(_LOOK_S)
    return False


def _is_taken(layout: JobLayout) -> bool:
    """Say whether the supervisor that is asked for, or a later one, has the job."""
    record = load_job_record(layout.state)
    return record is not None and record.generation >= load_request(layout.request).generation
