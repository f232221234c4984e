from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import paddle
import pytest
import yaml

from tests.trainer.conftest import CLASSES
from trainer.cli.answers import FORMS, write_answers
from trainer.config.load import load_config
from trainer.engine.export import load_exported
from trainer.engine.onnx import open_onnx
from trainer.engine.predict import load_trained
from trainer.protocol.installation import install_command

HAS_CONVERTER = pytest.mark.skipif(
    sys.version_info >= (3, 13),
    reason="paddle2onnx has no wheel for this Python; the refusal is tested instead",
)
INFER = {
    "infer_imgs": "val0.png",
    "batch_size": 4,
    "transforms": [
        {"DecodeImage": {"to_rgb": True}},
        {"NormalizeImage": {"order": ""}},
        {"ToCHWImage": None},
    ],
    "PostProcess": {"name": "Topk", "topk": 2, "class_id_map_file": "labels.txt"},
}

TABLE = ("-o", "Infer.PostProcess={'name': 'TableAttribute'}")


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """A folder for the output of the one training that all tests here begin with."""
    return tmp_path_factory.mktemp("once") / "output"


@pytest.fixture
def trained(workshop, trainer, monkeypatch, once):
    monkeypatch.chdir(workshop.folder)
    workshop.config(
        Global__epochs=1, Global__image_shape=[3, 32, 32], Infer=INFER, Arch__dropout_prob=0.0,
        DataLoader__Eval__sampler__batch_size=2,
    )  # fmt: skip
    (workshop.folder / "labels.txt").write_text("0 red rose\n1 tulip\n2 blue\n")
    if not once.exists():
        assert trainer("train", "-c", "cfg.yaml")[0] == 0
        shutil.copytree("output", once)
    shutil.copytree(once, "output", dirs_exist_ok=True)
    return workshop.folder


def test_folders_files_and_patterns_are_answered_in_order_with_names(trained, trainer):
    (trained / "more/deep").mkdir(parents=True)
    shutil.copy(trained / "val1.png", trained / "more/deep/b.PNG")
    shutil.copy(trained / "val2.png", trained / "more/a.png")
    (trained / "more/notes.txt").write_text("no image")
    code, out, err = trainer(
        "predict", "-c", "cfg.yaml", "more", "val0.png", "val[34].png", "--output", "json"
    )
    assert (code, err) == (0, "more: left out what is no image by its ending: 1 .txt\n")
    found = json.loads(out)
    assert [row["file_name"] for row in found] == [
        "more/a.png", "more/deep/b.PNG", "val0.png", "val3.png", "val4.png"
    ]  # fmt: skip
    for row in found:
        assert set(row["label_names"]) <= {"red rose", "tulip", "blue"}
        assert row["scores"] == sorted(row["scores"], reverse=True)
        assert len(row["class_ids"]) == 2


def test_forms_say_the_same(trained, trainer):
    answers = json.loads(trainer("predict", "-c", "cfg.yaml", "--output", "json")[1])
    (row,) = csv.DictReader(io.StringIO(trainer("predict", "-c", "cfg.yaml", "--output", "csv")[1]))
    assert [int(row[f"class_id_{place}"]) for place in (1, 2)] == answers[0]["class_ids"]
    assert [row[f"label_name_{place}"] for place in (1, 2)] == answers[0]["label_names"]
    assert [float(row[f"score_{place}"]) for place in (1, 2)] == answers[0]["scores"]
    text = trainer("predict", "-c", "cfg.yaml")[1]
    name, score = answers[0]["label_names"][0], answers[0]["scores"][0]
    assert text.startswith(f"val0.png: {name} {score:.3f}, ")


def test_each_answer_is_a_line_of_its_own_in_json_lines(trained, trainer):
    files = ["val0.png", "val1.png", "val2.png"]
    lines = trainer("predict", "-c", "cfg.yaml", *files, "--output", "jsonl")[1].splitlines()
    whole = trainer("predict", "-c", "cfg.yaml", *files, "--output", "json")[1]
    assert [json.loads(line) for line in lines] == json.loads(whole)
    assert whole == json.dumps(json.loads(whole), ensure_ascii=False, indent=1) + "\n"


@pytest.mark.parametrize("form", FORMS)
def test_answers_come_before_all_images_were_read(trained, trainer, form):
    (trained / "val1.png").write_bytes(b"no image")
    code, out, err = trainer(
        "predict", "-c", "cfg.yaml", "val0.png", "val1.png", "--batch-size", "1", "--output", form
    )
    assert code == 3
    assert "val0.png" in out
    assert "val1.png" in err


