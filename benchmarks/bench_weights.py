"""How fast weights are read: beside pickle.load, which runs code, and a plain read of the bytes.

    python benchmarks/bench_weights.py [MEBIBYTES]

Each row is the best of three, in CPU seconds, of files in the page cache; peak is what the process grew by at
most.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from trainer.checkpoints.pdfiles import write_arrays
from trainer.checkpoints.safetensors import write_safetensors

READERS = {
    "bytes alone": "data = open(path, 'rb').read()",
    "pickle.load": "import pickle; data = pickle.load(open(path, 'rb'))",
    "ours": "data = read_arrays(Path(path))",
}
PROGRAM = """
import sys, time
from pathlib import Path
from trainer.checkpoints.pdfiles import read_arrays
path = sys.argv[1]
def peak():  # not ru_maxrss, which a child has of its parent
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
before = peak()
best = 1e9
for _ in range(3):
    data = None
    began = time.process_time()
    {line}
    best = min(best, time.process_time() - began)
print(best, peak() - before)
"""


def main(mebibytes: int) -> None:
    """Write files of that size in each form and time each reader on each."""
    rng = np.random.default_rng(0)
    count = 40
    arrays = {
        f"blocks.{index}.weight": rng.standard_normal((mebibytes * 2**20 // 4 // count,), dtype=np.float32)
        for index in range(count)
    }
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for form in ("protocol 2", "protocol 4", "safetensors"):
            path = Path(folder) / (form.replace(" ", "") + (".safetensors" if form == "safetensors" else ""))
            with path.open("wb") as file:
                if form == "protocol 2":
                    pickle.dump(arrays, file, protocol=2)
                else:
                    (write_arrays(arrays, {}) if form == "protocol 4" else write_safetensors(arrays))(file)
            files[form] = path
        print(f"{'form':<12} {'reader':<12} {'file MiB':>9} {'CPU s':>8} {'GiB/s':>6} {'peak MiB':>9}")
        for form, path in files.items():
            for reader, line in READERS.items():
                if form == "safetensors" and reader == "pickle.load":
                    continue
                said = subprocess.run(
                    [sys.executable, "-c", PROGRAM.replace("{line}", line), str(path)],
                    check=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": "."},
                ).stdout.split()  # fmt: skip
                size, seconds, peak = path.stat().st_size / 2**20, float(said[0]), int(said[1]) / 1024
                rate = size / 1024 / seconds
                print(f"{form:<12} {reader:<12} {size:>9.0f} {seconds:>8.2f} {rate:>6.2f} {peak:>9.0f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1024)
