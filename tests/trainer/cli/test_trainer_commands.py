from __future__ import annotations

import errno
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from tests.docs.pages import commands
from trainer.cli.endings import Ending, end_with
from trainer.cli.main import main
from trainer.protocol.exits import Exit
from trainer.protocol.outcome import load_outcome


def test_help_names_every_command(trainer):
    code, out, _ = trainer("--help")
    assert code == 0
    for name in ("train", "eval", "check", "make-lists"):
        assert f"\n  {name} " in out


def test_a_misspelt_command_is_guessed(trainer):
    code, _, err = trainer("trian")
    assert code == 2
    assert "did you mean 'train'?" in err


def test_config_only_reads_no_list(trainer, cfg, workshop):
    (workshop.folder / "train.txt").unlink()
    assert trainer("check", "-c", cfg)[0] == 3
    assert trainer("check", "-c", cfg, "--config-only") == (0, f"{cfg}: ok: PPLCNet_x0_25, 3 classes\n", "")


def test_train_then_eval(trainer, cfg, workshop):
    assert trainer("train", "-c", cfg)[0] == 0
    code, out, _ = trainer("eval", "-c", cfg, "--output", "json")
    assert code == 0
    found = json.loads(out.splitlines()[-1])
    assert found["weights"].endswith("model.pdparams")
    assert 0 <= found["top1"] <= 1
    latest = workshop.folder / "output/latest.pdparams"
    code, out, _ = trainer("eval", "-c", cfg, "--weights", latest)
    assert out.startswith(f"{latest}: CELoss: ")


def test_overrides_reach_the_training(trainer, cfg, workshop):
    other = workshop.folder / "other"
    assert (
        trainer("train", "-c", cfg, "-o", f"Global.output_dir={other}", "-o", "Global.iter_per_epoch=1")[0]
        == 0
    )
    rows = [json.loads(line) for line in (other / "metrics.jsonl").read_text().splitlines()]
    assert sum(row["event"] == "step" for row in rows) == 1


def test_check_says_what_there_is(trainer, cfg):
    code, out, _ = trainer("check", "-c", cfg)
    assert code == 0
    assert out == (
        f"{cfg}: ok: 15 training and 6 evaluation images, 3 classes\n"
        f"{cfg}: decoded 15 of 15 training and 6 of 6 evaluation images\n"
        f"{cfg}: model: 0.1 M parameters, 1 MiB with gradients and optimizer, activations apart\n"
    )


def test_check_holds_pretrained_weights_against_the_model(trainer, cfg, workshop):
    pretrained = "Arch.pretrained=" + str(workshop.folder / "output/latest.pdparams")
    code, _, err = trainer("check", "-c", cfg, "-o", pretrained)
    assert (code, "expected a .pdparams or .safetensors file, got no such file" in err) == (2, True)
    assert trainer("train", "-c", cfg)[0] == 0
    code, out, _ = trainer("check", "-c", cfg, "-o", pretrained, "-o", "Optimizer.lr.learning_rate=0.0001")
    assert (code, "; 146 of 146 keys of PPLCNet_x0_25 from " in out) == (0, True), out
    other = "Arch={'name': 'ResNet18', 'class_num': 3}"
    code, _, err = trainer("check", "-c", cfg, "-o", other, "-o", pretrained)
    assert (code, "expected weights of ResNet18, got others" in err) == (2, True), err
    code, out, _ = trainer("check", "-c", cfg, "-o", "Arch.pretrained=True")
    assert (code, "PPLCNet_x0_25_pretrained.pdparams is downloaded when training begins" in out) == (0, True)


