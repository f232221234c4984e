"""What `Arch.freeze` goes with."""

from __future__ import annotations

from typing import Any

import pytest

ARCH = "  class_num: 102\n"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{until: 4}", "Arch: expected freeze.until below 4, the number of stages of ResNet50_vd "
                       "(blocks[2], blocks[6], blocks[12], blocks[15]), got 4"),
        ("{until: -1}", "Arch.freeze.until: expected a number of at least 0, got -1"),
        ("{until: stem, epochs: 0}", "Arch.freeze.epochs: expected a number above 0, got 0"),
        ("{until: stem, epoch: 1}", "Arch.freeze.epoch: expected a parameter that exists here, got 'epoch'; "
                                    "did you mean 'epochs'?"),
        ("{epochs: 1}", "Arch.freeze.until: expected a value, got nothing; add it"),
    ],
)  # fmt: skip
def test_what_cannot_be_frozen_is_refused_where_it_stands(value: str, message: str, config: Any) -> None:
    line = config.change(ARCH, f"{ARCH}  freeze: {value}\n").refusal()
    assert line.startswith("cfg.yaml:")
    assert line.endswith(message)


def test_stages_by_number_need_stages(config: Any) -> None:
    config.change("ResNet50_vd", "DenseNet121").change(ARCH, f"{ARCH}  freeze: {{until: 1}}\n")
    assert "expected a layer or backbone in freeze.until, got 1; DenseNet121 has no" in config.refusal()


def test_a_compiled_network_is_not_thawed(config: Any) -> None:
    config.change(ARCH, f"{ARCH}  freeze: {{until: stem, epochs: 1}}\n").change("seed: 42", "to_static: True")
    assert "Global.to_static: expected False beside Arch.freeze" in config.refusal()


def test_what_is_never_thawed_is_said(config: Any) -> None:
    config.change(ARCH, f"{ARCH}  freeze: {{until: backbone, epochs: 2}}\n")
    (warning,) = config.warnings()
    assert "Arch.freeze.epochs: expected fewer than Global.epochs, which are 2, got 2" in warning


def test_of_several_networks_each_has_its_own(config: Any) -> None:
    one = "{name: ResNet18, class_num: 102, freeze: {until: stem}}"
    text = (
        f"  freeze: {{until: stem}}\n  freeze_params_list: [True, False]\n  models:\n    - Teacher: {one}\n"
    )
    config.change("ResNet50_vd", "DistillationModel").change(ARCH, f"{ARCH}{text}    - Student: {one}\n")
    line = config.refusal()
    assert "expected freeze in the model that it is of, got it beside several models" in line
    assert "expected no freeze of Teacher, which freeze_params_list freezes as a whole" in line
