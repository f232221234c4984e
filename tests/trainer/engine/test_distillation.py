"""A student learns from a frozen teacher: what is trained, saved, evaluated, predicted and gone on with."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import paddle
import pytest

from trainer.api import weights_store
from trainer.checkpoints.pdfiles import read_arrays
from trainer.config.problems import ConfigError
from trainer.data.loader import Loader
from trainer.engine.evaluate import evaluate_weights
from trainer.engine.model_check import check_model
from trainer.engine.predict import load_trained
from trainer.engine.setup import prepare
from trainer.engine.trained import load_network
from trainer.errors import WeightsError
from trainer.models.registry import build_model, create_model
from trainer.ranks import Ranks

CLASSES = 3
SMALL = {"name": "PPLCNet_x0_25", "class_num": CLASSES, "dropout_prob": 0.0, "class_expand": 64}


def distilling(workshop: Any, *, teacher: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    patterns = {"return_patterns": ["blocks3", "blocks5"]}
    models = [{"Teacher": {**SMALL, **patterns, **(teacher or {})}}, {"Student": {**SMALL, **patterns}}]
    pair = {"model_name_pairs": [["Student", "Teacher"]]}
    return {
        "Arch": {
            "name": "DistillationModel", "class_num": CLASSES, "models": models, "pretrained_list": None,
            "freeze_params_list": [True, False], "infer_model_name": "Student",
        },
        "Loss__Train": [
            {"DistillationGTCELoss": {"weight": 1.0, "key": "logits", "model_names": ["Student"]}},
            {"DistillationDMLLoss": {"weight": 0.5, "key": "logits", **pair}},
            {"DistillationDistanceLoss": {"weight": 2.0, "key": "blocks5", **pair}},
        ],
        "Metric__Train": [{"DistillationTopkAcc": {"model_key": "Student", "topk": [1, 2]}}],
        "Metric__Eval": [
            {"TopkAcc": {"topk": [1]}}, {"DistillationTopkAcc": {"model_key": "Teacher", "topk": [2]}},
        ],
        **changes,
    }  # fmt: skip


def logged(workshop: Any, event: str, output: str = "output") -> list[dict[str, Any]]:
    lines = (workshop.folder / output / "metrics.jsonl").read_text().splitlines()
    return [row for line in lines if (row := json.loads(line))["event"] == event]


@pytest.fixture
def teacher(workshop: Any) -> dict[str, Any]:
    workshop.train(Arch=SMALL, Global__output_dir=str(workshop.folder / "teacher"))
    return {"pretrained": str(workshop.folder / "teacher/latest.pdparams")}


def test_trainer_check_holds_each_networks_weights_against_it(workshop, teacher, tmp_path):
    changes = distilling(workshop, teacher=teacher)
    store = weights_store(tmp_path, offline=True)
    found = check_model(workshop.config(**changes), store).weights
    assert found.startswith("146 of 146 keys of PPLCNet_x0_25 from ")
    changes["Arch"]["models"][1]["Student"]["pretrained"] = True
    found = check_model(workshop.config(**changes), store).weights
    assert found.endswith("PPLCNet_x0_25_pretrained.pdparams is downloaded when training begins")
    assert found.startswith("146 of 146 keys of PPLCNet_x0_25 from ")
    changes["Arch"]["models"][0]["Teacher"]["pretrained"] = "none"
    with pytest.raises(WeightsError, match=r"expected a .pdparams or .safetensors file, got no such file"):
        check_model(workshop.config(**changes), store)


def test_the_student_alone_learns_and_is_what_predicts(workshop, teacher):
    changes = distilling(workshop, teacher=teacher)
    workshop.train(**changes)
    output = workshop.folder / "output"
    weights = read_arrays(output / "latest.pdparams")
    given = read_arrays(workshop.folder / "teacher/latest.pdparams")
    moved = {key for key, value in given.items() if not np.array_equal(weights[f"Teacher.{key}"], value)}
    assert moved
    assert all(key.endswith(("_mean", "_variance")) for key in moved)
    best = read_arrays(output / "best_model.pdparams")
    student = read_arrays(output / "best_model_student.pdparams")
    assert all(np.array_equal(value, best[f"Student.{key}"]) for key, value in student.items())
    assert len(student) * 2 == len(best)

    config = workshop.config(**changes)
    images = paddle.randn([2, 3, 32, 32])
    alone = load_network(config.arch, output / "best_model_student.pdparams")(images)
    assert np.array_equal(load_network(config.arch, output / "best_model.pdparams")(images), alone)
    assert alone.shape == [2, CLASSES]
    assert load_trained(config, weights=None, labels=None).network(images.numpy()).shape == (2, CLASSES)

    rows = logged(workshop, "eval")
    assert {"CELoss", "loss", "top1", "top2"} <= set(rows[-1])
    results = evaluate_weights(config, Ranks(), weights=output / "latest.pdparams").values
    assert results == {key: rows[-1][key] for key in ("CELoss", "loss", "top1", "top2")}


def log_softmax(logits: Any) -> Any:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def test_the_first_step_has_the_losses_of_the_formulas(workshop, teacher):
    changes = distilling(workshop, teacher=teacher, Global__epochs=1)
    workshop.train(**changes)
    row = logged(workshop, "step")[0]
    config = workshop.config(**changes)
    loader = Loader(
        split=config.data.Train,
        samples=prepare(config, Ranks()).train,
        rank=0,
        world_size=1,
        seed=3,
        training=True,
    )
    batch = next(iter(loader.batches(0)))
    paddle.seed(3)
    model = build_model(config.arch)
    given = read_arrays(workshop.folder / "teacher/latest.pdparams")
    dict(model.named_children())["Teacher"].set_state_dict(given)
    model.train()
    outputs = model(paddle.to_tensor(batch.images))
    x, y = (log_softmax(outputs[name]["logits"].numpy().astype(float)) for name in ("Student", "Teacher"))
    both = np.exp(y) * (y - x) + np.exp(x) * (x - y)
    gaps = outputs["Student"]["blocks5"].numpy() - outputs["Teacher"]["blocks5"].numpy()
    expected = {
        "CELoss_Student": -x[np.arange(len(x)), batch.labels[:, 0]].mean(),
        "DMLLoss_Student_Teacher_0": 0.5 * both.sum(axis=1).mean() / 2,
        "loss_l2_loss_l2_0": 2.0 * (gaps.astype(float) ** 2).mean(),
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    assert row["loss"] == pytest.approx(sum(expected.values()), rel=1e-4)
    assert {"top1", "top2"} <= set(row)


def test_a_distillation_that_was_stopped_goes_on_bit_for_bit(workshop, teacher):
    changes = distilling(workshop, teacher=teacher)
    workshop.train(**changes)
    changes["Global__output_dir"] = str(workshop.folder / "halves")
    workshop.train_and_stop(at=3, **changes)
    workshop.train(**changes, resume="latest")
    whole, again = (read_arrays(workshop.folder / name / "latest.pdparams") for name in ("output", "halves"))
    assert all(np.array_equal(value, again[key]) for key, value in whole.items())


def test_two_networks_whose_parameters_bear_the_same_names_are_told_apart():
    arch = {"name": "MobileNetV2_x0_25", "class_num": 2}
    model = create_model(
        "DistillationModel", class_num=2, models=[{"Teacher": arch}, {"Student": arch}],
        freeze_params_list=[True, False],
    )  # fmt: skip
    names = [tensor.name for tensor in model.state_dict().values()]
    assert len(names) == len(set(names))
    learning = {key for key, tensor in model.named_parameters() if not tensor.stop_gradient}
    assert learning
    assert all(key.startswith("Student.") for key in learning)


def test_automatic_names_go_on_counting_as_in_a_process_of_paddleclas():
    arch = {**SMALL, "name": "PPLCNet_x0_25"}
    one = create_model(**arch)
    both = create_model("DistillationModel", class_num=3, models=[{"Teacher": arch}, {"Student": arch}])
    names = {key: tensor.name for key, tensor in both.state_dict().items()}
    count = sum(isinstance(layer, paddle.nn.Conv2D) for layer in one.sublayers())
    assert names["Teacher.conv1.conv.weight"] == "conv2d_0.w_0"
    assert names["Student.conv1.conv.weight"] == f"conv2d_{count}.w_0"


def test_a_feature_that_no_layer_gives_is_refused():
    with pytest.raises(
        ConfigError, match=r"return_patterns: expected layers of the network \(conv1, blocks2"
    ):
        create_model(**SMALL, return_patterns=["blocks3", "blocks9"])