@pytest.mark.parametrize(
    ("override", "code", "says"),
    [
        ("Global.epochs=no", 2, "Global.epochs: expected a whole number"),
        ("Global.epoks=3", 2, "did you mean 'epochs'?"),
        ("Arch.name=ResNet50_vdd", 2, "did you mean 'ResNet50_vd'?"),
        ("Arch.class_num=2", 3, "expected a label from 0 to 1"),
        ("DataLoader.Train.dataset.cls_label_path=none.txt", 3, "none.txt: expected a list file"),
        ("Arch.pretrained=none", 2, "pretrained weights: none: expected a .pdparams or .safetensors file"),
        ("Optimizer.lr.learning_rate=1e30", 4, "expected a finite loss"),
        ("Global.output_dir=/proc/nowhere", 5, "expected a folder to write to"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_goes_wrong_ends_with_its_code_and_one_sentence(trainer, cfg, override, code, says):
    found, _, err = trainer("train", "-c", cfg, "-o", override)
    assert found == code
    assert says in err
    assert "Traceback" not in err


def test_a_missing_config_is_said(trainer, tmp_path):
    code, _, err = trainer("train", "-c", tmp_path / "none.yaml")
    assert code == 2
    assert "expected a config file, got no such file" in err


def test_an_outcome_is_left_for_the_node_process(trainer, cfg, workshop, monkeypatch):
    path = workshop.folder / "outcome.json"
    monkeypatch.setenv("FTL_OUTCOME", str(path))
    assert trainer("train", "-c", cfg, "-o", "Global.epochs=x")[0] == 2
    assert load_outcome(path).exit == 2
    assert "Global.epochs" in load_outcome(path).reason
    assert trainer("train", "-c", cfg)[0] == 0
    outcome = load_outcome(path)
    assert (outcome.exit, outcome.reason, outcome.step) == (0, "done", 4)
    assert outcome.checkpoint.endswith("e001-s000004")


@pytest.mark.parametrize(
    "variable", ["PADDLE_TRAINER_ID", "PADDLE_TRAINERS_NUM", "FTL_ATTEMPT", "FTL_PATH_MAP"]
)
def test_a_broken_environment_is_refused_by_name(trainer, cfg, monkeypatch, variable):
    monkeypatch.setenv(variable, "x")
    code, _, err = trainer("train", "-c", cfg)
    assert code == 2
    assert variable in err


def test_paths_are_mapped_where_the_local_backend_says(trainer, cfg, workshop, monkeypatch):
    cfg.write_text(cfg.read_text().replace(str(workshop.folder), "/data"))
    monkeypatch.setenv(
        "FTL_PATH_MAP", json.dumps({"/data": str(workshop.folder), "/etc/ftlaunch": str(cfg.parent)})
    )
    assert trainer("train", "-c", "/etc/ftlaunch/cfg.yaml")[0] == 0
    assert (workshop.folder / "output/latest.pdparams").exists()


def test_an_unexpected_error_is_one_sentence_and_a_traceback_on_demand(trainer, cfg, monkeypatch):
    def fail(*args, **kwargs):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("trainer.engine.setup.load_list", fail)
    code, _, err = trainer("check", "-c", cfg)
    assert (code, err) == (1, "trainer: internal error: ZeroDivisionError: oh\n")
    monkeypatch.setenv("FTLAUNCH_DEBUG", "1")
    assert "Traceback" in trainer("check", "-c", cfg)[2]


def test_lists_are_made(trainer, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for index in range(5):
            image = np.zeros((4, 4, 3), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / "pets" / name / f"{index}.png"), image)
    code, out, err = trainer("make-lists", tmp_path / "pets")
    assert code == 0
    assert "2 classes; 8 images in train_list.txt, 2 in val_list.txt" in out
    assert "Arch.class_num 2" in err
    code, _, err = trainer("make-lists", tmp_path / "pets")
    assert code == 3
    assert "--overwrite" in err or "overwrite" in err


def test_a_closed_pipe_is_quiet(monkeypatch):
    def broken(*args, **kwargs):
        raise BrokenPipeError

    monkeypatch.setattr(sys.modules[main.__module__], "group", broken)
    monkeypatch.setattr("os.dup2", lambda *args: None)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 141


def test_help_imports_nothing_heavy():
    code = """
import subprocess
import sys
from trainer.cli.main import group
for arguments in (["--help"], ["--version"], ["train", "--help"], ["make-lists", "--help"]):
    group.main(args=arguments, standalone_mode=False)
    heavy = [name for name in ("pydantic", "yaml", "paddle", "numpy", "cv2") if name in sys.modules]
    if heavy:
        sys.exit(f"{arguments}: imported {heavy}")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_resize_writes_the_file_unless_it_is_only_to_say_so(trainer, tmp_path):
    config = tmp_path / "cfg.yaml"
    config.write_text("Global: {image_shape: [3, 224, 224]}  # kept\n")
    code, out, _ = trainer("resize", config, "320", "--dry-run")
    assert (code, out.splitlines()[0]) == (0, f"{config}: line 1: Global.image_shape.1: 224 -> 320")
    assert "224" in config.read_text()
    assert trainer("resize", config, "320")[0] == 0
    assert config.read_text() == "Global: {image_shape: [3, 320, 320]}  # kept\n"
    assert trainer("resize", config, "320") == (0, "", f"{config}: all sizes are 320 already\n")
    code, _, err = trainer("resize", tmp_path / "none.yaml", "320")
    assert (code, "expected a config file, got no such file" in err) == (2, True)


def test_make_lists_says_which_folder_became_which_list(tmp_path, trainer):
    for name in (
        "train/a/1.jpg",
        "train/b/2.jpg",
        "valid/a/3.jpg",
        "valid/b/4.jpg",
        "test/a/5.jpg",
        "old/6.jpg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    code, out, err = trainer("make-lists", tmp_path, "--no-read")
    assert (code, out) == (
        0, f"{tmp_path}: 2 classes; 2 images in train_list.txt, 2 in val_list.txt, 1 in test_list.txt, "
        "class names in labels.txt\n",
    )  # fmt: skip
    assert "took train/ as train_list.txt, valid/ as val_list.txt, test/ as test_list.txt" in err
    assert "left out, because no class folders are known there: old/" in err


def test_ctrl_c_while_a_library_is_loaded_is_an_interruption(capsys):
    """pybind11 tells a KeyboardInterrupt that its module meets while it is initialised as an ImportError."""

    def work() -> None:
        raise ImportError("initialization failed") from KeyboardInterrupt()

    assert end_with(work, Ending()) == 130
    assert capsys.readouterr().err == "trainer: interrupted\n"


def test_an_evaluation_writes_a_report_with_the_names_of_classes(trainer, cfg, workshop, monkeypatch):
    assert trainer("train", "-c", cfg)[0] == 0
    listed = Path(yaml.safe_load(cfg.read_text())["DataLoader"]["Eval"]["dataset"]["cls_label_path"])
    listed.with_name("labels.txt").write_text("0 oak\n1 elm\n2 ash\n")
    monkeypatch.chdir(workshop.folder)
    (typed,) = commands("evaluation-report")
    code, out, _ = trainer(*shlex.split(typed)[1:])
    assert code == 0
    assert out.splitlines()[-1] == "wrote report/report.html"
    said = json.loads((workshop.folder / "report" / "report.json").read_text())
    assert said["names"] == ["oak", "elm", "ash"]
    assert said["images"] == 6
    assert len((workshop.folder / "report" / "predictions.csv").read_text().splitlines()) == 7
    code, out, err = trainer("eval", "-c", cfg, "--report", workshop.folder / "report", "--output", "json")
    assert json.loads(out)["top1"] == pytest.approx(said["accuracy"]["value"], abs=1e-6)
    assert "wrote" in err


def test_a_profile_says_where_the_time_goes_and_writes_a_trace(trainer, cfg, workshop, monkeypatch):
    monkeypatch.chdir(workshop.folder)
    before = set(workshop.folder.rglob("*"))
    (typed,) = commands("profile")
    code, out, _ = trainer(*shlex.split(typed)[1:])
    assert code == 0
    assert "forward" in out
    assert out.splitlines()[-1] == "wrote trace.json: open it in chrome://tracing or ui.perfetto.dev"
    assert set(workshop.folder.rglob("*")) - before == {workshop.folder / "trace.json"}
    slices = [
        event for event in json.loads(Path("trace.json").read_text())["traceEvents"] if event.get("ph") == "X"
    ]
    assert sum(event["name"] == "step" for event in slices) == 5
    assert {"Forward", "Backward", "Optimization", "Operator"} <= {event["cat"] for event in slices}
    code, out, _ = trainer("profile", "-c", cfg, "--steps", "2", "--output", "json")
    said = json.loads(out)
    assert said["steps"] == 2
    assert sum(said["parts"].values()) == pytest.approx(said["step_s"], rel=0.05)
    assert said["operators"][0]["seconds"] >= said["operators"][-1]["seconds"] > 0


def test_a_trace_that_cannot_be_written_is_refused(trainer, cfg, workshop):
    code, _, err = trainer(
        "profile", "-c", cfg, "--steps", "1", "--trace", workshop.folder / "nosuch" / "t.json"
    )
    assert code == 5
    assert "expected a file to write the trace to" in err


def test_a_report_that_cannot_be_written_is_refused_before_the_evaluation(
    trainer, cfg, workshop, monkeypatch
):
    import trainer.engine.evaluate as evaluation
    import trainer.insight.evaluation_report as report

    assert trainer("train", "-c", cfg, "-o", "Global.epochs=1")[0] == 0

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(report, "replace_file", full)  # at the end, after all: the numbers are not lost
    code, _, err = trainer("eval", "-c", cfg, "--report", workshop.folder / "report")
    assert code == 5
    assert re.search(r"got no space left on device; what was measured: .*top1: 0\.\d{5}", err)
    monkeypatch.setattr(report, "create_file", full)
    monkeypatch.setattr(evaluation, "evaluate_model", None)
    code, _, err = trainer("eval", "-c", cfg, "--report", workshop.folder / "report")
    assert code == 5
    assert err.endswith("/report: expected a folder to write the report into, got no space left on device\n")


def test_an_evaluation_prints_classes_and_folders_of_another_list(trainer, cfg, workshop):
    assert trainer("train", "-c", cfg)[0] == 0
    (workshop.folder / "labels.txt").write_text("0 oak\n1 榆树\n2 ash\n")
    (workshop.folder / "site").mkdir()
    shutil.copy(workshop.folder / "val0.png", workshop.folder / "site" / "a.png")
    listed = workshop.folder / "test_list.txt"
    listed.write_text("val0.png 0\nval1.png 1\nval2.png 2\nval3.png 0\nsite/a.png 0\n")
    typed = ("eval", "-c", cfg, "--list", listed, "--per-class", "--by", "folder")
    code, out, _ = trainer(*typed)
    assert code == 0
    lines = out.splitlines()
    at = next(index for index, line in enumerate(lines) if line.startswith("CLASS"))
    assert lines[at].split()[:3] == ["CLASS", "IMAGES", "RECALL"]
    assert {line.split()[0]: line.split()[1] for line in lines[at + 1 : at + 4]} == {
        "oak": "3", "榆树": "1", "ash": "1",
    }  # fmt: skip
    folders = {line.split()[0]: line.split()[1] for line in lines[at + 5 : at + 7]}
    assert lines[at + 4].startswith("FOLDER")
    assert folders == {".": "4", "site": "1"}
    said = json.loads(trainer(*typed, "--output", "json")[1])
    assert sum(of["images"] for of in said["classes"]) == 5
    right = sum(of["correct"] for of in said["folders"])
    assert right == sum(of["correct"] for of in said["classes"]) == pytest.approx(5 * said["top1"])
    harms = [of["images"] + of["predicted"] - 2 * of["correct"] for of in said["classes"]]
    assert harms == sorted(harms, reverse=True)


def test_a_list_that_is_not_there_is_refused(trainer, cfg, workshop):
    assert trainer("train", "-c", cfg)[0] == 0
    code, _, err = trainer("eval", "-c", cfg, "--list", workshop.folder / "nosuch.txt")
    assert code == 3
    assert "nosuch.txt" in err


def test_a_library_that_the_system_lacks_is_named_with_its_package(trainer, cfg, monkeypatch):
    def fail(*args, **kwargs):
        raise ImportError("libgomp.so.1: cannot open shared object file: No such file or directory")

    monkeypatch.setattr("trainer.engine.setup.load_list", fail)
    code, _, err = trainer("check", "-c", cfg)
    assert code == Exit.CONFIG
    assert err == (
        "trainer: this system: expected libgomp.so.1, which a package of this environment loads, got none; "
        "on Debian and Ubuntu: apt-get install libgomp1\n"
    )
