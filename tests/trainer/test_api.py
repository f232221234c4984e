"""Training and the rest, called from Python: what comes back, what is said, and what is left as it was."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
import yaml

from tests.trainer.conftest import CLASSES, Workshop
from trainer.api import evaluate, export, predict, train
from trainer.checkpoints.pdfiles import read_arrays, read_pdfile
from trainer.config.load import load_config
from trainer.engine.signals import StopSignal
from trainer.errors import ConfigError, DataError, InterruptedRunError, StoppedError, TrainerError
from trainer.preparation import list_weights
from trainer.progress import Progress
from trainer.protocol.exits import Exit


@pytest.fixture
def config(workshop: Workshop) -> Path:
    workshop.config()
    return workshop.folder / "cfg.yaml"


def into(config: Path, name: str) -> dict[str, object]:
    return {"Global.output_dir": config.parent / name}


def rows(path: Path | None) -> list[dict[str, object]]:
    """Rows of metrics.jsonl, without what differs from run to run."""
    assert path is not None
    found = [json.loads(line) for line in path.read_text().splitlines()]
    differs = (
        "path", "time_s", "step_s", "reader_s", "images_per_s", "wait_s", "copy_s", "peers_s", "fetch_s",
        "compute_s", "eval_s", "save_s", "write_s",
    )  # fmt: skip
    plain = [{key: value for key, value in row.items() if key not in differs} for row in found]
    # A checkpoint's row comes when it is written, which is beside the steps.
    return sorted(plain, key=lambda row: row["event"] == "checkpoint")


class StopAfter(Progress):
    """Does something once so many steps of the first epoch are done."""

    def __init__(self, steps: int, act: Any) -> None:
        self._left, self._act = steps, act

    def advance(self, count: int = 1) -> None:
        self._left -= count
        if self._left == 0:
            self._act()


def test_a_training_returns_what_it_came_to(config: Path) -> None:
    result = train(config, set={"Global.epochs": 2})

    folder = config.parent / "output"
    assert (result.epochs, result.output_dir) == (2, folder)
    assert result.steps == 2 * 4
    assert result.checkpoint is not None
    assert (result.checkpoint / "model.pdparams").is_file()
    assert result.best_weights == folder / "best_model.pdparams"
    assert result.best_weights.is_file()
    evaluations = [row for row in rows(result.metrics_file) if row["event"] == "eval"]
    assert dict(result.evaluation) == {key: evaluations[-1][key] for key in result.evaluation}
    assert result.metric == result.evaluation["top1"]
    assert result.best_metric == max(float(str(row["top1"])) for row in evaluations)
    epochs = [row for row in rows(result.metrics_file) if row["event"] == "epoch"]
    assert dict(result.train) == {key: epochs[-1][key] for key in result.train}
    assert {"loss", "top1"} <= set(result.train)


def test_a_second_training_in_a_process_gives_what_the_first_gives(config: Path) -> None:
    first = train(config, set=into(config, "one"))
    second = train(config, set=into(config, "two"))

    assert rows(first.metrics_file) == rows(second.metrics_file)
    one, two = (read_arrays(config.parent / name / "latest.pdparams") for name in ("one", "two"))
    assert all(np.array_equal(one[key], two[key]) for key in one)
    # Paddle numbers parameters, and an optimizer's state goes by those names.
    state, again = (read_pdfile(config.parent / name / "latest.pdopt") for name in ("one", "two"))
    assert repr(state) == repr(again)


def test_a_training_goes_on_in_the_same_process(config: Path) -> None:
    train(config, set={**into(config, "parts"), "Global.epochs": 1})
    resumed = train(config, set={**into(config, "parts"), "Global.epochs": 2}, resume="latest")
    whole = train(config, set={**into(config, "whole"), "Global.epochs": 2})

    assert resumed.epochs == 2
    assert resumed.steps == whole.steps
    assert len([row for row in rows(resumed.metrics_file) if row["event"] == "epoch"]) == 2


def test_what_a_process_shares_is_left_as_it_was(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PADDLE_DISTRI_BACKEND", raising=False)
    paddle.seed(5)
    expected = paddle.rand([3]).tolist()
    random.seed(5)
    np.random.seed(5)
    paddle.seed(5)
    python, numpy = random.getstate(), np.random.get_state()[1].copy()
    environment, folder, level = dict(os.environ), Path.cwd(), logging.getLogger().level
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    search = list(sys.path)

    train(config)

    assert random.getstate() == python
    assert np.array_equal(np.random.get_state()[1], numpy)
    assert paddle.rand([3]).tolist() == expected
    assert dict(os.environ) == environment
    assert Path.cwd() == folder
    assert logging.getLogger().level == level
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert sys.path == search


def test_it_is_left_so_too_where_the_training_fails(config: Path) -> None:
    (config.parent / "train.txt").write_text("missing.png 0\n")
    random.seed(5)
    python, handler = random.getstate(), signal.getsignal(signal.SIGTERM)

    with pytest.raises(DataError) as caught:
        train(config)

    assert caught.value.exit_code is Exit.DATA
    assert "missing.png" in caught.value.problems[0]
    assert random.getstate() == python
    assert signal.getsignal(signal.SIGTERM) is handler
    with pytest.raises(DataError):  # and another call is not kept out
        train(config)


def test_nothing_is_printed_and_lines_go_to_the_logger(
    config: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="trainer"):
        train(config)

    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    told = [(record.levelno, record.getMessage()) for record in caplog.records if record.name == "trainer"]
    assert any(level == logging.INFO and "[Train][Epoch 1/2][Avg]" in text for level, text in told)


def test_lines_go_to_a_callback_where_there_is_one(config: Path) -> None:
    said: list[str] = []
    warned: list[str] = []
    values = yaml.safe_load(config.read_text())
    values["Global"]["epoch"] = 9

    train(values, say=said.append, warn=warned.append)

    log = (config.parent / "output" / "train.log").read_text().splitlines()
    assert [line.partition("INFO: ")[2] for line in log] == said
    assert any("Global.epoch" in line for line in warned)


def test_a_training_in_a_thread_leaves_signals_alone(config: Path) -> None:
    alone = train(config, set=into(config, "main"))
    found: list[Any] = []
    handler = signal.getsignal(signal.SIGTERM)
    seen: list[Any] = []

    def work() -> None:
        look = StopAfter(1, lambda: seen.append(signal.getsignal(signal.SIGTERM)))
        try:
            found.append(train(config, set=into(config, "thread"), progress=look))
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert not isinstance(found[0], BaseException), found[0]
    assert seen == [handler]
    assert rows(found[0].metrics_file) == rows(alone.metrics_file)


def test_a_training_in_a_thread_can_be_asked_to_stop(config: Path) -> None:
    stop = StopSignal()

    with pytest.raises(StoppedError, match="stopped after step 2"):
        train(config, stop=stop, progress=StopAfter(1, stop.request))

    result = train(config, resume="latest")
    assert result.epochs == 2


def test_sigterm_saves_and_the_callers_own_handler_is_there_afterwards(config: Path) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        with pytest.raises(StoppedError) as caught:
            train(config, progress=StopAfter(1, lambda: os.kill(os.getpid(), signal.SIGTERM)))
        assert heard == []
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught.value.exit_code is Exit.STOPPED
    assert list((config.parent / "output" / ".ftlaunch" / "checkpoints").iterdir())


def test_the_second_sigterm_is_the_callers(config: Path) -> None:
    class ImpatientError(Exception):
        pass

    def handler(number: int, frame: object) -> None:
        raise ImpatientError

    def twice() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, handler)
    try:
        with pytest.raises(ImpatientError):
            train(config, progress=StopAfter(1, twice))
    finally:
        signal.signal(signal.SIGTERM, before)


def test_control_c_saves_and_says_how_to_go_on(config: Path) -> None:
    with pytest.raises(InterruptedRunError, match="--resume latest") as caught:
        train(config, progress=StopAfter(1, lambda: os.kill(os.getpid(), signal.SIGINT)))

    assert caught.value.exit_code is Exit.INTERRUPTED
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_two_at_a_time_are_refused(config: Path) -> None:
    refused: list[TrainerError] = []

    def again() -> None:
        with pytest.raises(TrainerError) as caught:
            train(config)
        refused.append(caught.value)

    train(config, progress=StopAfter(1, again))

    assert refused[0].expected.startswith("one call at a time")


def test_a_config_may_be_a_file_its_values_or_one_that_was_loaded(config: Path) -> None:
    values = yaml.safe_load(config.read_text())
    results = [
        train(given, set=into(config, name))
        for name, given in (
            ("file", str(config)), ("values", values), ("loaded", load_config(config)),
        )
    ]  # fmt: skip

    assert rows(results[0].metrics_file) == rows(results[1].metrics_file) == rows(results[2].metrics_file)
    assert [result.output_dir.name for result in results] == ["file", "values", "loaded"]
    assert values == yaml.safe_load(config.read_text())  # and are left as they were


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"Global.epochs": 1}, 1),
        (["Global.epochs=1"], 1),
        ({"Global.epochs": 1, "Arch.class_num": CLASSES, "Global.pretrained_model": None}, 1),
    ],
    ids=["values", "texts", "several"],
)
def test_changes_are_values_by_key_or_texts(config: Path, changes: Any, expected: int) -> None:
    assert train(config, set=changes).epochs == expected


def test_a_text_stays_a_text(config: Path) -> None:
    with pytest.raises(ConfigError, match=r"Global\.epochs"):
        train(config, set={"Global.epochs": "two"})
    with pytest.raises(ConfigError, match=r"Global\.device"):
        train(config, set={"Global.device": "1"})


def test_all_problems_of_a_config_come_at_once(config: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        train(config, set={"Global.epochs": -1, "Arch.name": "PPLCNot"})

    assert len(caught.value.problems) == 2
    assert caught.value.exit_code is Exit.CONFIG


def test_weights_are_evaluated_predicted_with_and_exported(config: Path) -> None:
    trained = train(config)
    images = sorted(config.parent.glob("val*.png"))
    values = yaml.safe_load(config.read_text())
    values["Infer"] = {
        "transforms": values["DataLoader"]["Eval"]["dataset"]["transform_ops"] + [{"ToCHWImage": None}],
        "PostProcess": {"name": "Topk", "topk": 1},
    }

    measured = evaluate(config)
    said = predict(values, images)
    written = export(values, config.parent / "model", compare=4)
    again = predict(model=written.folder, images=images)

    assert measured.metrics["top1"] == trained.best_metric
    assert measured.weights.is_file()
    assert (measured.images, measured.bad_images) == (6, 0)
    assert [found.file for found in said.predictions] == images
    classes = [found.answer["class_ids"] for found in said.predictions]
    assert np.mean([index % CLASSES == found[0] for index, found in enumerate(classes)]) == pytest.approx(
        measured.metrics["top1"]
    )
    assert [found.answer["class_ids"] for found in again.predictions] == classes
    assert written.compared >= 4
    assert (written.folder / "inference.pdiparams").is_file()


def test_paths_may_be_text_and_one_image_is_no_list(config: Path) -> None:
    """As in a notebook, and as the functions beside these take them."""
    trained = train(str(config), weights_dir=str(config.parent))
    assert list_weights("PPLCNet_x1_0", weights_dir=str(config.parent))
    values = yaml.safe_load(config.read_text())
    values["Infer"] = {
        "transforms": values["DataLoader"]["Eval"]["dataset"]["transform_ops"] + [{"ToCHWImage": None}],
        "PostProcess": {"name": "Topk", "topk": 1},
    }
    names = config.parent / "names.txt"
    names.write_text("".join(f"{index} kind{index}\n" for index in range(CLASSES)))
    image, weights = sorted(config.parent.glob("val*.png"))[0], str(trained.best_weights)

    measured = evaluate(str(config), weights=weights)
    said = predict(values, str(image), weights=weights, labels=str(names))
    written = export(values, str(config.parent / "model"), weights=weights, compare=1)
    again = predict(model=str(written.folder), images=image, labels=str(names))

    assert measured.weights == trained.best_weights
    assert [found.file for found in said.predictions] == [image]
    assert str(said.predictions[0].answer["label_names"][0]).startswith("kind")
    assert again.predictions[0].answer["label_names"] == said.predictions[0].answer["label_names"]


def test_a_bad_image_is_refused_or_named(config: Path) -> None:
    train(config)
    values = yaml.safe_load(config.read_text())
    values["Infer"] = {
        "transforms": values["DataLoader"]["Eval"]["dataset"]["transform_ops"] + [{"ToCHWImage": None}],
    }
    bad = config.parent / "bad.png"
    bad.write_bytes(b"no image")

    with pytest.raises(DataError, match=r"bad\.png"):
        predict(values, [config.parent / "val0.png", bad])
    found = predict(values, [config.parent / "val0.png", bad], bad_images="skip")

    assert [bool(part.problem) for part in found.predictions] == [False, True]
    assert list(found.answers) == [config.parent / "val0.png"]


def test_neither_config_nor_job_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a config or a job"):
        evaluate()
    with pytest.raises(ConfigError, match="got both"):
        evaluate("cfg.yaml", job="flowers-abcde")


def run(script: str, *arguments: Path) -> str:
    """Run a program of its own and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)], capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip() + done.stderr


def test_the_module_is_imported_without_the_heavy_libraries() -> None:
    script = """
        import sys
        import trainer.api
        print(sorted(name for name in ("paddle", "numpy", "cv2") if name in sys.modules))
    """

    assert run(script) == "[]"


def test_a_program_that_trains_keeps_its_own_logging_and_its_output_clean(config: Path) -> None:
    script = """
        import logging, sys
        from trainer.api import train
        result = train(sys.argv[1], set={"Global.epochs": 1})
        root = logging.getLogger()
        print(result.epochs, root.handlers, logging.getLevelName(root.level))
    """

    assert run(script, config) == "1 [] WARNING"
