"""Losses and metrics beside the labels that a dataset gives."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.config.checks import has_less_is_better, metrics_in_training

IN_TRAINING = "  Train:\n    - TopkAcc: {topk: [1, 5]}\n"
LOSS = "    - CELoss: {weight: 1.0, epsilon: 0.1}\n"
EVAL_LOSS = "  Eval:\n    - CELoss: {weight: 1.0}\n"


def several(config: Any, *, loss: str = "MultiLabelLoss: {}", metric: str = "", keys: str = "") -> Any:
    """A config of several classes an image, without an evaluation."""
    config.change("name: ImageNetDataset", f"name: MultiLabelDataset\n      label_ratio: {keys or 'False'}")
    config.change(LOSS, f"    - {loss}\n").change(EVAL_LOSS, "")
    return config.change(IN_TRAINING, f"  Train:\n    - {metric}\n" if metric else "")


@pytest.mark.parametrize("name", ["HammingDistance", "AccuracyScore: {base: sample}"])
def test_several_classes_an_image_have_losses_and_metrics(name: str, config: Any) -> None:
    several(
        config, metric=name if ":" in name else f"{name}:", loss="MultiLabelAsymmetricLoss: {gamma_neg: 3}"
    )
    loaded = config.load("Global.use_multilabel=True")
    assert [metric.label for metric in metrics_in_training(loaded.config)] == [name.partition(":")[0]]


@pytest.mark.parametrize("name", ["ATTRMetric", "MultiLabelMAP", "MultilabelMeanAccuracy"])
def test_a_metric_of_a_whole_list_is_left_out_of_training_and_said(name: str, config: Any) -> None:
    loaded = several(config, metric=f"{name}:").load()
    assert metrics_in_training(loaded.config) == []
    (warning,) = [problem for problem in loaded.warnings if problem.path[0] == "Metric"]
    assert warning.path == ("Metric", "Train", 0, name)
    assert warning.line is not None
    assert "expected it in Metric.Eval only" in warning.message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "MultiLabelLoss: {weight_ratio: True}"},
         "label_ratio: expected True beside MultiLabelLoss with weight_ratio, got False"),
        ({"metric": "TprAtFpr: {}"}, "remove TprAtFpr"),
        ({"metric": "GoogLeNetTopkAcc: {}"}, "remove GoogLeNetTopkAcc"),
        ({"loss": "MultiLabelLoss: {gamma: 3}"}, "expected a parameter that exists here, got 'gamma'"),
        ({"loss": "MultiLabelAsymmetricLoss: {reduction: none}"}, "reduction: expected 'sum' or 'mean'"),
        ({"metric": "AccuracyScore: {base: image}"}, "base: expected 'label' or 'sample'"),
        ({"loss": "GoogLeNetLoss: {epsilon: 0.1}"}, "because GoogLeNetLoss smoothes no labels"),
        ({"metric": "Recallk: {topk: 1}"}, "got 'Recallk'; it serves metric learning"),
    ],
)  # fmt: skip
def test_what_several_classes_do_not_go_with_is_refused(
    changes: dict[str, str], message: str, config: Any
) -> None:
    (line,) = [line for line in several(config, **changes).refusals() if "warning: " not in line]
    assert message in line
    assert line.startswith("cfg.yaml:")
    assert line.split(":")[1].isdecimal()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("CELoss: {weight: 1.0, epsilon: 0.1}", "MultiLabelLoss: {weight: 1.0}",
         "Loss.Train.0.MultiLabelLoss: expected MultiLabelDataset in DataLoader.Train beside it, got "
         "ImageNetDataset; take CELoss"),
        ("TopkAcc: {topk: [1, 5]}", "HammingDistance:",
         "Metric.Train.0.HammingDistance: expected MultiLabelDataset in DataLoader.Train"),
        ("seed: 42", "use_multilabel: True", "use_multilabel: expected False beside ImageNetDataset"),
    ],
)  # fmt: skip
def test_what_one_class_an_image_does_not_go_with_is_refused(
    old: str, new: str, message: str, config: Any
) -> None:
    assert message in "\n".join(config.change(old, new).refusals())


def test_of_mistakes_the_fewest_are_best(config: Any) -> None:
    assert not has_less_is_better(config.load().config)
    several(config)
    config.text = config.text[: config.text.index("Metric:")] + "Metric: {Eval: [{HammingDistance: {}}]}\n"
    assert has_less_is_better(config.load().config)


PLATEAU = "{name: ReduceOnPlateau, learning_rate: 0.1, by_epoch: True, mode: max}"
COSINE = "{name: Cosine, learning_rate: 0.0125, warmup_epoch: 1}"


def evaluated(config: Any) -> Any:
    train = config.text[config.text.index("    dataset:") : config.text.index("Infer:")]
    return config.change("Infer:", f"  Eval:\n{train}Infer:")


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (
            PLATEAU.replace("by_epoch: True, ", ""),
            "expected by_epoch: True, because it moves with evaluations",
        ),
        (
            PLATEAU.replace("mode: max", "warmup_epoch: 1"),
            "expected no warm-up, with which PaddleClas fails, got 1",
        ),
        (PLATEAU.replace("max", "best"), "mode: expected 'min' or 'max', got 'best'"),
    ],
)
def test_a_plateau_is_of_evaluations(new: str, message: str, config: Any) -> None:
    assert message in evaluated(config).change(COSINE, new).refusal()


def test_a_plateau_without_evaluations_is_refused_and_one_the_wrong_way_round_said(config: Any) -> None:
    config.change(COSINE, PLATEAU)
    assert "Optimizer.lr.name: expected evaluations beside ReduceOnPlateau" in config.refusal()
    assert evaluated(config).warnings() == []
    (warning,) = config.warnings("Optimizer.lr.mode=min")
    assert "Optimizer.lr.mode: expected 'max'; with 'min' the learning rate falls" in warning