@pytest.mark.parametrize(
    ("form", "nothing"), [("text", ""), ("json", "[]\n"), ("jsonl", ""), ("csv", "file_name\n")]
)
def test_no_answer_at_all_is_still_of_its_form(form, nothing):
    assert "".join(write_answers([], form)) == nothing


def test_a_reader_that_goes_away_ends_it_quietly(trained):
    mine, theirs = os.pipe()
    os.close(mine)
    command = [sys.executable, "-m", "trainer", "predict", "-c", "cfg.yaml", "val0.png"]
    done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, text=True)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_bad_image_ends_it_or_is_skipped_and_counted(trained, trainer):
    (trained / "val1.png").write_bytes(b"no image")
    code, out, err = trainer("predict", "-c", "cfg.yaml", "val0.png", "val1.png")
    assert (code, out) == (3, "")
    assert "val1.png: expected an image, got 8 bytes" in err
    code, out, err = trainer("predict", "-c", "cfg.yaml", "val0.png", "val1.png", "--bad-images", "skip")
    assert (code, len(out.splitlines())) == (0, 1)
    assert err.endswith("skipped 1 of 2 images\n")


def test_an_infer_list_is_read_below_infer_imgs(trained, trainer):
    (trained / "list.txt").write_text("val0.png 0\nval1.png 1\n")
    infer = ["-o", "Infer.infer_list=list.txt", "-o", "Infer.infer_imgs=."]
    code, out, _ = trainer("predict", "-c", "cfg.yaml", *infer)
    assert (code, [line.split(":")[0] for line in out.splitlines()]) == (0, ["val0.png", "val1.png"])


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (("-c", "cfg.yaml", "nothing"), 3, "nothing: expected an image, a folder or a pattern"),
        (("val0.png",), 2, "expected one of -c FILE and --model FOLDER"),
        (("--model", "empty", "val0.png"), 2, "empty: expected a folder of `trainer export`"),
        (("-c", "cfg.yaml", "--labels", "none.txt"), 2, "none.txt: expected a file of `id name` lines"),
        (("-c", "cfg.yaml", *TABLE), 2, "Arch.class_num 6, got 3"),
    ],
    ids=["no images", "no model", "no export", "no names", "another post-process"],
)  # fmt: skip
def test_what_cannot_be_predicted_is_refused(trained, trainer, argv, code, said):
    ended, out, err = trainer("predict", *argv)
    assert (ended, out) == (code, "")
    assert said in err


def test_an_exported_folder_answers_like_the_trained_model(trained, trainer):
    code, out, err = trainer("export", "-c", "cfg.yaml", "--to", "exported")
    assert (code, out.split(":")[0]) == (0, "exported"), err
    assert "compared on 6 images: logits differ by at most" in err
    assert sorted(path.name for path in (trained / "exported").iterdir()) == [
        "inference.json", "inference.pdiparams", "inference.yml"
    ]  # fmt: skip
    draws = np.random.default_rng(0).standard_normal((64, 3, 32, 32)).astype("float32")
    mine = load_trained(load_config(trained / "cfg.yaml").config, weights=None, labels=None).network(draws)
    theirs = load_exported(trained / "exported")[0].network(draws)
    assert np.abs(mine - theirs).max() <= 1e-5
    assert (mine.argmax(1) == theirs.argmax(1)).all()
    assert "replaced" not in err
    _, _, err = trainer("export", "-c", "cfg.yaml", "--to", "exported", "--compare", "0")
    assert "replaced inference.json, inference.pdiparams, inference.yml of an earlier export" in err
    by_config = trainer("predict", "-c", "cfg.yaml", "val0.png", "val1.png")
    (trained / "labels.txt").unlink()  # the exported folder holds the names
    assert trainer("predict", "--model", "exported", "val0.png", "val1.png") == by_config


def test_the_description_is_in_paddleclass_form(trained, trainer):
    assert trainer("export", "-c", "cfg.yaml", "--to", "exported")[0] == 0
    description = yaml.safe_load((trained / "exported/inference.yml").read_text())
    assert description["Global"] == {"model_name": "PPLCNet_x0_25", "image_shape": [3, 32, 32]}
    assert description["PreProcess"]["transform_ops"][0] == {"NormalizeImage": {"order": ""}}
    assert description["PostProcess"] == {"Topk": {"topk": 2, "label_list": ["red rose", "tulip", "blue"]}}


def test_nothing_is_exported_where_the_answers_differ(trained, trainer, monkeypatch):
    import trainer.engine.export as export

    real = export.open_exported
    monkeypatch.setattr(
        export, "open_exported", lambda folder, **given: lambda images: real(folder, **given)(images)[:, ::-1]
    )
    code, _, err = trainer("export", "-c", "cfg.yaml", "--to", "exported")
    assert code == 5
    assert "export: inference.json: expected the trained model's logits within 0.0001 of their size" in err
    assert "pass --compare 0 to write it all the same" in err
    assert re.search(r"for \S+val.txt:[1-6], whose largest logit is", err)
    assert list((trained / "exported").iterdir()) == []


