"""Which process: a process id alone is reused, so start time and boot id go with it (proc(5))."""

from __future__ import annotations

import errno
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from trainer.protocol.codec import Count, Within
from trainer.protocol.writerlock import BOOT_ID

_MAX_PID = 2**31 - 1
_PARENT, _START_TIME = 1, 19  # fields 4 and 22 of /proc/PID/stat, counted behind the command's parenthesis


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessId:
    """One process of one boot of this machine.

    Attributes:
        start_ticks: Clock ticks from boot to its start.
        boot_id: The kernel's, new at every boot.
    """

    pid: Annotated[int, Within(1, _MAX_PID)]
    start_ticks: Count
    boot_id: str

    def is_running(self) -> bool:
        """Say whether exactly this process runs; a zombie does not."""
        fields = _stat(self.pid)
        return (
            fields is not None
            and int(fields[_START_TIME]) == self.start_ticks
            and fields[0] not in "ZX"
            and boot_id() == self.boot_id
        )

    def send(self, number: signal.Signals) -> bool:
        """Signal it if it runs; False where it does not. Nothing else is ever signalled."""
        try:
            pinned = os.pidfd_open(self.pid)  # the pid cannot change hands between the check and the signal
        except ProcessLookupError:
            return False
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.EPERM):
                raise
            pinned = -1  # an old kernel or a sandbox: check and signal in one breath
        try:
            if not self.is_running():
                return False
            if pinned < 0:
                os.kill(self.pid, number)
            else:
                signal.pidfd_send_signal(pinned, number)
        except ProcessLookupError:
            return False
        finally:
            if pinned >= 0:
                os.close(pinned)
        return True


def identify(pid: int) -> ProcessId:
    """Return the identity of a process that runs now.

    Raises:
        ProcessLookupError: There is none.
    """
    fields = _stat(pid)
    if fields is None:
        raise ProcessLookupError(pid)
    return ProcessId(pid=pid, start_ticks=int(fields[_START_TIME]), boot_id=boot_id())


def boot_id() -> str:
    """Return the id of this boot; empty where the kernel hides it."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def list_children(pid: int) -> tuple[int, ...]:
    """Return the children of a process, zombies included."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return tuple(
        child for child in pids if (fields := _stat(child)) is not None and int(fields[_PARENT]) == pid
    )


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()
