"""The commands that docs/sweep.md prints, with stand-ins for jobs, and the file that it shows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from launcher.cli.main import run
from launcher.sweep import lifecycle
from launcher.sweep.begin import SweepRequest, read_request
from tests.docs.pages import REPOSITORY, commands
from tests.launcher.configs import config_values
from tests.launcher.sweep.conftest import StandIns


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("FTLAUNCH_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-settings"))
    monkeypatch.chdir(tmp_path)
    values = config_values(Global__epochs=3)
    values["Metric"] = {"Eval": [{"TopkAcc": {"topk": [1]}}]}
    Path("cfg.yaml").write_text(yaml.safe_dump(values))
    port = StandIns(lambda trial, job: [1 - float(str(trial.params["Optimizer.lr.learning_rate"]))] * 3)
    monkeypatch.setattr(lifecycle, "LaunchedJobs", lambda study, **given: port)
    monkeypatch.setattr(lifecycle, "_PAUSE_S", 0.0)
    return tmp_path


def test_the_commands_of_the_page_do_what_they_say(folder, capsys):
    for page in ("docs/howto/several-settings.md", "docs/sweep.md"):
        for command in commands("sweep", page=page):
            program, *arguments = shlex.split(command)
            assert program == "ftlaunch"
            assert run(arguments) == 0, command
    out, err = capsys.readouterr()
    assert "rates  Succeeded" in out
    assert "config of the best: " in err
    assert "trial 1 has the config's own values" in err
    assert "ftlaunch sweep best rates --to FILE" in err
    assert "whether that is more than chance cannot be said" in " ".join(err.split()).lower()
    written = yaml.safe_load(Path("best.yaml").read_text())
    assert written["Optimizer"]["lr"]["learning_rate"] != 0.1
    assert written["Global"]["output_dir"] == "/output/run"


def test_the_file_of_the_page_is_read(folder):
    text = (REPOSITORY / "docs" / "sweep.md").read_text(encoding="utf-8")
    found = re.search(r"^```yaml\n(Sweep:\n(?:.*\n)*?)```$", text, re.MULTILINE)
    assert found
    Path("sweep.yaml").write_text(found[1])
    request = read_request(
        Path("sweep.yaml"), SweepRequest(config=Path("sweep.yaml"), over=("seed=2",), trials=5)
    )
    assert request.config == Path("cfg.yaml")
    assert request.over == ("Optimizer.lr.learning_rate=log(1e-4, 1e-1)", "image_size=[192, 224]", "seed=2")
    assert (request.trials, request.prune) == (5, "asha")
