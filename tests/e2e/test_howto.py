"""The pages "I want to …", typed one after the other in one folder with photographs of flowers."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.docs.pages import blocks, commands
from tests.e2e.conftest import REPOSITORY, Place
from tests.e2e.test_printed_commands import flowers, type_all

pytestmark = [pytest.mark.timeout(900), pytest.mark.slow]
__all__ = ["flowers"]  # the fixture

PAGES = (
    "flowers", "paddleclas-config", "predict", "serve", "more-accuracy", "bigger-images", "several-nodes",
    "resume", "multi-label", "distillation",
)  # fmt: skip
_TRAINS = re.compile(r"^(?:trainer train|ftlaunch submit)\b(?!.*--dry-run)(?!.*Global\.epochs)")


def shorter(command: str) -> str:
    """Cut a training to one epoch: what a page shows is that it runs, not how good it gets."""
    return f"{command} -o Global.epochs=1" if _TRAINS.match(command) else command


def yaml_of(page: str, name: str) -> str:
    text = (REPOSITORY / f"docs/howto/{page}.md").read_text(encoding="utf-8")
    found = re.search(rf"<!-- file: {re.escape(name)} -->\n```yaml\n(.*?)```", text, re.DOTALL)
    assert found
    return found[1]


def test_each_page_is_typed() -> None:
    printed = {Path(block.page).stem for block in blocks("howto")}
    assert printed == set(PAGES)


def test_the_pages_work_one_after_the_other(place: Place, flowers: Path) -> None:
    shutil.rmtree(flowers / "new")
    shutil.copytree(REPOSITORY / "examples", place.folder / "examples")
    theirs = (REPOSITORY / "examples/ResNet50_vd.yaml").read_text(encoding="utf-8")
    theirs = re.sub(r"^  pretrained: .*", "  pretrained: False", theirs, flags=re.MULTILINE)
    (place.folder / "ResNet50_vd.yaml").write_text(theirs.partition("\n# ftlaunch's own section")[0] + "\n")
    said: dict[str, str] = {}
    for page in PAGES:
        if page == "multi-label":
            _write_several_labels(place.folder)
        if page == "distillation":
            _write_distillation(place.folder)
        said |= type_all(place, [shorter(line) for line in commands("howto", page=f"docs/howto/{page}.md")])
    assert '"class": "rose"' in said["python examples/serve.py inference a.jpg"]
    assert len((place.folder / "answers.csv").read_text().splitlines()) == 7
    if sys.version_info < (3, 13):  # no converter there
        said = type_all(place, commands("howto-onnx"))
        assert '"answers"' in said["python examples/serve.py inference a.jpg --runtime onnx"]


def _write_several_labels(folder: Path) -> None:
    for part in ("train", "val"):
        lines = (folder / f"flowers/{part}_list.txt").read_text().splitlines()
        made = []
        for line in lines:
            path, _, own = line.rpartition(" ")
            made.append(f"{path}\t" + ",".join("1" if own == str(label) else "0" for label in range(3)))
        (folder / f"flowers/multi_{part}_list.txt").write_text("\n".join(made) + "\n")
    (folder / "multi-label.yaml").write_text(yaml_of("multi-label", "multi-label.yaml"))


def _write_distillation(folder: Path) -> None:
    """As the page says: the sections of cfg.yaml are replaced."""
    text = (folder / "cfg.yaml").read_text(encoding="utf-8")
    for name in ("Arch", "Loss", "Metric"):
        text = re.sub(rf"^{name}:.*?(?=^\w|\Z)", "", text, flags=re.MULTILINE | re.DOTALL)
    (folder / "distillation.yaml").write_text(text + "\n" + yaml_of("distillation", "distillation-part.yaml"))
