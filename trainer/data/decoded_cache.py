"""`loader.cache`: keeps images once that was done with them which is the same each time: decoding, mostly.

One folder a list and node, in memory (/dev/shm) or on a disk, shared by all ranks and reader processes, which
need to know nothing of each other. A file an image:

    lock                                held (flock, shared) by each training process that uses the folder
    used                                int64: bytes of all images, counted before each is written (flock)
    open                                is there from the first opening to the last orderly close
    counts/<process>                    int64 each: images from here, bytes of these, images decoded
    <operations>/<2 digits>/<name>      64 bytes of header, then the pixels

An image's name is a hash of its path and of the operations that made it, so everybody finds it without an
index. It is written under another name and renamed, so a file that is there is whole. Its header says which
size, time and inode the image file had: if one of them is another one now, the image is decoded again and
takes the old one's place. After a crash of the machine a file on a disk may be there without its content; so
images of another boot are read with their checksum, once, and their header gets this boot's id.

Nothing is ever thrown out to make room: an epoch reads each image once, and of such a circle a cache that
replaces the oldest would always lose what it needs next. Once it is full it stays as it is. What others have
left behind, who were killed, is removed by the next who opens a folder beside it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import mmap
import os
import shutil
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import PIL

from trainer.config.ops import ImageOp
from trainer.data.ops.registry import Pixels
from trainer.protocol.safe_files import UnsafePathError, make_private_folder

_HEADER = struct.Struct("<8s3I3q16sI")  # magic; height, width, channels; size, time, inode; boot; checksum
_MAGIC = b"ftldec01"
_START = 64
_COUNTS = 3
_BOOT_AT = struct.calcsize("<8s3I3q")
_SHARE = 0.4  # of what is free, for each of two lists: the rest is for the training itself
_SHM = Path("/dev/shm")  # noqa: S108 - what is made there is private
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW

Kind = Literal["memory", "disk"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CachePlan:
    """Where the images of a list are kept; handed to reader processes.

    Attributes:
        kind: `memory`, which ends with the last training that uses it, or `disk`, which stays.
        base: The user's folder for all lists.
        folder: Below it, of this list.
        limit_bytes: What all its images may take.
        max_pixels: Of an image; part of what an image depends on.
    """

    kind: Kind
    base: Path
    folder: Path
    limit_bytes: int
    max_pixels: int


def plan_cache(
    kind: Kind, *, source: str, max_pixels: int, size_bytes: int | None = None, disk_folder: Path,
    training: bool = True,
) -> CachePlan:  # fmt: skip
    """Decide where and how much, without making anything.

    Args:
        kind: Memory or disk.
        source: The list file.
        max_pixels: Images that claim more are bad.
        size_bytes: None for two fifths of what is free: on the disk, or in /dev/shm and the pod's memory.
        disk_folder: Where `disk` keeps them; made private.
        training: Or an evaluation, which may read the same list in another way: each has a folder.
    """
    uid = os.getuid()
    base = _SHM / f"ftlaunch-{uid}" / "decoded" if kind == "memory" else disk_folder
    folder = base / _digest(f"{os.path.realpath(source)} {'training' if training else 'evaluation'}")
    if size_bytes is None:
        size_bytes = int(_SHARE * _free_bytes(_SHM if kind == "memory" else disk_folder, kind))
        with contextlib.suppress(OSError, ValueError, struct.error):
            size_bytes += _used_bytes(folder)  # which is not free because it is there already
    return CachePlan(kind=kind, base=base, folder=folder, limit_bytes=size_bytes, max_pixels=max_pixels)


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheUse:
    """What a cache did, of all processes of the node.

    Attributes:
        hits: Images that came from it.
        hit_bytes: Of their pixels.
        misses: Images that were decoded.
        kept_bytes: What is in it now.
    """

    hits: int
    hit_bytes: int
    misses: int
    kept_bytes: int


def describe_failure(plan: CachePlan, error: OSError) -> str:
    """Say why there can be no folder for a cache.

    What stands in its place may be the user's own, who meant another folder: nothing is to be removed.
    """
    if isinstance(error, UnsafePathError):
        return (
            f"loader.cache: {error.where}: expected {error.expected}, got {error.got}; set loader.cache_dir "
            "to a folder that is yours alone, or that is not there yet"
        )
    reason = (error.strerror or str(error)).lower()
    return (
        f"loader.cache: {plan.folder}: expected a folder that can be made, got: {reason}; "
        "set loader.cache_dir, or remove loader.cache"
    )


class CacheFolder:
    """A training process's hold on the folder: it is there as long as one such process uses it."""

    def __init__(self, plan: CachePlan, ops: Sequence[ImageOp]) -> None:
        """Nothing is made yet; `ops` are those of the images that are kept."""
        self.plan = plan
        self._generation = _generation(ops, plan)
        self._lock: int | None = None
        self._before = CacheUse(hits=0, hit_bytes=0, misses=0, kept_bytes=0)

    @property
    def is_open(self) -> bool:
        """Whether `open` was called and `close` was not."""
        return self._lock is not None

    def open(self) -> str:
        """Make the folder or join those who use it; returns a sentence about it.

        Raises:
            UnsafePathError: There is somebody else's.
            OSError: It cannot be made.
        """
        plan = self.plan
        if plan.kind == "memory":
            make_private_folder(plan.base.parent)
        make_private_folder(plan.base)
        if plan.kind == "memory":
            self._remove_orphans()
        while self._lock is None:
            make_private_folder(plan.folder)
            with contextlib.suppress(FileNotFoundError):  # its last user has just removed it
                self._lock = self._join()  # or None, which is the same
        kept = _used_bytes(plan.folder)
        self._before = read_use(plan.folder)
        already = f", {format_bytes(kept)} of it filled" if kept else ""
        ends = "removed at the end" if plan.kind == "memory" else "kept for the next training"
        return (
            f"cache: {plan.kind}: decoded images in {plan.folder}, at most {format_bytes(plan.limit_bytes)}"
            f"{already}; {ends}"
        )

    def take_use(self) -> CacheUse:
        """Return what all processes of the node did since the last time."""
        now, before = read_use(self.plan.folder), self._before
        self._before = now
        return CacheUse(
            hits=max(0, now.hits - before.hits), hit_bytes=max(0, now.hit_bytes - before.hit_bytes),
            misses=max(0, now.misses - before.misses), kept_bytes=now.kept_bytes,
        )  # fmt: skip

    def close(self) -> None:
        """Let go of the folder; the last one removes what is in memory."""
        lock, self._lock = self._lock, None
        if lock is None:
            return
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self.plan.kind == "memory":
                shutil.rmtree(self.plan.folder, ignore_errors=True)
            else:
                shutil.rmtree(self.plan.folder / "counts", ignore_errors=True)
                (self.plan.folder / "open").unlink(missing_ok=True)
        os.close(lock)

    def _join(self) -> int | None:
        """Lock the folder as one of its users; None where it has just been removed.

        Who is the only one puts it in order first.
        """
        folder = self.plan.folder
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                fcntl.flock(lock, fcntl.LOCK_SH)
            else:
                if _is_there(lock, folder / "lock"):
                    self._put_in_order()
                fcntl.flock(lock, fcntl.LOCK_SH)
            if _is_there(lock, folder / "lock"):
                return lock
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)
        return None

    def _put_in_order(self) -> None:
        """Remove images of other operations, and count anew what users who were killed have left."""
        folder = self.plan.folder
        others = [
            path
            for path in folder.iterdir()
            if path.is_dir() and path.name not in ("counts", self._generation)
        ]
        for path in others:
            shutil.rmtree(path, ignore_errors=True)
        shutil.rmtree(folder / "counts", ignore_errors=True)
        (folder / "counts").mkdir(mode=0o700)
        if others or (folder / "open").exists() or not (folder / "used").exists():
            _write_used(folder, _recount(folder / self._generation))
        (folder / "open").touch(mode=0o600)

    def _remove_orphans(self) -> None:
        """Remove the folders of other lists that nobody uses: their users were killed."""
        for path in self.plan.base.iterdir():
            if path == self.plan.folder:
                continue
            with contextlib.suppress(OSError):
                lock = os.open(path / "lock", os.O_RDWR | os.O_CLOEXEC)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
                finally:
                    os.close(lock)


