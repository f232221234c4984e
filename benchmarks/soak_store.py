"""Stops the store at every one of its system calls: `python -m benchmarks.soak_store`.

A child process carries out a save as the writer does (`trainer.checkpoints.writer.carry_out`), and is stopped
at its n-th call that changes something, for each n until it gets through. How it is stopped:

    kill    SIGKILL before the call
    cut     a write gets half of its bytes out, then SIGKILL
    power   as kill, and what was not synced is lost: files are emptied, names of folders are as before
    full    this call, and all later ones that need room, find the disk full (ENOSPC)
    quota, read-only, stale, denied   as full, with EDQUOT, EROFS, ESTALE, EACCES

What is saved over: an empty folder, older checkpoints that are pruned, a torn one of the same name, and a
whole one. After each stop every folder with a checkpoint's name has to be whole, the latest has to be the one
before or the new one, and a further save has to get through. As root, a small file system in memory is filled
to each page besides, so that the system itself refuses.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainer.checkpoints.contents import Contents, OptimizerState
from trainer.checkpoints.pdfiles import read_pdfile
from trainer.checkpoints.state import SamplerState, TrainState
from trainer.checkpoints.store import CheckpointStore, TornCheckpointError
from trainer.checkpoints.writer import Order, carry_out, give_names
from trainer.protocol.layout import CheckpointName, Keep, Manifest, OutputLayout, parse_checkpoint_name

RUN_ID = "0123456789abcdef" * 2
ERRORS = {
    "full": errno.ENOSPC, "quota": errno.EDQUOT, "read-only": errno.EROFS, "stale": errno.ESTALE,
    "denied": errno.EACCES,
}  # fmt: skip
WAYS = ("kill", "cut", "power", *ERRORS)
_CALLS = ("mkdir", "rename", "replace", "link", "unlink", "rmdir", "fsync", "open")
_REFUSED = 3


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What a save finds."""

    name: str
    prepare: Callable[[Path], None]
    step: int = 40

    @property
    def saved(self) -> CheckpointName:
        """What the child saves."""
        return CheckpointName(self.step // 10, self.step)


def order(folder: Path, step: int, *, best: bool = False) -> Order:
    """Make a small checkpoint of two optimizers and an average, whose content tells its step."""
    values = np.full(3000, step, dtype=np.float32)
    epoch = step // 10
    state = TrainState(
        run_id=RUN_ID, epoch=epoch, step=step, metric=step / 100,
        sampler=SamplerState(epoch=epoch, world_size=1, cursor=0),
    )  # fmt: skip
    return Order(
        output_dir=folder,
        contents=Contents(
            weights={"fc.weight": values}, automatic_names={"fc.weight": "linear_0.w_0"},
            optimizers=[OptimizerState(arrays={"linear_0.w_0_velocity_0": values}, learning_rate=0.1)] * 2,
            state=state, average={"fc.weight": values + 1}, settings={"Global.epochs": 9},
        ),
        about=Manifest(
            run_id=RUN_ID, files={}, metric=step / 100, ends_epoch=True, keep=Keep(latest=2),
            names=("latest", *(["best_model", f"epoch_{epoch}"] if best else [])),
        ),
    )  # fmt: skip


def _save_older(folder: Path) -> None:
    for step in (10, 20, 30):
        carry_out(order(folder, step, best=step == 20))


def _leave_torn(folder: Path) -> None:
    _save_older(folder)
    torn = carry_out(order(folder, 40))
    (torn.folder / "model.pdparams").write_bytes(b"half")
    OutputLayout(folder).pointer.write_text(f"{CheckpointName(3, 30)}\n")


def _save_same(folder: Path) -> None:
    _save_older(folder)
    carry_out(order(folder, 40, best=True))


SCENES = (
    Scene(name="an empty folder", prepare=lambda _: None),
    Scene(name="older ones", prepare=_save_older),
    Scene(name="a torn one", prepare=_leave_torn),
    Scene(name="the same one", prepare=_save_same),
)


class _Seam:
    """Counts the calls of this process that change something, and stops it at one of them."""

    def __init__(self, folder: Path, *, way: str, at: int) -> None:
        self._folder, self._way, self._left = folder, way, at
        self._unsynced: set[int] = set()
        self._moved: list[tuple[Path, Path]] = []
        self._real = {name: getattr(os, name) for name in _CALLS}
        self._fdopen = os.fdopen

    def install(self) -> None:
        """Replace what the store calls."""
        for name in _CALLS:
            setattr(os, name, self._counting(name))
        os.fdopen = self._open_counted  # type: ignore[assignment]

    def before(self, call: str, *, data: bytes | memoryview = b"", file: int = -1) -> None:
        """Count a call; stop here when it is the one."""
        self._left -= 1
        if self._left >= 0:
            return
        if self._way in ERRORS:
            if call not in ("fsync", "unlink", "rmdir") or self._way in ("stale", "read-only"):
                raise OSError(ERRORS[self._way], os.strerror(ERRORS[self._way]))
            return
        if self._way == "cut" and data:
            os.write(file, bytes(data)[: len(data) // 2])
        if self._way == "power":
            self._lose()
        os.kill(os.getpid(), signal.SIGKILL)

    def wrote(self, file: int) -> None:
        """Note that a file has content that a power cut takes."""
        self._unsynced.add(os.fstat(file).st_ino)

    def _lose(self) -> None:
        for path in sorted(self._folder.rglob("*")):
            if path.is_file() and path.stat().st_ino in self._unsynced:
                os.truncate(path, 0)
        for old, new in reversed(self._moved):
            if new.is_dir() and not old.exists():
                self._real["rename"](new, old)

    def _counting(self, name: str) -> Callable[..., Any]:
        real = self._real[name]

        def call(*args: Any, **kwargs: Any) -> Any:
            if name == "open" and not args[1] & os.O_CREAT:
                return real(*args, **kwargs)
            self.before(name)
            done = real(*args, **kwargs)
            if name == "fsync":
                found = os.fstat(args[0])
                self._unsynced.discard(found.st_ino)
                self._moved = [pair for pair in self._moved if pair[1].parent.stat().st_ino != found.st_ino]
            elif name in ("rename", "replace") and "dst_dir_fd" in kwargs:
                folders = (kwargs["src_dir_fd"], kwargs["dst_dir_fd"])
                old, new = (Path(f"/proc/self/fd/{folder}").readlink() for folder in folders)
                self._moved.append((old / args[0], new / args[1]))
            return done

        return call

    def _open_counted(self, file: int, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if mode not in ("wb", "w+b"):
            return self._fdopen(file, mode, *args, **kwargs)
        raw = _CountedFile(file, mode.replace("b", ""))
        raw.seam = self
        return io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)


class _CountedFile(io.FileIO):
    seam: _Seam

    def write(self, data: Any) -> int:
        self.seam.before("write", data=data, file=self.fileno())
        self.seam.wrote(self.fileno())
        return super().write(data)


def stop_once(scene: Scene, folder: Path, *, way: str, at: int) -> str:
    """Save in a child that is stopped at its call `at`; return `through`, `killed` or `refused`."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _Seam(folder, way=way, at=at).install()
            carry_out(order(folder, scene.step, best=True))
            code = 0
        except OSError as error:
            code = _REFUSED if error.errno == ERRORS.get(way) else 1
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return {0: "through", _REFUSED: "refused", -signal.SIGKILL: "killed"}.get(code, f"exit {code}")


def find_faults(scene: Scene, folder: Path, before: CheckpointName | None, ended: str) -> list[str]:
    """Name what is not as it has to be after a stop; then save once more, which has to get through."""
    faults = [] if ended in ("through", "killed", "refused") else [f"it ended by {ended}"]
    store, layout = CheckpointStore(OutputLayout(folder)), OutputLayout(folder)
    spared = scene.name == "a torn one"
    faults += _find_torn(layout, spared=spared)
    latest = store.latest()
    name = latest.name if latest is not None else None
    allowed = {scene.saved} if ended == "through" else {before, scene.saved}
    if name not in allowed:
        faults.append(f"the latest is {name}")
    best = store.best()
    if before is not None and (best is None or best.name not in (CheckpointName(2, 20), scene.saved)):
        faults.append(f"the best is {best}")
    if latest is not None:  # as a run does that goes on from it
        give_names(latest, folder, store.manifests()[latest.name].names)
        faults += _find_mixed(folder)
    further = carry_out(order(folder, scene.step + 10, best=True))
    held = store.manifests()
    if store.latest() != further or store.best() != further or not 1 <= len(held) <= 2 + spared:
        faults.append(f"a further save left {sorted(map(str, held))}")
    faults += [*_find_torn(layout, spared=spared), *_find_mixed(folder)]
    left = [path.name for path in folder.rglob("*.tmp")]
    return faults + ([f"left over: {left}"] if left else [])


def _find_mixed(folder: Path) -> list[str]:
    """Name PaddleClas's names where that is not one checkpoint, or another one than is meant."""
    store, mixed = CheckpointStore(OutputLayout(folder)), []
    steps: dict[str, set[float]] = {}
    for path in folder.glob("*.pd*"):
        if path.suffix == ".tmp":
            continue
        found = read_pdfile(path)
        of = {
            ".pdparams": lambda table: table["fc.weight"][0] - 1,
            ".pdema": lambda table: table["fc.weight"][0],
            ".pdopt": lambda tables: tables[0]["linear_0.w_0_velocity_0"][1][0],
            ".pdstates": lambda table: table["epoch"] * 10,
        }[path.suffix]
        steps.setdefault(path.stem, set()).add(float(of(found)))
    for name, chosen in (("latest", store.latest()), ("best_model", store.best())):
        if chosen is not None:
            mixed += [f"{name} is of {steps.get(name)}"] if steps.get(name) != {chosen.name.step} else []
    mixed += [f"{name} is of {of}" for name, of in steps.items() if len(of) > 1]
    return mixed


def _find_torn(layout: OutputLayout, *, spared: bool) -> list[str]:
    torn = []
    entries = layout.checkpoints_dir.iterdir() if layout.checkpoints_dir.is_dir() else ()
    for entry in entries:
        name = parse_checkpoint_name(entry.name)
        if name is None or (spared and name == CheckpointName(4, 40)):
            continue
        try:
            CheckpointStore(layout).verify(name)
        except TornCheckpointError as error:
            torn.append(f"torn: {error}")
    return torn


def stop_everywhere(
    scene: Scene, folder: Path, *, way: str, every: int = 1
) -> Iterator[tuple[int, list[str]]]:
    """Stop a save at each call, or each `every`th one; yields the call and what was wrong then."""
    base = folder / "base"
    base.mkdir(parents=True)
    scene.prepare(base)
    latest = CheckpointStore(OutputLayout(base)).latest()
    at = 0
    while True:
        place = folder / f"at{at}"
        shutil.copytree(base, place)
        ended = stop_once(scene, place, way=way, at=at)
        faults = find_faults(scene, place, latest.name if latest is not None else None, ended)
        yield at, faults
        if not faults:
            shutil.rmtree(place)
        if ended == "through":
            return
        at += every


def fill_everywhere(folder: Path) -> Iterator[tuple[int, list[str]]]:
    """Save onto a real file system with ever more free pages, until a save fits; needs root."""
    scene, pages = SCENES[1], 0
    while True:
        with _mounted(folder / "full") as place:
            scene.prepare(place)
            latest = CheckpointStore(OutputLayout(place)).latest()
            assert latest is not None
            filler = place / "filler"
            _fill(filler, leave=pages * 4096)
            ended = stop_once(scene, place, way="full", at=1 << 30)
            filler.unlink()
            yield pages, find_faults(scene, place, latest.name, ended)
        if ended == "through":
            return
        pages += 1


@contextlib.contextmanager
def _mounted(folder: Path) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _fill(path: Path, *, leave: int) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    with contextlib.suppress(OSError):
        while os.write(file, bytes(4096)):
            pass
    os.truncate(path, max(0, path.stat().st_size - leave))
    os.close(file)


def can_mount(folder: Path) -> bool:
    """Whether file systems may be mounted here."""
    try:
        with _mounted(folder / "tried"):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def memory() -> str | None:
    """Return where files are in memory, so that thousands of syncs cost nothing; None where nowhere."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def soak(folder: Path, *, every: int = 1, say: Callable[[str], None] = print) -> tuple[int, int]:
    """Stop saves everywhere; return how many stops there were, and how many left something wrong."""
    stops: Counter[str] = Counter()
    failed = 0
    for way in WAYS:
        for index, scene in enumerate(SCENES):
            for at, faults in stop_everywhere(scene, folder / f"{way}{index}", way=way, every=every):
                stops[way] += 1
                failed += bool(faults)
                if faults:
                    say(f"{way} at call {at} over {scene.name}: {'; '.join(faults)}")
    if can_mount(folder):
        for pages, faults in fill_everywhere(folder):
            stops["a real full disk"] += 1
            failed += bool(faults)
            if faults:
                say(f"a disk with {pages} free pages: {'; '.join(faults)}")
    else:
        say("NOT RUN: a real full disk, because nothing may be mounted here; ENOSPC was put in instead")
    counts = ", ".join(f"{way} {count}" for way, count in stops.items())
    say(f"the store: {stops.total()} stops ({counts}), {failed} left something torn, lost or in the way")
    return stops.total(), failed


def main() -> int:
    """Run; 1 where a stop left something wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--every", type=int, default=1, help="stop at every so many calls only")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak-store-", dir=memory()))
    _, failed = soak(folder, every=asked.every)
    if not failed:
        shutil.rmtree(folder)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
