from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import trainer.engine.average_checkpoints as averaging
from tests.docs.pages import commands
from trainer.api import average_checkpoints, evaluate
from trainer.checkpoints.durable import write_file
from trainer.checkpoints.pdfiles import read_arrays, write_arrays
from trainer.cli.main import group
from trainer.errors import CheckpointError, ConfigError


def write(path: Path, **arrays: np.ndarray) -> Path:
    write_file(path, write_arrays(arrays, {key: f"{key}_0" for key in arrays}))
    return path


def bfloat16(values: list[float]) -> np.ndarray:
    return (np.asarray(values, dtype=np.float32).view(np.uint32) >> 16).astype(np.uint16)


def test_real_numbers_are_averaged_and_whole_ones_are_the_furthest_ones(tmp_path):
    first = write(
        tmp_path / "a.pdparams", w=np.asarray([1.0, 2.0], np.float32), count=np.asarray(7),
        half=np.asarray([1.0], np.float16), brain=bfloat16([1.0, 3.0]), table=np.asarray([[1, 2]]),
    )  # fmt: skip
    second = write(
        tmp_path / "b.pdparams", w=np.asarray([2.0, 4.0], np.float32), count=np.asarray(5),
        half=np.asarray([2.0], np.float16), brain=bfloat16([2.0, 5.0]), table=np.asarray([[3, 4]]),
    )  # fmt: skip
    found, names = averaging.average_weights([first, second])
    np.testing.assert_array_equal(found["w"], np.asarray([1.5, 3.0], np.float32))
    np.testing.assert_array_equal(found["half"], np.asarray([1.5], np.float16))
    np.testing.assert_array_equal(found["brain"], bfloat16([1.5, 4.0]))
    assert found["count"] == 7
    assert found["table"].tolist() == [[1, 2]]
    assert {key: value.dtype for key, value in found.items()} == {
        key: value.dtype for key, value in read_arrays(first).items()
    }
    assert names["w"] == "w_0"


def test_weights_of_another_network_are_refused(tmp_path):
    first = write(tmp_path / "a.pdparams", w=np.zeros(2, np.float32))
    second = write(tmp_path / "b.pdparams", w=np.zeros(3, np.float32))
    with pytest.raises(CheckpointError, match=r"b.pdparams: expected weights of the network of .*such as w"):
        averaging.average_weights([first, second])


def run(*argv: str) -> Any:
    return CliRunner().invoke(group, ["ckpt", "average", *argv])


@pytest.fixture
def trained(workshop):
    workshop.train(Global__epochs=3, Global__keep_best=3, Global__keep_latest=1)
    return workshop


def answer_by(monkeypatch, *, mean: float, best: float) -> None:
    real = averaging.evaluate_weights

    def measure(config: Any, ranks: Any, *, weights: Path, **of: Any) -> Any:
        found = real(config, ranks, weights=weights, **of)
        return replace(found, metrics={"top1": mean if weights.name == "averaged.pdparams" else best})

    monkeypatch.setattr(averaging, "evaluate_weights", measure)


def test_what_is_better_is_kept_under_a_name_that_other_commands_take(trained, monkeypatch):
    config, output = str(trained.folder / "cfg.yaml"), trained.folder / "output"
    answer_by(monkeypatch, mean=0.75, best=0.5)
    done = run("-c", config, "--best", "3", "--output", "json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["metric"], found["averaged"], found["best"]) == ("top1", 0.75, 0.5)
    assert found["weights"] == str(output / "averaged.pdparams")
    listed = [read_arrays(Path(item["folder"]) / "model.pdparams") for item in found["checkpoints"]]
    assert len(listed) == 3
    for key, value in read_arrays(output / "averaged.pdparams").items():
        if value.dtype == np.float32:
            mean = np.mean([arrays[key].astype(np.float64) for arrays in listed], axis=0).astype(np.float32)
            np.testing.assert_array_equal(value, mean)
    assert evaluate(config, weights=output / "averaged").images == 6
    trained.train(
        Global__output_dir=str(trained.folder / "further"), Global__epochs=4, resume=str(output / "averaged")
    )


def test_what_is_no_better_is_not_written_and_both_numbers_are_said(trained, monkeypatch):
    config, output = str(trained.folder / "cfg.yaml"), trained.folder / "output"
    answer_by(monkeypatch, mean=0.5, best=0.5)
    done = run("-c", config, "--last", "2")
    assert done.exit_code == 7, done.output
    assert "top1 0.50000, that of" in done.stdout
    assert "not better, so that nothing is written" in done.stdout
    assert not list(output.glob("averaged*"))


def test_the_line_of_the_page_averages(trained, monkeypatch):
    monkeypatch.chdir(trained.folder)
    answer_by(monkeypatch, mean=0.75, best=0.5)
    for line in commands("average"):
        program, *argv = shlex.split(line)
        assert program == "trainer"
        assert CliRunner().invoke(group, argv).exit_code == 0
    assert (trained.folder / "output/averaged.pdparams").is_file()


def test_the_measured_decision_is_that_of_the_evaluation(trained):
    config = str(trained.folder / "cfg.yaml")
    found = average_checkpoints(config, best=2)
    assert found.best == evaluate(config, weights=found.best_weights).metrics["top1"]
    assert (found.weights is not None) == (found.averaged > found.best)


def test_what_would_be_averaged_is_listed_and_nothing_is_done(trained):
    done = run("-c", str(trained.folder / "cfg.yaml"), "--list")
    assert done.exit_code == 0
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert sorted(name for name, _ in rows) == ["e001-s000004", "e002-s000008", "e003-s000012"]
    metrics = [float(value) for _, value in rows]
    assert metrics == sorted(metrics, reverse=True)


def test_one_checkpoint_has_no_mean(workshop):
    workshop.train(Global__epochs=1)
    config = str(workshop.folder / "cfg.yaml")
    done = run("-c", config)
    assert done.exit_code == 5
    assert "expected two evaluated checkpoints or more, got 1; keep more by Global.keep_best" in done.output
    with pytest.raises(ConfigError, match="one of best and last"):
        average_checkpoints(config, best=2, last=2)
