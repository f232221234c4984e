"""`trainer export --card`."""

from __future__ import annotations

import hashlib
import json
import shlex
from typing import Any

from tests.docs.pages import commands


def test_the_lines_of_the_page_write_a_card_of_what_was_measured(
    trainer: Any, cfg: Any, workshop: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(workshop.folder)
    (workshop.folder / "labels.txt").write_text("0 oak\n1 elm\n2 ash\n")
    assert trainer("train", "-c", cfg)[0] == 0
    for line in commands("card"):
        code, out, err = trainer(*shlex.split(line)[1:])
        assert code == 0, err
    assert (
        "inference: inference.json, inference.pdiparams, inference.yml, MODEL_CARD.md, model_card.json" in out
    )
    said = json.loads((workshop.folder / "inference/model_card.json").read_text())
    listed = (workshop.folder / "train.txt").read_bytes()
    assert said["names"] == ["oak", "elm", "ash"]
    assert said["lists"][0]["file"]["sha256"] == hashlib.sha256(listed).hexdigest()
    assert said["lists"][0]["counts"] == [5, 5, 5]
    assert said["settings"]["Global.epochs"] == 1
    weights = (workshop.folder / "output/best_model.pdparams").read_bytes()
    assert said["weights"]["sha256"] == hashlib.sha256(weights).hexdigest()
    report = json.loads((workshop.folder / "report/report.json").read_text())
    assert said["report"]["thresholds"] == report["thresholds"]
    assert "### Thresholds" in (workshop.folder / "inference/MODEL_CARD.md").read_text()

    assert not any("changed since the training" in line for line in said["limits"])
    for name in ("train.txt", "val.txt"):
        lines = (workshop.folder / name).read_text().splitlines(keepends=True)
        (workshop.folder / name).write_text("".join(reversed(lines)))
    code, _, err = trainer("eval", "-c", cfg)
    assert (code, "images that they were trained on may be among those" in err) == (0, True)
    code, _, err = trainer("export", "-c", cfg, "--card", "--to", "again")
    assert code == 0, err
    limits = json.loads((workshop.folder / "again/model_card.json").read_text())["limits"]
    assert any(line.startswith("The training and evaluation lists have changed since") for line in limits)

    other = workshop.folder / "other.pdparams"
    other.write_bytes(weights + b"x")
    changed = json.loads((workshop.folder / "report/report.json").read_text()) | {"weights": str(other)}
    (workshop.folder / "report/report.json").write_text(json.dumps(changed))
    code, _, err = trainer("export", "-c", cfg, "--card", "--report", "report", "--to", "third")
    assert (code, "report.json: expected a report of " in err, "got one of " in err) == (3, True, True)
    assert not (workshop.folder / "third").exists()


def test_a_report_without_a_card_or_that_is_none_is_refused(trainer: Any, cfg: Any, workshop: Any) -> None:
    (workshop.folder / "r").mkdir()
    code, _, err = trainer("export", "-c", cfg, "--report", workshop.folder / "r")
    assert (code, "expected --card beside --report" in err) == (2, True)
    code, _, err = trainer("export", "-c", cfg, "--card", "--report", workshop.folder / "r")
    assert (code, "expected a report of `trainer eval --report`: no such file" in err) == (3, True)