class DecodedCache:
    """One process's reading and writing; it is opened by its first call, in whatever process that is."""

    def __init__(self, plan: CachePlan, ops: Sequence[ImageOp]) -> None:
        """`ops`: of the transform of which no size or stage was asked for."""
        self._plan = plan
        self._root = plan.folder / _generation(ops, plan)
        self._process = 0
        self._full = False
        self._boot = _boot_id()
        self._counts: mmap.mmap | None = None
        self._added = [0] * _COUNTS

    def key(self, ops: Sequence[ImageOp]) -> bytes:
        """Return what stands for operations, all of which make the same each time, in the calls below."""
        return _generation(ops, self._plan).encode() + b"\0"

    def find(self, path: str, key: bytes) -> Pixels | None:
        """Return what operations make of an image file as it is now, read-only; None where it is not here."""
        try:
            mark = _mark(path)
            found = self._read(self._place(path, key), mark)
        except (OSError, ValueError, struct.error):
            return None
        if found is not None:
            self._count(1, found.nbytes, 0)
        return found

    def keep(self, path: str, key: bytes, image: Pixels) -> None:
        """Keep what operations made of an image file, where there is room; a full disk is no error."""
        self._count(0, 0, 1)
        if self._full or image.dtype != np.uint8 or image.ndim != 3:
            return
        try:
            self._write(self._place(path, key), _mark(path), np.ascontiguousarray(image))
        except OSError:
            self._full = True

    def _read(self, place: str, mark: tuple[int, int, int]) -> Pixels | None:
        descriptor = os.open(place, _READ)
        try:
            memory = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        finally:
            os.close(descriptor)
        magic, height, width, channels, *rest = _HEADER.unpack_from(memory)
        *marked, boot, checksum = rest
        if magic != _MAGIC or tuple(marked) != mark or len(memory) != _START + height * width * channels:
            return None
        image = np.frombuffer(memory, dtype=np.uint8, offset=_START).reshape(height, width, channels)
        if self._plan.kind == "disk" and boot != self._boot:
            if zlib.crc32(image.data) != checksum:
                return None
            with open(place, "r+b") as file:  # noqa: PTH123
                file.seek(_BOOT_AT)
                file.write(self._boot)
        return image

    def _write(self, name: str, mark: tuple[int, int, int], image: Pixels) -> None:
        place = Path(name)
        old = 0
        with contextlib.suppress(OSError):
            old = place.stat().st_size
        if not _reserve(self._plan, _START + image.nbytes - old):
            self._full = True
            return
        checksum = zlib.crc32(image.data) if self._plan.kind == "disk" else 0
        header = _HEADER.pack(_MAGIC, *image.shape, *mark, self._boot, checksum).ljust(_START, b"\0")
        partial = place.with_name(f".{place.name}.{os.getpid()}")
        try:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123
                file.write(header)
                file.write(image.data)
            partial.rename(place)
        except OSError:
            partial.unlink(missing_ok=True)
            raise

    def _place(self, path: str, key: bytes) -> str:
        name = hashlib.blake2b(key + os.fsencode(path), digest_size=16).hexdigest()
        return f"{self._root}/{name[:2]}/{name}"

    def _count(self, *numbers: int) -> None:
        """Add to this process's counts, which live in a file that nobody else writes."""
        if self._process != os.getpid():  # a fork would count in its parent's file
            self._process, self._counts, self._added = os.getpid(), None, [0] * _COUNTS
            with contextlib.suppress(OSError):
                path = self._plan.folder / "counts" / f"{os.getpid()}-{os.urandom(4).hex()}"
                with open(path, "x+b") as file:  # noqa: PTH123
                    file.truncate(8 * _COUNTS)
                    self._counts = mmap.mmap(file.fileno(), 8 * _COUNTS)
        self._added = [before + more for before, more in zip(self._added, numbers, strict=True)]
        if self._counts is not None:
            struct.pack_into(f"<{_COUNTS}q", self._counts, 0, *self._added)


