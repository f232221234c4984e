"""A PaddleClas config that is fitted to images keeps its comments, and means what it is said to mean."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from launcher.config.edit import Edits
from launcher.config.fit import Fitted, fit_config
from launcher.config.image_folder import ImageFolder
from launcher.config.starter import MODELINE, StarterJob
from trainer.config.document import parse_document

DATA = ImageFolder(
    folder=Path("flowers"), class_num=3, train=40_000, has_val=True, has_labels=True, val=100, side=200
)  # fmt: skip
IMAGENET = """\
# somebody's own first line
Global:
  output_dir: ./output/   # theirs
  epochs: 120
Arch:
  name: ResNet50   # the network
  class_num: &classes 1000
Loss:
  Train:
    - MixCELoss: {weight: 1.0, class_num: *classes}
Optimizer:
  name: Momentum
  lr:
    name: Piecewise
    decay_epochs: [30, 60]
    values: [0.1, 0.01, 0.001]
DataLoader:
  Train:
    dataset:
      name: ImageNetDataset
      image_root: "./dataset/ILSVRC2012/"
      cls_label_path: ./dataset/ILSVRC2012/train_list.txt
      batch_transform_ops:
        - CutmixOperator: {alpha: 0.2}
        - OpSampler:
            MixupOperator: {alpha: 0.8, prob: 0.5, class_num: 1000}
    sampler: {name: DistributedBatchSampler, batch_size: 64, drop_last: False, shuffle: True}
  Eval:
    dataset: {name: ImageNetDataset, image_root: ./d/, cls_label_path: ./d/val_list.txt}
Infer:
  PostProcess:
    name: Topk
    topk: 5
    class_id_map_file: ppcls/utils/imagenet1k_label_list.txt
