"""Which images `trainer predict` takes, what it calls their classes, and how a table holds the names."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil

import cv2
import numpy as np
import pytest
import yaml

from trainer.cli.answers import write_answers
from trainer.data.images import find_images
from trainer.data.make_lists import make_lists
from trainer.errors import DataError
from trainer.protocol.image_files import IMAGE_ENDINGS

AWKWARD = ['tench, Tinca "tinca"', "gold  fish", "新鲜 花"]


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    return tmp_path_factory.mktemp("once") / "output"


@pytest.fixture
def trained(workshop, trainer, monkeypatch, once):
    monkeypatch.chdir(workshop.folder)
    infer = {
        "transforms": [
            {"DecodeImage": {"to_rgb": True}}, {"NormalizeImage": {"order": ""}}, {"ToCHWImage": None}
        ],
        "PostProcess": {"name": "Topk", "topk": 3, "class_id_map_file": "labels.txt"},
    }  # fmt: skip
    workshop.config(Global__epochs=1, Infer=infer)
    (workshop.folder / "labels.txt").write_text(
        "".join(f"{key} {name}\n" for key, name in enumerate(AWKWARD)), encoding="utf-8"
    )
    if not once.exists():
        assert trainer("train", "-c", "cfg.yaml")[0] == 0
        shutil.copytree("output", once)
    shutil.copytree(once, "output", dirs_exist_ok=True)
    return workshop.folder


def test_names_with_spaces_commas_and_quotes_come_back_from_the_table(trained, trainer):
    argv = ("predict", "-c", "cfg.yaml", "val0.png", "val1.png", "--output")
    rows = list(csv.DictReader(io.StringIO(trainer(*argv, "csv")[1])))
    answers = json.loads(trainer(*argv, "json")[1])
    assert [row["file_name"] for row in rows] == ["val0.png", "val1.png"]
    for row, answer in zip(rows, answers, strict=True):
        assert [row[f"label_name_{place}"] for place in (1, 2, 3)] == answer["label_names"]
        assert [float(row[f"score_{place}"]) for place in (1, 2, 3)] == answer["scores"]
    assert list(rows[0])[:5] == ["file_name", "class_id_1", "label_name_1", "score_1", "class_id_2"]


def test_answers_of_different_lengths_are_lists_in_their_cells():
    answers = [
        ("a.png", {"class_ids": [], "scores": [], "label_names": []}),
        ("b,c.png", {"class_ids": [2, 0], "scores": [0.9, 0.6], "label_names": ['x "y"', "z, w"]}),
    ]
    rows = list(csv.DictReader(io.StringIO("".join(write_answers(answers, "csv", one_length=False)))))
    assert [json.loads(row["class_ids"]) for row in rows] == [[], [2, 0]]
    assert json.loads(rows[1]["label_names"]) == ['x "y"', "z, w"]
    assert rows[1]["file_name"] == "b,c.png"


def test_lists_of_attributes_follow_one_another():
    answers = [("a.png", {"attributes": ["Front", "Male"], "output": [1, 0, 1]})]
    header, row = csv.reader(io.StringIO("".join(write_answers(answers, "csv"))))
    assert header == ["file_name", "attribute_1", "attribute_2", "output_1", "output_2", "output_3"]
    assert row == ["a.png", "Front", "Male", "1", "0", "1"]


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (
            "1 cat\n2 dog\n3 bird\n",
            "no name for class 0 and a name for 3, which is no class; ids are counted",
        ),
        ("0 cat\n2 bird\n", "no name for class 1; correct the ids"),
        ("0 cat\n1\n2 bird\n", "no name for class 1; correct the ids"),
        ("0 a\n1 b\n2 c\n7 d\n", "a name for 7, which is no class; correct the ids"),
    ],
    ids=["from one", "one missing", "one empty", "one too many"],
)
def test_no_class_is_called_nothing_and_names_that_do_not_fit_are_told(trained, trainer, labels, said):
    (trained / "labels.txt").write_text(labels)
    code, out, err = trainer("predict", "-c", "cfg.yaml", "val0.png", "--output", "json")
    assert code == 0
    (found,) = json.loads(out)
    assert all(found["label_names"])
    names = dict(line.split(" ") for line in labels.splitlines() if " " in line)
    expected = [names.get(str(key), f"class {key}") for key in found["class_ids"]]
    assert found["label_names"] == expected
    assert f"warning: labels.txt: expected a name for each of the classes 0 to 2, got {said}" in err


def test_a_missing_file_of_names_is_named_once(trained, trainer):
    (trained / "labels.txt").unlink()
    code, out, err = trainer("predict", "-c", "cfg.yaml", "val0.png", "val1.png")
    assert (code, err.count("no such file: 'labels.txt'")) == (0, 1)
    assert "pass --labels FILE" in err
    assert out.count("class 0 0.") == 2


def test_exported_names_stand_at_the_number_of_their_class(trained, trainer):
    (trained / "labels.txt").write_text("1 cat\n2 dog\n3 bird\n")
    code, _, err = trainer("export", "-c", "cfg.yaml", "--to", "exported", "--compare", "0")
    assert (code, "ids are counted from 0" in err) == (0, True)
    description = yaml.safe_load((trained / "exported/inference.yml").read_text())
    assert description["PostProcess"]["Topk"]["label_list"] == ["class 0", "cat", "dog"]
    assert description["Infer"]["names"] == ["class 0", "cat", "dog"]


@pytest.mark.parametrize("epochs", [True, False], ids=["with epochs", "without epochs"])
def test_global_arch_and_infer_are_enough_to_predict(trained, trainer, epochs):
    whole = yaml.safe_load((trained / "cfg.yaml").read_text())
    part = {section: whole[section] for section in ("Global", "Arch", "Infer", "Metric") if section in whole}
    if not epochs:
        del part["Global"]["epochs"]
    (trained / "infer.yaml").write_text(yaml.safe_dump(part))
    by_whole = trainer("predict", "-c", "cfg.yaml", "val0.png")
    assert trainer("predict", "-c", "infer.yaml", "val0.png") == by_whole
    assert by_whole[0] == 0


def test_a_config_that_only_predicts_is_still_checked(trained, trainer):
    whole = yaml.safe_load((trained / "cfg.yaml").read_text())
    part = {section: whole[section] for section in ("Global", "Arch", "Infer")}
    part["Arch"]["class_num"] = "many"
    part["Infre"] = {}
    (trained / "infer.yaml").write_text(yaml.safe_dump(part))
    code, _, err = trainer("predict", "-c", "infer.yaml", "val0.png")
    assert (code, "class_num" in err, "did you mean 'Infer'" in err) == (2, True, True)
    code, _, err = trainer("train", "-c", "infer.yaml")
    assert (code, "Loss" in err) == (2, True)


@pytest.mark.parametrize("ending", [".tif", ".tiff", ".bmp", ".webp", ".ppm", ".jp2"])
def test_a_folder_is_read_by_the_endings_of_training(trained, trainer, ending):
    image = cv2.imread(str(trained / "val0.png"))
    (trained / "new").mkdir()
    assert cv2.imwrite(str(trained / f"new/A{ending}"), image)
    (trained / f"new/A{ending}").rename(trained / f"new/A{ending.upper()}")
    code, out, err = trainer("predict", "-c", "cfg.yaml", "new")
    assert (code, out.count(ending.upper())) == (0, 1), err


def test_lists_and_predictions_take_the_same_files(tmp_path):
    for ending in [*IMAGE_ENDINGS, ".gif", ".txt", ""]:
        for name in ("a", "b"):
            path = tmp_path / "one" / f"{name}{ending}"
            path.parent.mkdir(exist_ok=True)
            path.touch()
    (tmp_path / "one/.hidden.png").touch()
    make_lists(tmp_path)
    listed = (tmp_path / "train_list.txt").read_text() + (tmp_path / "val_list.txt").read_text()
    names = {line.split(" ")[0].removeprefix("one/") for line in listed.splitlines()}
    assert names == {path.name for path in find_images([str(tmp_path / "one")]).files}
    assert len(names) == 2 * len(IMAGE_ENDINGS)


def test_what_is_left_out_below_a_folder_is_counted_and_named(tmp_path):
    for name in ("a.png", "b.gif", "c.GIF", "README", "sub/d.jpg", "other/e.jpg"):
        (tmp_path / "new" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "new" / name).touch()
    (tmp_path / "new/link").symlink_to(tmp_path / "new")
    found = find_images([str(tmp_path / "new")])
    assert [path.name for path in found.files] == ["a.png", "e.jpg", "d.jpg"]
    others, links = found.notes
    assert others.endswith("left out what is no image by its ending: 2 .gif, 1 without an ending")
    assert links.endswith(f"left out linked folders: {tmp_path / 'new/link'}")


def test_a_folder_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    (tmp_path / "new/shut").mkdir(parents=True)
    (tmp_path / "new/a.png").touch()
    real = os.scandir

    def scandir(path):  # root may read every folder
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match="shut: expected a readable folder"):
        find_images([str(tmp_path / "new")])


def test_scores_are_those_of_the_network_whatever_the_names(trained, trainer):
    first = json.loads(trainer("predict", "-c", "cfg.yaml", "val0.png", "--output", "json")[1])
    (trained / "labels.txt").write_text("1 a\n2 b\n3 c\n")
    second = json.loads(trainer("predict", "-c", "cfg.yaml", "val0.png", "--output", "json")[1])
    assert np.array_equal(first[0]["scores"], second[0]["scores"])
    assert first[0]["class_ids"] == second[0]["class_ids"]


def test_files_that_are_named_as_in_a_pod_are_found_where_they_are(trained, trainer):
    """A line from a job's page: `--weights` and `--labels` below a mount that `local` stands for here."""
    document = yaml.safe_load((trained / "cfg.yaml").read_text())
    document["Launch"] = {"volumes": [{"mount": "/runs", "claim": "runs", "local": str(trained)}]}
    (trained / "pod.yaml").write_text(yaml.safe_dump(document))
    named = ("--weights", "/runs/output/latest.pdparams", "--labels", "/runs/labels.txt")
    here = ("--weights", "output/latest.pdparams", "--labels", "labels.txt")
    code, found, err = trainer("predict", "-c", "pod.yaml", "val0.png", *named)
    assert code == 0, err
    assert found == trainer("predict", "-c", "pod.yaml", "val0.png", *here)[1]
    code, _, err = trainer("eval", "-c", "pod.yaml", *named[:2])
    assert code == 0, err