def read_use(folder: Path) -> CacheUse:
    """Add up what the processes that use a folder have counted; zeros where it is gone."""
    sums = [0] * _COUNTS
    with contextlib.suppress(OSError):
        for path in (folder / "counts").iterdir():
            with contextlib.suppress(OSError, struct.error):
                numbers = struct.unpack(f"<{_COUNTS}q", path.read_bytes())
                sums = [one + other for one, other in zip(sums, numbers, strict=True)]
    kept = 0
    with contextlib.suppress(OSError, struct.error):
        kept = _used_bytes(folder)
    return CacheUse(hits=sums[0], hit_bytes=sums[1], misses=sums[2], kept_bytes=kept)


def describe_use(plan: CachePlan, use: CacheUse) -> str:
    """Say what a cache did in an epoch."""
    total = use.hits + use.misses
    full = ", which is all it may take" if use.misses and use.kept_bytes > 0.97 * plan.limit_bytes else ""
    return (
        f"cache: {plan.kind}: {use.hits:,} of {total:,} images from it ({format_bytes(use.hit_bytes)}), "
        f"{use.misses:,} decoded; it holds {format_bytes(use.kept_bytes)} of at most "
        f"{format_bytes(plan.limit_bytes)}{full}"
    )


def format_bytes(count: int) -> str:
    """Say an amount of memory with three digits."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(amount) < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def _is_there(lock: int, path: Path) -> bool:
    return path.exists() and os.fstat(lock).st_ino == path.stat().st_ino


def _generation(ops: Sequence[ImageOp], plan: CachePlan) -> str:
    """Name what images of these operations depend on besides their files."""
    said = [f"{type(op).__name__} {op.model_dump_json()}" for op in ops]
    return _digest("\n".join([*said, cv2.__version__, PIL.__version__, str(plan.max_pixels)]))


def _digest(text: str) -> str:
    return hashlib.blake2b(os.fsencode(text), digest_size=8).hexdigest()


def _mark(path: str) -> tuple[int, int, int]:
    found = os.stat(path)  # noqa: PTH116 - asked for each image; a Path costs as much again
    return found.st_size, found.st_mtime_ns, ctypes.c_int64(found.st_ino).value


def _boot_id() -> bytes:
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        text = ""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _used_bytes(folder: Path) -> int:
    (count,) = struct.unpack("<q", (folder / "used").read_bytes())
    return int(count)


def _write_used(folder: Path, count: int) -> None:
    (folder / "used").write_bytes(struct.pack("<q", count))


def _reserve(plan: CachePlan, count: int) -> bool:
    """Count bytes that are about to be written; False where there is no room for them."""
    with _locked(plan.folder / "used") as descriptor:
        (used,) = struct.unpack("<q", os.pread(descriptor, 8, 0).ljust(8, b"\0"))
        if used + count > plan.limit_bytes:
            return False
        os.pwrite(descriptor, struct.pack("<q", used + count), 0)
        return True


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _recount(root: Path) -> int:
    """Add up the images of a folder, and remove what was being written when its writer was killed."""
    total = 0
    for here, _, names in os.walk(root):
        for name in names:
            path = Path(here, name)
            if name.startswith("."):
                path.unlink(missing_ok=True)
            else:
                total += path.stat().st_size
    return total


def _free_bytes(folder: Path, kind: Kind) -> int:
    """Return what is free where a folder is or will be; memory also within the limits of the pod."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    return min([free, *_memory_left()]) if kind == "memory" else free


def _memory_left() -> Iterator[int]:
    """Yield what the limits of this machine and of the process's group leave (cgroup v2, then v1)."""
    groups = Path("/sys/fs/cgroup")
    pairs = (
        (groups / "memory.max", groups / "memory.current"),
        (groups / "memory/memory.limit_in_bytes", groups / "memory/memory.usage_in_bytes"),
    )
    for limit, current in pairs:
        with contextlib.suppress(OSError, ValueError):  # no such file, or `max`
            yield max(0, int(limit.read_text()) - int(current.read_text()))
    with contextlib.suppress(OSError, ValueError):
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        line = next((line for line in text.splitlines() if line.startswith("MemAvailable:")), "")
        yield int(line.split()[1]) * 1024 if line else 1 << 62