"""


def fit(content: str, *, data: ImageFolder = DATA, gpus: int = 4, **more: object) -> tuple[Fitted, dict]:
    values = parse_document(content.encode(), name="x.yaml").values
    wanted = StarterJob(name="flowers", gpus=gpus, nodes=1)
    pretrained = more.pop("pretrained", True)
    fitted = fit_config(content, values, data, wanted, pretrained=pretrained, **more)  # type: ignore[arg-type]
    return fitted, yaml.safe_load(fitted.text)


def test_classes_paths_labels_and_launch_are_set_and_comments_stay():
    fitted, values = fit(IMAGENET)
    lines = fitted.text.splitlines()
    assert lines[0] == MODELINE
    assert {"# somebody's own first line", "  name: ResNet50   # the network"} <= set(lines)
    assert "  class_num: &classes 3" in lines
    mixup = values["DataLoader"]["Train"]["dataset"]["batch_transform_ops"][1]["OpSampler"]["MixupOperator"]
    loss = values["Loss"]["Train"][0]["MixCELoss"]
    assert [values["Arch"]["class_num"], mixup["class_num"], loss["class_num"]] == [3, 3, 3]
    for split, name in (("Train", "train_list.txt"), ("Eval", "val_list.txt")):
        dataset = values["DataLoader"][split]["dataset"]
        assert (dataset["image_root"], dataset["cls_label_path"]) == ("/data", f"/data/{name}")
    post = {"name": "Topk", "topk": 3, "class_id_map_file": "/data/labels.txt"}
    assert values["Infer"]["PostProcess"] == post
    assert values["Arch"]["pretrained"] is True
    assert values["Global"]["output_dir"] == "/output"
    assert [volume["mount"] for volume in values["Launch"]["volumes"]] == ["/data", "/output"]
    assert any(change.startswith("Arch.class_num: 3, was 1000") for change in fitted.changes)


@pytest.mark.parametrize(
    ("gpus", "pretrained", "factor"),
    [(4, True, 0.1), (4, False, 1.0), (1, True, 0.025), (0, False, 0.25), (8, False, 2.0)],
)
def test_rates_follow_the_images_of_a_step_and_what_it_begins_with(gpus, pretrained, factor):
    _, values = fit(IMAGENET, gpus=gpus, pretrained=pretrained)
    rates = values["Optimizer"]["lr"]["values"]
    assert rates == pytest.approx([0.1 * factor, 0.01 * factor, 0.001 * factor])
    assert values["DataLoader"]["Train"]["sampler"]["batch_size"] == 64


def test_few_images_get_a_smaller_batch_and_the_rate_of_it():
    few = ImageFolder(folder=Path("f"), class_num=3, train=256, has_val=False, has_labels=False)
    fitted, values = fit(IMAGENET, data=few, gpus=1, pretrained=False)
    assert values["DataLoader"]["Train"]["sampler"]["batch_size"] == 32
    assert values["Optimizer"]["lr"]["values"][0] == pytest.approx(0.1 * 32 / 256)
    assert values["Global"]["eval_during_train"] is False
    assert values["Infer"]["PostProcess"]["class_id_map_file"] is None
    assert any("there is no val_list.txt" in item for item in fitted.left)


def test_a_config_that_fine_tunes_already_keeps_its_rate_for_as_many_images():
    tuned = IMAGENET.replace("class_num: &classes 1000", "class_num: &classes 102\n  pretrained: True")
    _, values = fit(tuned)
    assert values["Optimizer"]["lr"]["values"] == [0.1, 0.01, 0.001]


def test_several_networks_all_get_the_number_of_classes_and_keep_their_weights():
    text = IMAGENET.replace(
        "  name: ResNet50   # the network\n  class_num: &classes 1000\n",
        "  name: DistillationModel\n  class_num: &classes 1000\n  models:\n"
        "    - Teacher:\n        name: ResNet50\n        pretrained: False\n"
        "    - Student:\n        name: ResNet18\n        class_num: *classes\n",
    )
    fitted, values = fit(text)
    teacher, student = values["Arch"]["models"]
    assert (teacher["Teacher"]["class_num"], student["Student"]["class_num"]) == (3, 3)
    assert teacher["Teacher"]["pretrained"] is False
    assert "pretrained" not in values["Arch"]
    assert any(item.startswith("Arch.models") for item in fitted.left)


@pytest.mark.parametrize(("given", "kept"), [("[1, 5]", [1]), ("[5]", [1]), ("[1, 2, 3, 4]", [1, 2, 3])])
def test_a_metric_keeps_the_topk_that_can_be_wrong(given, kept):
    fitted, values = fit(f"{IMAGENET}Metric:\n  Train:\n    - TopkAcc: {{topk: [1]}}\n  Eval:\n"
                         f"    - TopkAcc: {{topk: {given}}}   # theirs\n")  # fmt: skip
    assert values["Metric"] == {"Train": [{"TopkAcc": {"topk": [1]}}], "Eval": [{"TopkAcc": {"topk": kept}}]}
    assert "# theirs" in fitted.text
    assert any(change.startswith(f"Metric.Eval.0.TopkAcc.topk: {kept}") for change in fitted.changes)


def test_what_cannot_be_written_is_said():
    text = IMAGENET.replace(
        "Global:\n  output_dir: ./output/   # theirs\n  epochs: 120", "Global: {epochs: 120}"
    )
    fitted, values = fit(text)
    assert values["Global"] == {"epochs": 120}
    assert any(item.startswith("Global.output_dir: expected '/output'") for item in fitted.left)


@pytest.mark.parametrize(
    ("text", "path", "value", "after"),
    [
        ("a: 1  # why\n", ("a",), 2, "a: 2  # why\n"),
        ("a: &x 'q'\nb: *x\n", ("b",), "no", 'a: &x "no"\nb: *x\n'),
        ("a:\n  - {b: [1, 2]}\n", ("a", 0, "b"), [3], "a:\n  - {b: [3]}\n"),
        ("a:\n  b: 1 # c\n  d: 2", ("a", "e"), True, "a:\n  b: 1 # c\n  e: True\n  d: 2"),
        ("é: ü\na: 'x: y'\n", ("a",), "/data/é list", 'é: ü\na: "/data/é list"\n'),
    ],
)
def test_a_value_is_changed_where_it_stands(text, path, value, after):
    edits = Edits(text)
    assert edits.set(path, value)
    assert edits.apply() == after
    assert yaml.safe_load(after)


def test_a_block_is_not_overwritten():
    edits = Edits("a:\n  b: 1\n")
    assert not edits.set(("a",), 1)
    assert edits.apply() == "a:\n  b: 1\n"
