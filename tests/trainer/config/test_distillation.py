"""Configs of several networks: what they say, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.config.archs import DistillationArch, predicting_arch

ONE = "name: ResNet50_vd\n  class_num: 102\n"
TWO = """name: DistillationModel
  class_num: 102
  pretrained_list:
  freeze_params_list:
  - True
  - False
  infer_model_name: Student
  use_sync_bn: False
  models:
    - Teacher:
        name: ResNet50_vd
        class_num: 102
        pretrained: True
        return_patterns: [blocks3]
    - Student:
        name: PPLCNet_x1_0
        class_num: 102
"""
CE = "CELoss: {weight: 1.0, epsilon: 0.1}"
PAIR = "model_name_pairs: [[Student, Teacher]]"


def two(config: Any, *, loss: str = f"DistillationDMLLoss: {{weight: 1.0, {PAIR}}}", metric: str = "") -> Any:
    config.change(ONE, TWO).change(CE, loss)
    return config.change("TopkAcc: {topk: [1, 5]}", metric) if metric else config


def test_networks_have_their_names_in_order(config: Any) -> None:
    loaded = two(config, metric="DistillationTopkAcc: {model_key: Student, topk: [1, 5]}").load()
    assert loaded.warnings == ()
    arch = loaded.config.arch
    assert isinstance(arch, DistillationArch)
    assert list(arch.by_name) == ["Teacher", "Student"]
    assert arch.frozen == ("Teacher",)
    assert predicting_arch(arch) == (arch.by_name["Student"], "Student.")


def test_overrides_reach_into_a_network(config: Any) -> None:
    loaded = two(config).load("Arch.models.1.Student.dropout_prob=0.5")
    assert loaded.config.arch.by_name["Student"].dropout_prob == 0.5


def test_a_key_that_paddleclas_swallows_is_said(config: Any) -> None:
    two(config).change("infer_model_name: Student", "infer_model_name: Student\n  infer_name: x")
    (warning,) = config.warnings()
    assert "Arch.infer_name: expected a key that exists here" in warning


def test_the_only_loss_with_several_values_is_said(config: Any) -> None:
    (warning,) = two(config, loss="DistillationGTCELoss: {model_names: [Student, Teacher]}").warnings()
    assert (
        "Loss.Train.0.DistillationGTCELoss: expected one value of the only loss of a list, got 2" in warning
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: PPLCNet_x1_0", "name: PPLCNet_x1_1", "Arch.models.1.Student: expected one of ResNet18"),
        ("        class_num: 102\n        pretrained: True", "        class_num: 7\n        pretrained: True",
         "expected one class_num of Arch and every model, got 102 and {'Teacher': 7, 'Student': 102}"),
        ("- Student:", "- Pupil:", "expected a model called Student, which is evaluated, got ['Tea"),
        ("infer_model_name: Student", "infer_model_name: Pupil", "expected a model called Pupil"),
        ("  - True\n  - False\n", "  - True\n", "expected 2 flags in freeze_params_list, got 1"),
        ("  - True\n  - False\n", "  - True\n  - True\n", "expected a model that learns"),
        ("pretrained_list:", "pretrained_list: [a, b]", "pretrained_list.0: expected nothing (null)"),
        ("use_sync_bn: False", "pretrained: True", "expected no pretrained beside several models"),
        ("Student, Teacher]]", "Student, Tutor]]",
         "expected names of Arch.models, which are Teacher, Student, got Tutor"),
        (PAIR, f"{PAIR}, key: blocks3",
         "expected a feature that Arch.models hands on, got 'blocks3' of Student; add it to the"),
        (PAIR, "model_name_pairs: [[Student]]", "expected"),
        (PAIR, f"{PAIR}, act: tanh", "act: expected 'softmax' or 'sigmoid'"),
        (PAIR, f"{PAIR}, weight_ratio: True", "expected MultiLabelDataset in DataLoader.Train beside it"),
    ],
)  # fmt: skip
def test_what_several_networks_do_not_go_with_is_refused(
    old: str, new: str, message: str, config: Any
) -> None:
    assert message in "\n".join(two(config).change(old, new).refusals())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (CE, f"DistillationDMLLoss: {{{PAIR}}}",
         "DistillationDMLLoss: expected Arch.name DistillationModel beside it, got 'ResNet50_vd'"),
        ("TopkAcc: {topk: [1, 5]}", "DistillationTopkAcc: {model_key: Student}",
         "DistillationTopkAcc: expected Arch.name DistillationModel beside it"),
        (CE, f"DistillationRKDLoss: {{{PAIR}, student_keepkeys: [a]}}",
         "expected as many teacher_keepkeys as student_keepkeys, at least one, got 0 and 1"),
        (CE, f"DistillationPairLoss: {{{PAIR}, base_loss_name: PEFDLoss, s_key: a, student_channels: 3}}",
         "expected student_channel beside PEFDLoss, got none; add it; expected teacher_channel"),
        (CE, f"DistillationPairLoss: {{{PAIR}, base_loss_name: MGDLoss, s_key: a, student_channel: 3}}",
         "expected no student_channel beside MGDLoss; remove it; expected one t_key, got []"),
        (CE, f"DistillationSKDLoss: {{{PAIR}}}", "temperature: expected a value, got nothing; add it"),
    ],
)  # fmt: skip
def test_what_one_network_does_not_go_with_is_refused(old: str, new: str, message: str, config: Any) -> None:
    lines = config.change(old, new).refusals()
    assert message in "\n".join(lines)
    assert all(line.startswith("cfg.yaml:") for line in lines)


def test_a_loss_that_learns_needs_an_evaluation_without_it(config: Any) -> None:
    keys = "s_key: blocks3, t_key: blocks3, student_channel: 64, teacher_channel: 64"
    two(config, loss=f"DistillationPairLoss: {{{PAIR}, base_loss_name: PEFDLoss, {keys}}}")
    config.change("name: PPLCNet_x1_0\n", "name: PPLCNet_x1_0\n        return_patterns: [blocks3]\n")
    assert config.load().warnings == ()
    config.change("  Eval:\n    - CELoss: {weight: 1.0}\n", "")
    assert "expected it in Loss.Train beside a Loss.Eval without it" in config.refusal()
