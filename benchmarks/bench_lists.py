"""What a list of ImageNet's size costs: reading and checking it, an epoch's order, its parts, and memory.

Lines are `train/n01440764/n01440764_10026.JPEG 17`, 1,281,167 of them as in ImageNet, in 1,000 folders. The
images are there or not: with FILES, so many empty files are made a folder (1 needs 1.3 million of them), and
checking that they exist is measured, too; without, it is left out.

Memory is what the process has more of (resident) once the list is read than before, of a process that
does nothing else; its peak while it reads is told beside it.

`python benchmarks/bench_lists.py [LINES] [--files]`, default 1281167 lines without files.
"""

from __future__ import annotations

import argparse
import gc
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from trainer.config.data import ImageNetDataset
from trainer.config.samplers import DistributedBatchSampler
from trainer.data.lists import load_list
from trainer.data.sampling import make_sampling

FOLDERS = 1000


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("lines", nargs="?", type=int, default=1_281_167)
    parser.add_argument("--files", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = [
            f"train/n{index % FOLDERS:08d}/n{index % FOLDERS:08d}_{index}.JPEG"
            for index in range(asked.lines)
        ]
        (folder / "list.txt").write_text(
            "".join(f"{path} {index % FOLDERS}\n" for index, path in enumerate(names))
        )
        for number in range(FOLDERS):
            (folder / f"train/n{number:08d}").mkdir(parents=True)
        if asked.files:
            for path in names:
                (folder / path).touch()
        else:
            import trainer.protocol.lists

            trainer.protocol.lists._find_missing = lambda *_, **__: None
        del names
        gc.collect()
        dataset = ImageNetDataset.model_validate(
            {
                "image_root": str(folder), "cls_label_path": str(folder / "list.txt"),
                "transform_ops": [{"DecodeImage": {}}, {"NormalizeImage": {"order": ""}}],
            }
        )  # fmt: skip
        before = resident()
        began, cpu = time.perf_counter(), time.process_time()
        samples = load_list(dataset, class_num=FOLDERS)
        read_s = time.perf_counter() - began
        cpu_s = time.process_time() - cpu
        gc.collect()
        after, peak = resident(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        sampling = make_sampling(
            DistributedBatchSampler(batch_size=256, shuffle=True), n=len(samples), seed=0
        )
        began = time.perf_counter()
        positions = sampling.positions(0, world_size=8)
        count = sum(
            len(shard.places) for shard in sampling.shards(len(positions), rank=3, world_size=8, start=0)
        )
        shard_s = time.perf_counter() - began
        rate = 1e6 / len(samples)
        print(f"{len(samples):,} lines{', images looked for' if asked.files else ''}")
        print(
            f"read and checked: {read_s:.2f} s, {read_s * rate:.2f} s a million ({cpu_s * rate:.2f} of CPU)"
        )
        print(f"order, and a rank's {count:,} places: {shard_s:.2f} s, {shard_s * rate:.2f} s a million")
        print(f"together: {(read_s + shard_s) * rate:.2f} s a million (bar: 3)")
        print(
            f"kept: {(after - before) / len(samples):.0f} bytes a sample (bar: 150); "
            f"peak {(peak - before) / len(samples):.0f}"
        )
        assert np.array_equal(np.sort(positions), np.arange(len(positions)))


if __name__ == "__main__":
    main()
