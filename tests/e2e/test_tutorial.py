from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest

from trainer.checkpoints.pdfiles import read_arrays

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_tutorials_config_takes_two_steps(place):
    place.run(
        "trainer", "train", "-c", str(REPOSITORY / "examples" / "ResNet50_vd.yaml"),
        *(part for override in (
            "Global.device=cpu", "Global.epochs=1", "Global.iter_per_epoch=2", "Global.output_dir=output",
            "Global.eval_during_train=False", "Arch.pretrained=False", "Arch.class_num=4",
            "Metric.Train.0.TopkAcc.topk=[1,3]", "Metric.Eval.0.TopkAcc.topk=[1,3]",
            "DataLoader.Train.dataset.image_root=data",
            "DataLoader.Train.dataset.cls_label_path=data/train_list.txt",
            "DataLoader.Train.dataset.transform_ops.1.RandCropImage.size=64",
            "DataLoader.Train.sampler.batch_size=4", "DataLoader.Train.loader.num_workers=2",
        ) for part in ("-o", override)),
    )  # fmt: skip
    steps = [row for row in place.rows() if row["event"] == "step"]
    assert [row["iter"] for row in steps] == [0, 1]
    assert all(0.5 < row["loss"] < 10 for row in steps)
    assert read_arrays(place.folder / "output/latest.pdparams")["fc.weight"].shape == (2048, 4)


def with_master() -> list[str]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return ["--nnodes", "1", "--master", f"127.0.0.1:{bound.getsockname()[1]}", "-m", "trainer"]


@pytest.mark.parametrize(
    ("form", "in_checkout"),
    [(lambda: ["trainer"], False), (with_master, False), (lambda: ["-m", "trainer"], True)],
    ids=["trainer", "--master and -m trainer", "-m trainer in the checkout"],
)
def test_the_tutorials_command_trains_on_two_ranks(place, write_config, form, in_checkout):
    """Paddle's launcher knows no `-m`: without --master it then runs a file called trainer in the folder."""
    cfg = write_config(Global__epochs=1, DataLoader__Train__sampler__batch_size=8)
    if in_checkout:
        text = (place.folder / cfg).read_text()
        for name in ("data", "output"):
            text = re.sub(rf": {name}\b", f": {place.folder / name}", text)
        (place.folder / cfg).write_text(text)
    place.run(
        "python", "-m", "paddle.distributed.launch", "--nproc_per_node", "2",
        "--log_dir", str(place.folder / "launch_log"), *form(), "train", "-c", str(place.folder / cfg),
        cwd=REPOSITORY if in_checkout else None,
    )  # fmt: skip
    steps = [row for row in place.rows() if row["event"] == "step"]
    assert [row["samples"] for row in steps] == [16] * 4
    assert json.loads((place.folder / "output/.ftlaunch/run.json").read_text())["run_id"]
