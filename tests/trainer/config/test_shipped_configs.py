"""Every config that PaddleClas ships is taken, or refused by name; the pages say which."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.trainer.config import shipped
from trainer.config.archs import FOREIGN, SINGLE_ARCHS
from trainer.config.load import load_config
from trainer.config.problems import ConfigError

DOCS = Path(__file__).parents[3] / "docs"
ROWS = shipped.read_table()
REFUSED = [row for row in ROWS if row.refused]
FOLDER = shipped.find_folder()
BODY = """
Global: {epochs: 1, device: gpu}
Arch: {name: ResNet50, class_num: 10}
Loss: {Train: [{CELoss: {weight: 1.0}}]}
Optimizer: {name: SGD, lr: {name: Cosine, learning_rate: 0.1}}
DataLoader:
  Train:
    dataset:
      name: ImageNetDataset
      image_root: x
      cls_label_path: y
      transform_ops: [DecodeImage: , RandCropImage: {size: 224}, NormalizeImage: {order: ''}]
    sampler: {name: DistributedBatchSampler, batch_size: 64}
"""
ASKING = {
    "RecModel": (
        "name: ResNet50, class_num: 10",
        "name: RecModel, Head: {name: FC}",
    ),
    "AttentionModel": ("name: ResNet50", "name: AttentionModel"),
    "AFDLoss": ("CELoss: {weight: 1.0}", "AFDLoss: {weight: 50.0}"),
    "TripletLossV2": ("CELoss: {weight: 1.0}", "TripletLossV2: {weight: 1.0, margin: 0.5}"),
    "VeriWild": ("name: ImageNetDataset", "name: VeriWild"),
    "DistributedRandomIdentitySampler": ("DistributedBatchSampler", "DistributedRandomIdentitySampler"),
    "mAP": ("DataLoader:", "Metric: {Eval: [{mAP: }]}\nDataLoader:"),
    "Recallk": ("DataLoader:", "Metric: {Eval: [{Recallk: {topk: [1]}}]}\nDataLoader:"),
    "Precisionk": ("DataLoader:", "Metric: {Eval: [{Precisionk: {topk: [1]}}]}\nDataLoader:"),
    "DataLoader.Eval": ("DataLoader:", "DataLoader:\n  Eval: {Query: {}, Gallery: {}}"),
    "TimmAutoAugment.config_str": ("RandCropImage:", "TimmAutoAugment: {config_str: null}, RandCropImage:"),
}
"""How a config asks for what is refused: a text of `BODY`, and what stands in its place."""


@pytest.mark.skipif(FOLDER is None, reason="PADDLECLAS_CONFIGS names no folder of PaddleClas's configs")
def test_the_table_is_what_comes_of_the_real_files(request: pytest.FixtureRequest) -> None:
    assert FOLDER is not None
    rows = [shipped.describe(file, FOLDER) for file in shipped.find_files(FOLDER)]
    if request.config.getoption("--update-goldens"):
        shipped.TABLE.write_text("".join(f"{row}\n" for row in rows))
    assert rows == shipped.read_table()


def test_at_least_98_of_100_configs_are_taken() -> None:
    assert len(ROWS) == len({row.path for row in ROWS}) == 422
    assert Counter(row.path.split("/")[0] for row in ROWS) == {"ImageNet": 354, "PULC": 58, "quick_start": 10}
    assert len(REFUSED) <= 0.02 * len(ROWS)


def test_the_page_lists_the_refused_ones_with_what_they_are_refused_for() -> None:
    text = (DOCS / "paddleclas.md").read_text()
    listed = re.findall(r"^\| `([\w/]+\.yaml)` \| (.+) \| .+ \|$", text, re.MULTILINE)
    assert listed == [(row.path, ", ".join(f"`{name}`" for name in row.refused)) for row in REFUSED]
    taken = len(ROWS) - len(REFUSED)
    assert f"{taken} of the {len(ROWS)} are taken ({taken / len(ROWS):.1%})".replace("%", " %") in " ".join(
        text.split()
    )


@pytest.mark.parametrize("name", sorted({name for row in REFUSED for name in row.refused}))
def test_what_they_are_refused_for_is_refused_by_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / "cfg.yaml"
    old, new = ASKING[name]
    assert old in BODY
    path.write_text(BODY.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    told = [problem for problem in caught.value.problems if name.rsplit(".", maxsplit=1)[-1] in str(problem)]
    assert told, caught.value
    assert any("; " in problem.message for problem in told), "says what to do"
    path.write_text(BODY)
    load_config(path)


def test_every_network_that_is_taken_is_native_or_of_the_package() -> None:
    names = {name for row in ROWS for name in row.networks}
    assert len(names) > 250
    assert names <= set(SINGLE_ARCHS.names())
    text = (DOCS / "models.md").read_text()
    _, _, other = text.partition("Named by its configs:")
    named, _, known = other.partition("Known to it besides:")
    known = known.partition("\n## ")[0]
    assert re.findall(r"`(\w+)`", named) == [name for name in FOREIGN if name in names]
    assert re.findall(r"`(\w+)`", known) == [name for name in FOREIGN if name not in names]
    foreign = [row for row in ROWS if set(row.networks) & set(FOREIGN)]
    assert f"{len(foreign)} of the {len(ROWS)} configs" in text
