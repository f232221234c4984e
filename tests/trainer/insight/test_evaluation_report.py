"""The report on an evaluation: scikit-learn's numbers, a table of all answers, a page that is inert."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics

from tests.trainer.insight.test_data_report import HOSTILE, Reader, save
from trainer.errors import CheckpointError, DataError
from trainer.insight.evaluation_report import Origin, Predictions, softmax, write_report, write_wrong

ORIGIN = Origin(weights="best_model.pdparams", listed="val_list.txt", version="1.0", unreadable=1)


def predictions(
    folder: Path, photographs: list[np.ndarray], *, images: int = 40, classes: int = 4, several: bool = False,
    names: list[str] | None = None,
) -> Predictions:  # fmt: skip
    rng = np.random.default_rng(1)
    labels = rng.integers(0, classes, images)
    logits = rng.normal(0, 1, (images, classes)).astype(np.float32)
    logits[np.arange(images), labels] += 1
    paths = [str(folder / f"{place % len(photographs)}.jpg") for place in range(images)]
    for place, picture in enumerate(photographs[:images]):
        save(picture, folder / f"{place}.jpg")
    return Predictions(
        paths=paths, places=[f"val_list.txt:{place + 1}" for place in range(images)],
        labels=rng.random((images, classes)) < 0.4 if several else labels, logits=logits,
        names=names or [f"kind {label}" for label in range(classes)],
    )  # fmt: skip


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def test_the_table_has_a_row_an_image(tmp_path, photographs):
    given = predictions(tmp_path, photographs)
    write_report(given, tmp_path / "out", ORIGIN)
    rows = rows_of(tmp_path / "out" / "predictions.csv")
    assert list(rows[0]) == [
        "path",
        "label",
        *(f"{name}{k}" for k in range(1, 5) for name in ("top", "score")),
        "label_name",
        "top1_name",
    ]
    assert all(row["top1_name"] == given.names[int(row["top1"])] for row in rows)
    assert [row["path"] for row in rows] == given.paths
    tops = np.array([int(row["top1"]) for row in rows])
    assert (tops == given.logits.argmax(axis=1)).all()
    scores = np.array([float(row["score1"]) for row in rows])
    assert scores == pytest.approx(softmax(given.logits).max(axis=1), rel=1e-5)


def test_wrong_answers_are_a_table_with_names_the_surest_first(tmp_path, photographs):
    given = predictions(tmp_path, photographs)
    write_wrong(given, given.probabilities(), tmp_path / "wrong.csv")
    rows = rows_of(tmp_path / "wrong.csv")
    wrong = np.flatnonzero(given.logits.argmax(axis=1) != given.labels)
    assert sorted(row["path"] for row in rows) == sorted(given.paths[index] for index in wrong)
    scores = [float(row["score1"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    for row in rows:
        assert row["label"] != row["top1"]
        names = (given.names[int(row["label"])], given.names[int(row["top1"])])
        assert (row["label_name"], row["top1_name"]) == names
    several = predictions(tmp_path, photographs, several=True)
    with pytest.raises(DataError, match=r"--wrong: expected one class an image, got several"):
        write_wrong(several, several.probabilities(), tmp_path / "none.csv")


def test_the_document_has_scikit_learns_numbers(tmp_path, photographs):
    given = predictions(tmp_path, photographs)
    write_report(given, tmp_path / "out", ORIGIN)
    said = json.loads((tmp_path / "out" / "report.json").read_text())
    answers = given.logits.argmax(axis=1)
    assert said["accuracy"]["value"] == pytest.approx(
        metrics.accuracy_score(given.labels, answers), abs=1e-12
    )
    assert said["matrix"] == metrics.confusion_matrix(given.labels, answers, labels=range(4)).tolist()
    assert said["macro_f1"] == pytest.approx(
        metrics.f1_score(given.labels, answers, average="macro"), abs=1e-12
    )
    assert (said["weights"], said["listed"], said["unreadable"]) == ("best_model.pdparams", "val_list.txt", 1)


def test_the_page_shows_the_surest_mistake_first(tmp_path, photographs):
    given = predictions(tmp_path, photographs)
    page, _ = write_report(given, tmp_path / "out", ORIGIN)
    probabilities = softmax(given.logits)
    wrong = np.flatnonzero(given.logits.argmax(axis=1) != given.labels)
    first = wrong[probabilities[wrong].max(axis=1).argmax()]
    text = page.read_text()
    mistakes = text[text.index("Wrong, and sure of it") :]
    assert mistakes.index("<figcaption>") < mistakes.index(given.paths[first])
    assert mistakes[: mistakes.index("</figure>")].count(given.paths[first]) == 1
    assert "1 could not be read" in text


def test_a_model_without_mistakes_has_none_on_its_page(tmp_path, photographs):
    given = predictions(tmp_path, photographs)
    perfect = Predictions(
        paths=given.paths, places=given.places, labels=given.labels, names=given.names,
        logits=np.eye(4, dtype=np.float32)[given.labels] * 9,
    )  # fmt: skip
    text = write_report(perfect, tmp_path / "out", ORIGIN)[0].read_text()
    assert "Wrong, and sure of it" not in text
    assert "Confused most often" not in text
    assert "100.0 %" in text


def test_a_model_that_is_no_better_than_the_largest_class_is_told_so(tmp_path, photographs):
    given = predictions(tmp_path, photographs)
    constant = np.zeros_like(given.logits)
    constant[:, np.bincount(given.labels).argmax()] = 1
    bad = Predictions(
        paths=given.paths, places=given.places, labels=given.labels, names=given.names, logits=constant
    )
    assert (
        "no better than one that looks at no image"
        in write_report(bad, tmp_path / "out", ORIGIN)[0].read_text()
    )


def test_several_labels_an_image(tmp_path, photographs):
    given = predictions(tmp_path, photographs, several=True)
    page, _ = write_report(given, tmp_path / "out", ORIGIN)
    said = json.loads((tmp_path / "out" / "report.json").read_text())
    scores = 1 / (1 + np.exp(-given.logits.astype(np.float64)))
    expected = metrics.average_precision_score(given.labels, scores, average="macro")
    assert said["mean_average_precision"] == pytest.approx(expected, abs=1e-12)
    text = page.read_text()
    assert "mean average precision" in text
    assert said["matrix"][0][0] == int((given.labels[:, 0] & (scores[:, 0] >= 0.5)).sum())
    wrong = (scores >= 0.5) != given.labels
    row = int(np.where(wrong, np.abs(scores - 0.5), 0).max(axis=1).argmax())
    assert given.paths[row] in text[text.index("Wrong, and sure of it") :].partition("</figure>")[0]
    suspect = said["label_errors"]["suspects"][0]
    listed = given.labels[given.places.index(suspect["place"]), suspect["label"]]
    assert (suspect["is_listed"], suspect["margin"] < 0) == (bool(listed), True)
    for heading in ("What is named in the place of what", "How sure it is", "name it from", "missed where"):
        assert heading in text
    rows = rows_of(tmp_path / "out" / "predictions.csv")
    assert rows[0]["labels"] == " ".join(str(k) for k in np.flatnonzero(given.labels[0]))


@pytest.mark.parametrize("several", [False, True], ids=["one-class", "several"])
@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_names_are_inert(hostile: str, several: bool, tmp_path, photographs):
    given = predictions(tmp_path, photographs, names=[hostile, "b", "c", "d"], several=several)
    reader = Reader()
    reader.feed(write_report(given, tmp_path / "out", ORIGIN)[0].read_text(encoding="utf-8"))
    assert hostile in reader.text
    assert not reader.tags & {"script", "iframe", "object", "embed", "link", "base", "form"}
    for name, value in reader.attributes:
        assert not name.startswith("on")
        assert name != "href" or re.fullmatch(r"#matrix|#c\d+-\d+", value)
        assert name != "src" or value.startswith("data:image/jpeg;base64,")


def test_many_classes_make_no_large_page(tmp_path, photographs):
    given = predictions(tmp_path, photographs, images=3000, classes=1000)
    write_report(given, tmp_path / "out", ORIGIN)
    assert (tmp_path / "out" / "report.html").stat().st_size < 5_000_000


def test_a_folder_that_cannot_be_made_is_refused(tmp_path, photographs):
    (tmp_path / "file").write_text("")
    given = predictions(tmp_path, photographs)
    with pytest.raises(CheckpointError, match="expected a folder to write the report into"):
        write_report(given, tmp_path / "file" / "out", ORIGIN)
