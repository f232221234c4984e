"""Archives that the agent beside a volume sends: nothing is written outside of the folder."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

from launcher.volumes.agent import OFFSET, RefusedError, receive_files
from tests.fuzz.mutation import mutate

CONTENT = b"weights " * 300
WANTED = {
    name: {"size": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}
    for name in ("a/b.pdparams", "c")
}
NAMES = ["a/b.pdparams", "c", "../x", "/etc/x", "a/../../x", "a", "c/d", ".c.ftlaunch-part", "a\0b", "c\n"]
KINDS = [
    tarfile.REGTYPE,
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.FIFOTYPE,
    tarfile.DIRTYPE,
    tarfile.CHRTYPE,
    b"S",
]


def archive(rng: random.Random) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as file:
        for _ in range(rng.randrange(1, 4)):
            member = tarfile.TarInfo(rng.choice(NAMES[:2]) if rng.random() < 0.6 else rng.choice(NAMES))
            if rng.random() < 0.25:
                member.type, member.linkname = (
                    rng.choice(KINDS),
                    rng.choice(["../outside", "/etc/passwd", "c"]),
                )
            body = CONTENT if rng.random() < 0.7 else rng.randbytes(rng.randrange(3000))
            member.size = len(body) if member.isreg() else 0
            member.pax_headers = {OFFSET: rng.choice(["0", "0", "0", "5", "-1", "x", "9" * 400])}
            file.addfile(member, io.BytesIO(body))
    return out.getvalue()


def everything_below(folder: Path) -> set[str]:
    return {
        str(Path(where, name).relative_to(folder)) for where, _, names in os.walk(folder) for name in names
    }


def test_no_archive_writes_outside_of_its_folder_or_something_that_was_not_wanted(
    tmp_path: Path, rng: random.Random, rounds: Callable[[int], int]
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    arrived = 0
    for number in range(rounds(200)):
        root = tmp_path / f"root{number % 5}"
        root.mkdir(exist_ok=True)
        data = archive(rng)
        if rng.random() < 0.5:
            data = mutate(data, rng, [data])
        with contextlib.suppress(RefusedError, OSError):
            arrived += len(list(receive_files(root, WANTED, io.BytesIO(data))))
        for path in WANTED:
            if (root / path).exists():
                assert (root / path).read_bytes() == CONTENT
                (root / path).unlink()
        assert everything_below(root) <= {".c.ftlaunch-part", "a/.b.pdparams.ftlaunch-part"}
        assert outside.read_text() == "mine"
        assert {entry.name for entry in tmp_path.iterdir()} <= {
            "outside",
            *(f"root{index}" for index in range(5)),
        }
    assert arrived > 0  # else nothing but noise was tried
