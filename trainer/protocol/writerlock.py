"""`<output_dir>/.ftlaunch/writer.lock`: at most one run writes to an output folder at a time.

How: the owner's heartbeat is written into the file, by replacing it. Whoever wants the lock reads it, and
takes it where nobody is in it, the same run is, or the heartbeat is older than `STALE_AFTER_S`. Two that
take a stale lock in the same instant both write, and the later one wins; the other one finds another owner
at its next heartbeat, and stops. Closing that gap
takes a compare-and-swap, which network file systems do not have.

A lease, not a kernel lock: output folders lie on network volumes, where flock is not to be trusted and
where the owner may be a pod that no longer exists. The owner renews its heartbeat; a lock whose heartbeat is
older than `STALE_AFTER_S` belongs to nobody. A process of the same run takes it over at once, because a pod
that comes back must not wait for its earlier life, which notices at its next heartbeat.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass, replace
from pathlib import Path

from trainer.protocol.codec import Count, FormatError, UnixTime, decode, encode
from trainer.protocol.errors import TrainerError
from trainer.protocol.exits import Exit
from trainer.protocol.safe_files import make_folders, read_file, remove, replace_file

SCHEMA = 1
STALE_AFTER_S = 60.0
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
LOCK = "writer.lock"
_MAX_BYTES = 1 << 16
_WHAT = LOCK


class WriterLockedError(TrainerError):
    """Another run writes to the folder now. The message names it."""

    exit_code = Exit.CONFIG


class LockLostError(TrainerError):
    """The lock that this process held is another's now."""

    exit_code = Exit.CHECKPOINT


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """Who writes to an output folder.

    Attributes:
        run_id: 32 hexadecimal digits.
        host: Name of its machine or pod.
        pid: Process id there.
        boot_id: The kernel's boot id there; with host and pid it names one process.
        start_s: Unix time at which it took the lock.
        heartbeat_s: Unix time of its last sign of life.
    """

    run_id: str
    host: str
    pid: Count
    boot_id: str
    start_s: UnixTime
    heartbeat_s: UnixTime

    def is_live(self, now_s: float) -> bool:
        """Say whether the heartbeat is fresh; a clock that runs ahead by as much counts as fresh too."""
        return abs(now_s - self.heartbeat_s) <= STALE_AFTER_S

    def is_same_holder(self, other: Owner) -> bool:
        """Say whether both are one process' one holding of the lock, whatever its heartbeats."""
        return replace(self, heartbeat_s=0.0) == replace(other, heartbeat_s=0.0)


def describe_self(*, run_id: str, now_s: float) -> Owner:
    """Return this process as an owner that takes the lock now."""
    try:
        boot_id = BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:  # some sandboxes hide it; it only makes the owner easier to find
        boot_id = ""
    return Owner(
        run_id=run_id, host=socket.gethostname(), pid=os.getpid(), boot_id=boot_id,
        start_s=now_s, heartbeat_s=now_s,
    )  # fmt: skip


def load_owner(path: Path) -> Owner | None:
    """Read a lock file; None where there is none.

    Raises:
        FormatError: It is broken.
        OSError: It cannot be read.
    """
    try:
        text = read_file(path, max_bytes=_MAX_BYTES, root=_root(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    return decode(Owner, text, where=_WHAT)


def refuse_other_writer(path: Path, *, run_id: str, now_s: float) -> None:
    """Do nothing unless another run holds the lock and lives.

    Raises:
        WriterLockedError: It does.
        OSError: The lock cannot be read.
    """
    try:
        owner = load_owner(path)
    except FormatError:  # a writer that died half-way through a non-atomic file system: nobody's
        return
    if owner is not None and owner.run_id != run_id and owner.is_live(now_s):
        raise WriterLockedError(
            where=path.parent.parent,
            expected="no other writer",
            got=f"run {owner.run_id} on {owner.host} (pid {owner.pid}, "
            f"heard of {max(0.0, now_s - owner.heartbeat_s):.0f} s ago)",
            fix="stop it or choose another Global.output_dir",
        )


class WriterLock:
    """A held lock. `beat` must be called well within `STALE_AFTER_S`."""

    def __init__(self, path: Path, owner: Owner) -> None:
        self._path = path
        self._owner = owner

    @classmethod
    def acquire(cls, path: Path, owner: Owner) -> WriterLock:
        """Take the lock: a free one, a stale one, or one of the same run.

        Raises:
            WriterLockedError: Another run holds it and lives.
            OSError: The folder cannot be written.
        """
        refuse_other_writer(path, run_id=owner.run_id, now_s=owner.start_s)
        make_folders(path.parent, root=_root(path))
        lock = cls(path, owner)
        lock._save()
        return lock

    def beat(self, now_s: float) -> None:
        """Renew the heartbeat.

        Raises:
            LockLostError: The lock has another holder by now.
            OSError: It cannot be read or written.
        """
        self._require_ours()  # read before it is written: else two holders would go on replacing each other
        self._owner = replace(self._owner, heartbeat_s=now_s)
        self._save()

    def release(self) -> None:
        """Give the lock back; one that is another's by now is left alone."""
        try:
            self._require_ours()
        except LockLostError:
            return
        remove(self._path, root=_root(self._path))

    def _require_ours(self) -> None:
        try:
            owner = load_owner(self._path)
        except FormatError:  # somebody else writes there who is none of ours
            owner = None
        if owner is None or not owner.is_same_holder(self._owner):
            holder = f"run {owner.run_id} on {owner.host} (pid {owner.pid})" if owner else "nobody"
            raise LockLostError(
                where=self._path,
                expected="to hold the writer lock",
                got=f"{holder} as its holder",
                fix="stop the other one, or give each an output folder of its own",
            )

    def _save(self) -> None:
        partial = self._path.with_name(f"{self._path.name}.{self._owner.host}.{self._owner.pid}.tmp")
        data = json.dumps(encode(self._owner, schema=SCHEMA)).encode()
        replace_file(self._path, data, partial=partial, root=_root(self._path))


def _root(lock: Path) -> Path:
    return lock.parent.parent  # the output folder: what is below it may have been put there by others
