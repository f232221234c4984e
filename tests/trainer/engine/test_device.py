"""`Global.device: gpu` where there is a GPU, where there is none, and where a job was promised one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import paddle
import pytest

from trainer.config.sections import GlobalSection
from trainer.engine.device import settle_device
from trainer.errors import DeviceError
from trainer.ranks import Ranks


class Config(SimpleNamespace):
    """As much of a config as is looked at."""

    def model_copy(self, update: dict[str, Any]) -> Config:
        return Config(**{**vars(self), **update})


def config(device: str) -> Any:
    return Config(run=GlobalSection(epochs=1, device=device))


def have(monkeypatch: pytest.MonkeyPatch, count: int | None) -> None:
    """Have so many GPUs; None for a Paddle that knows none."""
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: count is not None)
    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: count or 0)


@pytest.mark.parametrize(
    ("count", "why"), [(None, "this Paddle is built for CPUs only"), (0, "no GPU is visible here")]
)
@pytest.mark.parametrize("device", ["gpu", "gpu:3"])
def test_without_a_gpu_the_cpu_is_taken_and_said(monkeypatch, count, why, device):
    have(monkeypatch, count)
    settled, said = settle_device(config(device), Ranks())
    assert settled.run.device == "cpu"
    assert said == f"Global.device: {device}: {why}; running on the CPU"


@pytest.mark.parametrize("count", [None, 0])
def test_a_rank_that_was_promised_a_gpu_refuses(monkeypatch, count):
    have(monkeypatch, count)
    with pytest.raises(DeviceError, match="expected a GPU for each rank, as the job asked for, got none"):
        settle_device(config("gpu"), Ranks(run_id="a" * 32, gpus_promised=True))


def test_what_is_there_is_taken_without_a_word(monkeypatch):
    have(monkeypatch, 4)
    for device in ("cpu", "gpu", "gpu:3"):
        settled, said = settle_device(config(device), Ranks())
        assert (settled.run.device, said) == (device, None)


def test_a_gpu_that_is_not_among_those_here_is_refused(monkeypatch):
    have(monkeypatch, 4)
    with pytest.raises(DeviceError, match="expected a GPU from gpu:0 to gpu:3, got 'gpu:4'"):
        settle_device(config("gpu:4"), Ranks())
    with pytest.raises(DeviceError, match="expected 'gpu' with 2 ranks"):
        settle_device(config("gpu:1"), Ranks(world_size=2))
