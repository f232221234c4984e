from __future__ import annotations

from typing import Any

import paddle
import pytest

from tests.trainer.conftest import Workshop
from trainer.config.problems import ConfigError
from trainer.engine import run


def test_kernels_and_layouts_are_chosen_by_trial_only_where_asked(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(paddle.incubate.autotune, "set_config", asked.append)
    monkeypatch.setattr(run, "is_gpu", lambda: True)
    for wanted in (True, False):
        workshop.train(
            Global__epochs=1, Global__autotune=wanted, Global__output_dir=str(workshop.folder / str(wanted))
        )
        assert asked.pop() == {"kernel": {"enable": wanted}, "layout": {"enable": wanted}}
    assert not asked


def test_a_cpu_says_that_it_has_nothing_to_try(
    workshop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    workshop.train(Global__epochs=1, Global__autotune=True)
    assert capsys.readouterr().out.count("autotune has no effect here") == 1


def test_trial_is_refused_beside_the_same_bits(workshop: Workshop) -> None:
    with pytest.raises(ConfigError, match=r"autotune: expected False beside deterministic: True"):
        workshop.train(Global__epochs=1, Global__autotune=True, Global__deterministic=True)
