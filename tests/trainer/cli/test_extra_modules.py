"""Names of the user's own: the page's example, and every mistake around them."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from trainer.cli.main import main
from trainer.config import extras
from trainer.config.document import Document
from trainer.extra_modules import import_modules
from trainer.protocol.pathmap import PathMap

PAGE = (Path(__file__).resolve().parents[3] / "docs/extra-modules.md").read_text()
CODE = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]
EXAMPLE: dict[str, Any] = yaml.safe_load(re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1])
HEAD = "from trainer.extra import *\n"


@pytest.fixture
def trainer(monkeypatch, capsys, workshop):
    """Types a command in a process that has imported nothing of the user yet."""
    path, modules = [*sys.path], {*sys.modules}

    def run(*argv: Any) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["trainer", *map(str, argv)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    yield run
    extras.forget()
    sys.path[:] = path
    for name in {*sys.modules} - modules:
        file = getattr(sys.modules[name], "__file__", None)
        if file and Path(file).resolve().is_relative_to(workshop.folder.resolve()):
            del sys.modules[name]


@pytest.fixture
def write(workshop):
    """Writes the module and a config that uses the page's names, changed as asked."""

    def make(code: str = CODE, module: str = "my_parts.py", **changes: Any) -> Path:
        path = workshop.folder / module
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(code)
        document = workshop._document({"Global__epochs": 1, **changes})
        document.setdefault("Launch", {"extra_modules": [str(path)]})
        (workshop.folder / "cfg.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
        return workshop.folder / "cfg.yaml"

    return make


def example() -> dict[str, Any]:
    ops = EXAMPLE["DataLoader"]["Train"]["dataset"]["transform_ops"]
    return {
        "Arch": EXAMPLE["Arch"], "Loss": EXAMPLE["Loss"], "Metric": EXAMPLE["Metric"],
        "Optimizer": EXAMPLE["Optimizer"], "DataLoader__Train__dataset__transform_ops": ops,
        "DataLoader__Train__loader__num_workers": 1,
    }  # fmt: skip


def test_an_optimizer_of_the_module_is_one_of_several(trainer, write, workshop):
    own = {key: value for key, value in EXAMPLE["Optimizer"].items() if key != "name"}
    rate = {"name": "Constant", "learning_rate": 0.1}
    several = [
        {EXAMPLE["Optimizer"]["name"]: {**own, "scope": "fc"}},
        {"SGD": {"scope": "blocks6", "lr": rate}},
    ]
    code, _, err = trainer("train", "-c", write(Optimizer=several))
    assert code == 0, err
    wrong = [{EXAMPLE["Optimizer"]["name"]: {**own, "scope": "fc", "rho": 1}}]
    code, _, err = trainer("check", "-c", write(Optimizer=wrong))
    assert (code, "Optimizer.0" in err) == (2, True), err


def test_the_example_of_the_page_trains_evaluates_predicts_and_exports(trainer, write, workshop):
    cfg = write(**example())
    code, _, err = trainer("train", "-c", cfg)
    assert code == 0, err
    rows = [json.loads(line) for line in (workshop.folder / "output/metrics.jsonl").read_text().splitlines()]
    assert {"MarginLoss", "loss"} <= set(rows[0])
    assert 1 / 3 <= [row for row in rows if row["event"] == "eval"][-1]["confidence"] <= 1
    assert (workshop.folder / "output/best_model.pdparams").is_file()
    for command in ("eval", "check"):
        assert trainer(command, "-c", cfg)[0] == 0
    code, out, err = trainer("predict", "-c", cfg, workshop.folder / "val0.png", "--output", "json")
    assert code == 0, err
    assert len(json.loads(out)) == 1
    code, _, err = trainer(
        "export", "-c", cfg, "--to", workshop.folder / "exported", "-o", "Global.image_shape=[3,32,32]"
    )
    assert code == 0, err
    assert "compared on 6 images: logits differ" in err


def test_the_same_command_line_without_the_module_knows_no_such_name(trainer, write):
    cfg = write(**example(), Launch={})
    code, _, err = trainer("check", "-c", cfg)
    assert code == 2
    assert re.search(r"Arch: expected one of ResNet18, .*, got 'TwoLayers'", err)
    assert trainer("check", "-c", cfg, "--extra-module", cfg.parent / "my_parts.py")[0] == 0


def test_an_override_with_no_modules_imports_none(trainer, write):
    cfg = write("raise ValueError('imported')\n")
    assert trainer("check", "-c", cfg)[0] == 2
    code, _, err = trainer("check", "-c", cfg, "-o", "Launch.extra_modules=[]")
    assert (code, "imported" in err) == (0, False), err


def test_a_package_may_import_its_parts_and_its_neighbours(trainer, write, workshop):
    (workshop.folder / "code/own_pkg").mkdir(parents=True)
    (workshop.folder / "code/own_pkg/parts.py").write_text(CODE)
    (workshop.folder / "code/own_neighbour.py").write_text("")
    cfg = write(
        "import own_neighbour\nfrom own_pkg import parts\n",
        "code/own_pkg/__init__.py",
        **example(),
        Launch={"extra_modules": [str(workshop.folder / "code/own_pkg")]},
    )
    code, _, err = trainer("check", "-c", cfg)
    assert code == 0, err


def op(name: str, parameters: Any = None) -> dict[str, Any]:
    return {
        "DataLoader__Train__dataset__transform_ops": [
            {"DecodeImage": {}},
            {name: parameters},
            {"NormalizeImage": {"order": ""}},
        ]
    }


OP = HEAD + "@register_op('Mine')\n"
MODEL = HEAD + "@register_model('Mine')\ndef a(class_num):\n  "
OPTIMIZER = HEAD + "@register_optimizer('Mine')\ndef a(learning_rate, parameters):\n  return 3\n"
TWICE = HEAD + "@register_op('A')\ndef a(): ...\n@register_op('A')\ndef b(): ...\n"
ARCH = {"Arch": {"name": "Mine", "class_num": 3}}
MISTAKES: dict[str, tuple[str, dict[str, Any], str]] = {
    "imports what is not there": (
        "import nowhere_at_all\n", {},
        r"ModuleNotFoundError: No module named 'nowhere_at_all' \[\S+/my_parts.py:1\]; mend it",
    ),
    "raises": (
        "def f():\n  1 / 0\nf()\n", {},
        r"cfg.yaml:\d+:\d+: Launch.extra_modules.0: expected a module that can be imported, got "
        r"ZeroDivisionError: division by zero \[\S+my_parts.py:2, \S+my_parts.py:3\]; mend it",
    ),
    "syntax": ("x = (\n", {}, r"SyntaxError: .* \[\S+my_parts.py:1\]; mend it"),
    "exits": ("raise SystemExit(0)\n", {}, r"SystemExit: 0 \[\S+my_parts.py:1\]"),
    "name of ours": (
        HEAD + "register_loss('CELoss')(print)\n", {},
        r"expected a name of your own, got 'CELoss', which the trainer has; rename it \[\S+my_parts.py:2",
    ),
    "twice": (TWICE, {}, r"expected each op once, got 'A' again \(first in \S+my_parts.py:2\)"),
    "unregistered name": (
        OP + "def a(): ...\n", op("Mien"),
        r"cfg.yaml:\d+:\d+: DataLoader.\S+1: expected one of .*, got 'Mien'; did you mean 'Mine'\?",
    ),
    "unknown parameter": (
        OP + "def a(size): ...\n", op("Mine", {"sise": 3}),
        r"expected the parameters of Mine\(size\) in \S+my_parts.py:2, got .*'size'",
    ),
    "no mapping": (OP + "def a(): ...\n", op("Mine", 3), r"expected a mapping of parameters, got 3"),
    "no operation": (
        OP + "def a(): ...\n", op("Mine"),
        r"my_parts.py:2: Mine: expected a function of image and generators, got None",
    ),
    "no image": (
        OP + "def a(): return lambda image, draws: None\n", op("Mine"),
        r"my_parts.py:2: Mine: expected a numpy array to be returned, got None",
    ),
    "metric returns a number": (
        HEAD + "@register_metric('Mine')\ndef a(): return lambda logits, labels: 3\n",
        {"Metric__Eval": [{"Mine": {}}]},
        r"my_parts.py:2: Mine: expected a mapping from names to numbers to be returned, got 3",
    ),
    "loss returns a number": (
        HEAD + "@register_loss('Mine')\ndef a(): return lambda logits, labels: 3\n",
        {"Loss__Train": [{"Mine": {}}]},
        r"my_parts.py:2: Mine: expected a tensor to be returned, got 3",
    ),
    "model raises": (
        MODEL + "raise ValueError('bad')\n", ARCH,
        r"my_parts.py:4: expected Mine to be made with \{\}, got ValueError: bad",
    ),
    "no model": (MODEL + "return 3\n", ARCH, r"Mine: expected a paddle.nn.Layer, got 3"),
    "no optimizer": (
        OPTIMIZER, {"Optimizer__name": "Mine"}, r"Mine: expected a paddle.optimizer.Optimizer, got 3",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("code", "changes", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_of_a_module_is_told_with_its_place(trainer, write, code, changes, said):
    status, _, err = trainer("train", "-c", write(code, **changes))
    assert status == 2, err
    assert re.search(said, err), err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{}/none.py", r"yaml:\d+:\d+: Launch.* expected a Python file .* not there; mount it"),
        ("{}", r"without __init__.py; add that file"),
        ("{}/json.py", r"expected a name that nothing else has, got 'json', which .* has; rename the file"),
        ("{}/my-parts.py", r"expected a name that Python can import, such as my_ops.py, got 'my-parts.py'"),
        ("not_installed_here", r"expected a module that is installed where the trainer runs, or a file"),
        (3, r"expected a file, got 3"),
    ],
    ids=["missing", "folder", "taken", "dash", "uninstalled", "number"],
)  # fmt: skip
def test_what_cannot_be_imported_is_refused_with_its_place(trainer, write, workshop, entry, said):
    for name in ("json.py", "my-parts.py"):
        (workshop.folder / name).write_text("")
    entry = entry.format(workshop.folder) if isinstance(entry, str) else entry
    status, _, err = trainer("check", "-c", write(Launch={"extra_modules": [entry]}))
    assert status == 2
    assert re.search(said, err), err
    assert "Traceback" not in err


def test_an_error_while_training_names_the_line_of_the_module(trainer, write):
    code = (
        HEAD
        + "@register_op('Mine')\ndef a():\n  def run(image, draws):\n    return image.none\n  return run\n"
    )
    status, _, err = trainer(
        "train", "-c", write(code, **op("Mine"), DataLoader__Train__loader__num_workers=1)
    )
    assert status not in (0, 2)
    assert re.search(r"my_parts.py:5: error in a module of yours: AttributeError", err), err


def test_a_module_that_was_edited_is_imported_again(trainer, write, monkeypatch):
    """A notebook goes on for days: what it trains with is what stands in the file."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    code = HEAD + "@register_op('Mark')\nclass Mark:\n    def __call__(self, img):\n        return img\n"
    config = write(code)
    document = Document(name="cfg.yaml", values=yaml.safe_load(config.read_text()))
    import_modules(document, named=(), path_map=PathMap())
    first = sys.modules["my_parts"]
    import_modules(document, named=(), path_map=PathMap())
    assert sys.modules["my_parts"] is first
    write(code.replace("Mark", "Sign") + "LATER = True\n")
    import_modules(document, named=(), path_map=PathMap())
    assert sys.modules["my_parts"].LATER
    assert (extras.registered("op").count("Sign"), extras.registered("op").count("Mark")) == (1, 0)
