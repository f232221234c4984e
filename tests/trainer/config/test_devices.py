"""`Global.device`: what PaddleClas knows is taken, or refused by name."""

from __future__ import annotations

from typing import Any

import pytest

KNOWN_ELSEWHERE = ("xpu", "npu", "mlu", "ascend", "intel_gpu", "mps", "npu:0", "XPU")


@pytest.mark.parametrize("device", ["cpu", "gpu", "gpu:0", "gpu:5"])
def test_a_device_that_the_trainer_runs_on_is_taken(device: str, config: Any) -> None:
    assert config.change("device: cpu", f"device: {device}").load().config.run.device == device


@pytest.mark.parametrize("device", KNOWN_ELSEWHERE)
def test_a_device_that_others_run_on_is_refused_by_name(device: str, config: Any) -> None:
    refusal = config.change("device: cpu", f"device: {device}").refusal()
    assert f"got {device!r}; this trainer runs on NVIDIA's GPUs and on CPUs only" in refusal


@pytest.mark.parametrize(("device", "right"), [("cuda", "gpu"), ("cuda:1", "gpu:1"), ("GPU", "gpu")])
def test_a_device_by_another_name_is_told_its_own(device: str, right: str, config: Any) -> None:
    assert config.change("device: cpu", f"device: {device}").refusal().endswith(
        f"got {device!r}; Paddle's name for it is {right!r}"
    )  # fmt: skip


@pytest.mark.parametrize("device", ["tpu", "0", "null", "gpu:x", "[gpu, 0]", "gpu:", "cpu:0"])
def test_no_refusal_offers_what_is_refused_next(device: str, config: Any) -> None:
    refusal = config.change("device: cpu", f"device: '{device}'").refusal()
    expected = refusal.partition("expected ")[2].partition(", got")[0]
    assert expected == "'gpu', 'gpu:N' or 'cpu'"
