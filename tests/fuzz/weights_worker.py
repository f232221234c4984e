"""Reads mutated files of weights in one process: `weights_worker.py SEED COUNT FOLDER`.

Each mutant is a file of weights of some form with bytes changed, pieces cut out, doubled or put elsewhere,
and operations and names put in that an attacker would want. It must be read, or refused by `UnsafeFileError`,
within ten seconds and the memory that is promised, and nothing of it may run: an audit hook looks for that.
"""

from __future__ import annotations

import collections
import os
import pickle
import random
import resource
import signal
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np

from trainer.checkpoints.pdfiles import UnsafeFileError, read_arrays, read_pdfile, write_arrays
from trainer.checkpoints.pickles import OVERHEAD_BYTES
from trainer.checkpoints.safetensors import write_safetensors

FORBIDDEN = (
    "exec",
    "compile",
    "import",
    "os.",
    "subprocess.",
    "socket.",
    "ctypes.",
    "marshal.",
    "pickle.",
    "shutil.",
    "code.",
)
FRAGMENTS = [
    b"cposix\nsystem\n",
    b"cbuiltins\nexec\n",
    b"cnumpy\nndarray\n",
    b"cnumpy\ndtype\n",
    b"c_codecs\nencode\n",
    b"cnumpy.core.multiarray\nscalar\n",
    b"cnumpy.core.numeric\n_frombuffer\n",
    b"cbuiltins\ntuple\n",
    b"X\x02\0\0\0O8",
    b"U\x02O8",
    b"\x8c\x04true",
    b"(X\x04\0\0\0true\x85R",
    b"\x93",
    b"R",
    b"b",
    b"\x81",
    b"Q",
    b"\x97",
    b"\x98",
    b"(",
    b")",
    b"]",
    b"}",
    b"t",
    b"\x85",
    b"\x86",
    b"\x87",
    b"s",
    b"u",
    b"a",
    b"e",
    b"0",
    b"1",
    b"2",
    b"r\xff\xff\xff\x7f",
    b"j\xff\xff\xff\xff",
    b"\x8e" + b"\xff" * 8,
    b"\x96" + struct.pack("<Q", 1 << 33),
    b"B\xff\xff\xff\xff",
    b"\x8a\x08" + b"\xff" * 7 + b"\x7f",
    b"\x8b\xff\xff\xff\x7f",
    b"J\xff\xff\xff\xff",
    b"I" + b"9" * 5000 + b"\n",
    b")" + b"\x85" * 3000,
    b"]" * 3000,
    b"q\0h\0\x86" * 60,
    b"\x95" + b"\xff" * 8,
    b".",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b'"shape":[0,99999999999999]',
    b'"dtype":"F64"',
    b"[" * 200,
    b"-1",
    b"1e999",
]


class Sink:
    def __init__(self) -> None:
        self.data = b""

    def write(self, data: Any) -> int:
        self.data += bytes(data)
        return len(data)


def originals() -> list[tuple[str, bytes]]:
    rng = np.random.default_rng(1)
    arrays: dict[str, Any] = {
        "conv.weight": rng.standard_normal((4, 3, 3, 3)).astype("f4"),
        "bn._mean": np.zeros(8, "f4"),
        "step": np.array(5, "i8"),
        "flag": np.array([True, False]),
        "half": np.ones(3, "f2"),
        "big": np.ones(3, ">f4"),
        "long": rng.standard_normal(3000).astype("f4"),
        "none": np.zeros((0, 4), "f4"),
    }
    optimizer = [
        {
            "w_velocity_0": ("w_velocity_0", arrays["long"]),
            "master_weights": {"w": ("w", arrays["bn._mean"])},
            "LR_Scheduler": {"last_epoch": 3, "last_lr": 0.1, "w": [1, None, True, "x", 2.5, (1, 2)]},
        }
    ]
    states = {"metric": np.float64(0.5), "epoch": 3, "o": collections.OrderedDict(a=1)}
    sliced = {
        "w@@.0": arrays["bn._mean"],
        "w@@.1": arrays["bn._mean"],
        "UnpackBigParamInfor@@": {"w": {"OriginShape": (4, 4), "slices": ["w@@.0", "w@@.1"]}},
    }
    found = [
        ("a.pdparams", pickle.dumps(document, protocol=protocol))
        for protocol in (2, 3, 4, 5)
        for document in (arrays, optimizer, states, sliced)
    ]
    for name, fill in (
        ("a.safetensors", write_safetensors(arrays, {"a": "b"})),
        ("a.pdparams", write_arrays(arrays, {})),
    ):
        sink = Sink()
        fill(sink)  # type: ignore[arg-type]
        found.append((name, sink.data))
    return found


def mutate(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6, 20))):
        at = (
            rng.randrange(len(changed) + 1)
            if rng.random() < 0.5
            else rng.randrange(min(400, len(changed)) + 1)
        )
        end = min(len(changed), at + rng.choice((1, 1, 2, 4, 8, 30, 300)))
        match rng.randrange(8):
            case 0:
                changed[at:end] = rng.randbytes(end - at)
            case 1:
                del changed[at:end]
            case 2:
                changed[at:at] = changed[at:end] * rng.choice((1, 2, 50))
            case 3 | 4:
                changed[at:at] = rng.choice(FRAGMENTS)
            case 5:
                changed[at:end] = rng.choice(FRAGMENTS)
            case 6 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case _:
                other = rng.choice(others)
                begin = rng.randrange(len(other))
                changed[at:end] = other[begin : begin + rng.choice((4, 40, 400))]
    return bytes(changed)


def allow(size: int) -> None:
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + 2 * size + OVERHEAD_BYTES, resource.RLIM_INFINITY))


def main(seed: int, count: int, folder: Path) -> None:
    files = originals()
    bodies = [data for _, data in files]
    reading = False

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        if reading and event.startswith(FORBIDDEN):
            os.write(2, f"ran: {event} {arguments!r:.200}\n".encode())
            os._exit(77)

    for name, data in files:  # whatever is imported late is imported now
        (folder / name).write_bytes(data)
        read_pdfile(folder / name) if name.endswith("params") else read_arrays(folder / name)
        (folder / name).write_bytes(data[:40])
        try:
            read_arrays(folder / name)
        except UnsafeFileError:
            continue
    sys.addaudithook(look)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    read = 0
    for number in range(count):
        rng = random.Random(f"{seed}/{number}")
        name, data = rng.choice(files)
        data = mutate(data, rng, bodies)
        path = folder / name
        path.write_bytes(data)
        allow(len(data))
        signal.alarm(10)
        reading = True
        try:
            if rng.random() < 0.5 or name.endswith("safetensors"):
                read_arrays(path)
            else:
                read_pdfile(path)
            read += 1
        except UnsafeFileError as error:
            said = str(error)
            if len(said) > 1000 or not said.isprintable():
                reading = False
                sys.exit(f"mutant {number} of seed {seed} ({path}): an odd sentence: {said!r:.2000}")
        except (Exception, RecursionError, MemoryError) as error:  # noqa: BLE001 - each is a finding
            reading = False
            signal.alarm(0)
            sys.exit(f"mutant {number} of seed {seed} ({path}): {type(error).__name__}: {error!s:.200}")
        reading = False
    signal.alarm(0)
    sys.stdout.write(f"{count} mutants of seed {seed}: {read} read, {count - read} refused\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
