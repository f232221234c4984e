from __future__ import annotations

import json
import socket
from pathlib import Path

from trainer.checkpoints.pdfiles import read_arrays

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_tutorials_config_takes_two_steps(place):
    place.run(
        "trainer", "train", "-c", str(REPOSITORY / "examples" / "ResNet50_vd.yaml"),
        *(part for override in (
            "Global.device=cpu", "Global.epochs=1", "Global.iter_per_epoch=2", "Global.output_dir=output",
            "Global.eval_during_train=False", "Arch.pretrained=False", "Arch.class_num=4",
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


def test_the_tutorials_command_trains_on_two_ranks(place, write_config):
    cfg = write_config(Global__epochs=1, DataLoader__Train__sampler__batch_size=8)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
    place.run(
        "python", "-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--log_dir", "launch_log",
        "--master", f"127.0.0.1:{port}", "--nnodes", "1", "-m", "trainer", "train", "-c", cfg,
    )  # fmt: skip
    steps = [row for row in place.rows() if row["event"] == "step"]
    assert [row["samples"] for row in steps] == [16] * 4
    assert json.loads((place.folder / "output/.ftlaunch/run.json").read_text())["run_id"]
