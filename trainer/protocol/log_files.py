"""Logs in the output folder: `.ftlaunch/logs/RUN.NODE.LIFE.PART.log`, in the kubelet's form.

A life is one start of a node process, which is one start of its pod's container: so these files and a
container's log can be told apart, or known to be the same, by times alone. LIFE and PART are nanoseconds of
Unix time: when the process began, and the time of the file's first line. Of a life's first file PART is
LIFE, so that a reader knows whether the beginning is there (files of 0.2.0 do not tell).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from trainer.protocol.progress import MARK

LOGS = "logs"
"""Below `.ftlaunch`."""
FILES = 5
"""A node's lines lie in so many files at most; when another one begins, the oldest goes."""
DEFAULT_BYTES = 50 * 2**20
"""Of a node: as much as a kubelet keeps of a container by default."""
BEGINS = MARK + b'{"log":"begins"}'
"""First line on standard output of a node process that writes such files, and in none of them.

A container's log that begins otherwise has lost its beginning. Hidden like a progress line."""
_RUN_DIGITS = 12
_NAME = re.compile(r"([0-9a-f]{12})\.(\d{1,6})\.(\d{19})\.(\d{19})\.log", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class LogFileName:
    """Name of a file; in the order of node and time.

    Attributes:
        node: Index of the node.
        life_ns: When its node process began.
        first_ns: Time of the first line; of a life's first file that of the life.
        run: First digits of the run id.
    """

    node: int
    life_ns: int
    first_ns: int
    run: str

    def __str__(self) -> str:
        return f"{self.run}.{self.node}.{self.life_ns:019d}.{self.first_ns:019d}.log"

    @property
    def begins_life(self) -> bool:
        """Whether nothing of its life was written before it."""
        return self.first_ns == self.life_ns

    def is_of(self, run_id: str) -> bool:
        """Say whether a run wrote it."""
        return self.run == short_run(run_id)


def short_run(run_id: str) -> str:
    """Return the digits of a run id that stand in a name."""
    return run_id[:_RUN_DIGITS]


def parse_name(name: str) -> LogFileName | None:
    """Read a name; None where it is of another form."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    return LogFileName(run=match[1], node=int(match[2]), life_ns=int(match[3]), first_ns=int(match[4]))