def test_logits_of_thousands_are_compared_by_their_size(trained, trainer):
    weights = paddle.load("output/best_model.pdparams")
    head = next(key for key in weights if key.startswith("fc.") and weights[key].ndim == 2)
    weights[head] = weights[head] * 1e5  # as where batch norms have seen a few steps only
    paddle.save(weights, "large.pdparams")
    code, _, err = trainer("export", "-c", "cfg.yaml", "--weights", "large.pdparams", "--to", "exported")
    assert (code, "logits differ by at most" in err) == (0, True), err
    largest = float(re.search(r"logits differ by at most (\S+) of", err)[1])
    assert largest <= 1e-4
    weights[head] = weights[head] * np.nan
    paddle.save(weights, "nan.pdparams")
    code, _, err = trainer("export", "-c", "cfg.yaml", "--weights", "nan.pdparams", "--to", "other")
    assert (code, "got nan or infinity; its weights have diverged" in err) == (5, True), err


def test_where_onednn_answers_differently_predicting_does_without_it(trained, trainer, monkeypatch):
    import trainer.engine.export as export

    real = export.open_exported

    def turned(folder, onednn=True):
        return (lambda images: real(folder)(images)[:, ::-1]) if onednn else real(folder, onednn=False)

    monkeypatch.setattr(export, "open_exported", turned)
    code, _, err = trainer("export", "-c", "cfg.yaml", "--to", "exported")
    assert (code, "with oneDNN" in err, "does without it" in err) == (0, True, True)
    assert yaml.safe_load((trained / "exported/inference.yml").read_text())["Infer"]["onednn"] is False
    by_config = trainer("predict", "-c", "cfg.yaml", "val0.png", "val1.png")
    assert trainer("predict", "--model", "exported", "val0.png", "val1.png") == by_config


def test_a_config_without_infer_predicts_and_exports_by_its_evaluation(workshop, trainer, monkeypatch):
    monkeypatch.chdir(workshop.folder)
    workshop.config(Global__epochs=1)
    assert trainer("train", "-c", "cfg.yaml")[0] == 0
    assert trainer("export", "-c", "cfg.yaml", "--to", "exported", "--compare", "0")[0] == 0
    found = json.loads(trainer("predict", "--model", "exported", "val0.png", "--output", "json")[1])
    assert len(found[0]["class_ids"]) == CLASSES


@HAS_CONVERTER
def test_an_onnx_model_answers_like_the_trained_one(trained, trainer):
    code, out, err = trainer("export", "-c", "cfg.yaml", "--to", "exported", "--onnx")
    assert code == 0, err
    assert out.startswith("exported: inference.json, inference.pdiparams, inference.yml, inference.onnx of ")
    assert "compared on 6 images: logits differ by at most" in err
    draws = np.random.default_rng(0).standard_normal((64, 3, 32, 32)).astype("float32")
    mine = load_trained(load_config(trained / "cfg.yaml").config, weights=None, labels=None).network(draws)
    theirs = open_onnx(trained / "exported/inference.onnx")(draws)
    assert np.abs(mine - theirs).max() <= 1e-5
    assert (mine.argmax(1) == theirs.argmax(1)).all()


def test_onnx_without_its_packages_is_refused_before_anything_is_done(trained, trainer, monkeypatch):
    monkeypatch.setattr("trainer.engine.onnx.find_missing", lambda: ["paddle2onnx", "onnxruntime"])
    code, out, err = trainer("export", "-c", "cfg.yaml", "--to", "exported", "--onnx")
    assert (code, out) == (5, "")
    assert "expected paddle2onnx and onnxruntime" in err
    assert (install_command("onnx") if sys.version_info < (3, 13) else "Python 3.10 to 3.12") in err
    assert not (trained / "exported").exists()


@HAS_CONVERTER
def test_a_model_that_cannot_be_converted_leaves_what_was_there(trained, trainer, monkeypatch):
    (trained / "exported").mkdir()
    (trained / "exported/inference.json").write_text("before")
    monkeypatch.setattr("paddle2onnx.export", lambda *_, **__: None)
    code, out, err = trainer("export", "-c", "cfg.yaml", "--to", "exported", "--onnx")
    assert (code, out) == (5, "")
    assert "expected paddle2onnx to know all operators" in err
    assert [path.name for path in (trained / "exported").iterdir()] == ["inference.json"]
    assert (trained / "exported/inference.json").read_text() == "before"
