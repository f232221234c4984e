"""What is accepted runs: the networks of PaddleClas's own configs are built, and some of the configs train.

`make zoo-check` gives what it needs: the package `paddleclas` on the path and a folder of the configs. A
network that stands in many configs with the same parameters is built once. `FTL_TEST_SHARE=12` takes every
twelfth.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from tests.trainer.config import shipped
from trainer.config.archs import DistillationArch
from trainer.config.load import load_config
from trainer.config.root import TrainConfig
from trainer.config.zoo import find_foreign, is_installed
from trainer.engine.run import TrainingProgress, run_training
from trainer.models.registry import build_model
from trainer.ranks import Ranks

FOLDER = shipped.find_folder()
SHARE = int(os.environ.get("FTL_TEST_SHARE", "1"))
ROWS = [row for row in shipped.read_table() if not row.refused]
TRAINED = ROWS[:: len(ROWS) // 60][:60]
pytestmark = [
    pytest.mark.zoo,
    pytest.mark.skipif(FOLDER is None, reason="PADDLECLAS_CONFIGS names no folder of PaddleClas's configs"),
    pytest.mark.skipif(not is_installed(), reason="the package paddleclas is not on the path"),
    pytest.mark.filterwarnings("ignore"),  # the package's own
    pytest.mark.timeout(600),
]
_LEFT_OUT = {"pretrained", "use_ssld", "infer_add_softmax", "models"}


def _key(row: shipped.Shipped) -> str:
    """Return what tells two networks apart, by the file's own words; all of it for several networks."""
    assert FOLDER is not None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    arch = yaml.load((FOLDER / row.path).read_text(), Loader=loader)["Arch"]
    kept = {key: value for key, value in arch.items() if key not in _LEFT_OUT or "models" in arch}
    return json.dumps(kept, sort_keys=True)


def _distinct() -> Iterator[shipped.Shipped]:
    seen: set[str] = set()
    for row in ROWS if FOLDER is not None else ():
        key = _key(row)
        if key not in seen:
            seen.add(key)
            yield row


@pytest.mark.parametrize("row", list(_distinct())[::SHARE], ids=lambda row: row.path)
def test_a_network_of_an_accepted_config_is_built(row: shipped.Shipped) -> None:
    assert FOLDER is not None
    arch = load_config(FOLDER / row.path).config.arch
    model = build_model(arch)
    parts = list(arch.by_name) if isinstance(arch, DistillationArch) else [""]
    for name in parts:
        part = dict(model.named_children())[name] if name else model
        assert any(not parameter.stop_gradient or name for parameter in part.parameters())
    assert bool(list(find_foreign(arch))) == bool(set(row.networks) - _natives())


def _natives() -> set[str]:
    from trainer.config.archs import FOREIGN, SINGLE_ARCHS

    return set(SINGLE_ARCHS.names()) - set(FOREIGN)


def _make_images(folder: Path) -> None:
    draws = np.random.default_rng(7)
    for index in range(4):
        cv2.imwrite(str(folder / f"{index}.jpg"), draws.integers(0, 256, (260, 300, 3), np.uint8))
    for index in range(4, 256):  # repeated augmentation wants 256
        (folder / f"{index}.jpg").hardlink_to(folder / f"{index % 4}.jpg")


def _shorten(config: TrainConfig, document: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Change a config as little as two steps of two images on a CPU ask for."""
    document["Global"] |= {
        "device": "cpu", "epochs": 1, "iter_per_epoch": 2, "update_freq": 1, "eval_during_train": False,
        "output_dir": str(folder / "output"), "save_interval": -1, "to_static": False, "seed": 1,
    }  # fmt: skip
    arch = document["Arch"]
    for part in [arch, *(value for item in arch.get("models", ()) for value in item.values())]:
        part.pop("pretrained", None)
        part.pop("use_ssld", None)
    train = document["DataLoader"]["Train"]
    document["DataLoader"] = {"Train": train}
    document["Metric"] = {"Train": document.get("Metric", {}).get("Train")}
    train["loader"] |= {"num_workers": 0}
    train["sampler"] |= {"first_bs": 2} if "first_bs" in train["sampler"] else {"batch_size": 2}
    kind = train["dataset"]["name"]
    label = {
        "MultiLabelDataset": "\t" + ",".join(["1", "0"] * 1000)[: 2 * config.arch.class_num - 1],
        "CustomLabelDataset": "",
    }.get(kind, f"{train['dataset'].get('delimiter') or ' '}1")
    listed = folder / "list.txt"
    listed.write_text("".join(f"{index}.jpg{label}\n" for index in range(256)))
    key = "sample_list_path" if kind == "CustomLabelDataset" else "cls_label_path"
    train["dataset"] |= {"image_root": str(folder), key: str(listed)}
    return document


@pytest.mark.parametrize("row", TRAINED[::SHARE], ids=lambda row: row.path)
def test_an_accepted_config_trains_two_steps(row: shipped.Shipped, tmp_path: Path) -> None:
    assert FOLDER is not None
    real = FOLDER / row.path
    _make_images(tmp_path)
    document = _shorten(load_config(real).config, yaml.safe_load(real.read_text()), tmp_path)
    path = tmp_path / "cfg.yaml"
    path.write_text(yaml.safe_dump(document))
    reached = TrainingProgress()
    run_training(load_config(path).config, Ranks(), reached=reached)
    assert reached.step == 2
    lines = (tmp_path / "output" / "metrics.jsonl").read_text().splitlines()
    losses = [row["loss"] for row in map(json.loads, lines) if row["event"] == "step"]
    assert len(losses) == 2
    assert np.isfinite(losses).all()


def test_the_page_says_how_many_are_trained() -> None:
    assert len(TRAINED) == 60
