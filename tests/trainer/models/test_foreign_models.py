"""Architectures of an installed paddleclas; a folder on the path stands for the package."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from trainer.config.problems import ConfigError
from trainer.models.registry import create_model

_BACKBONE = """
from paddle import nn
from ppcls.utils import logger


class AlexNet(nn.Layer):
    def __init__(self, class_num=1000, width=4):
        super().__init__()
        logger._logger.append(width)  # fails where the logger was not set up
        self.fc = nn.Linear(width, class_num)
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A package laid out as paddleclas 2.6.0 is: its top module fails, `ppcls` lies inside."""
    for name in [name for name in sys.modules if name.split(".")[0] in ("ppcls", "paddleclas")]:
        monkeypatch.delitem(sys.modules, name)
    root = tmp_path / "site" / "paddleclas"
    (root / "ppcls" / "arch").mkdir(parents=True)
    (root / "ppcls" / "utils").mkdir()
    (root / "__init__.py").write_text("import faiss\n")
    for package in ("ppcls", "ppcls/arch", "ppcls/utils"):
        (root / package / "__init__.py").write_text("")
    (root / "ppcls" / "utils" / "logger.py").write_text(
        "_logger = None\n\n\ndef init_logger():\n    global _logger\n    _logger = []\n"
    )
    (root / "ppcls" / "arch" / "backbone.py").write_text(_BACKBONE)
    monkeypatch.setattr(sys, "path", [str(root.parent), *sys.path])
    yield root
    for name in [name for name in sys.modules if name.split(".")[0] == "ppcls"]:
        del sys.modules[name]


@pytest.mark.usefixtures("installed")
def test_an_architecture_of_paddleclas_is_built_by_it():
    model = create_model("AlexNet", class_num=3, width=5)
    assert model.fc.weight.shape == [5, 3]
    assert model.fc.weight.name == "linear_0.w_0"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "kwargs", "says"),
    [
        ("AlexNet", {"widht": 3}, "expected parameters that PaddleClas takes for AlexNet, got TypeError"),
        ("DarkNet53", {}, "got 'DarkNet53', which it has not"),
    ],
)
def test_what_paddleclas_refuses_is_refused_with_its_reason(name: str, kwargs: dict[str, int], says: str):
    with pytest.raises(ConfigError, match=says):
        create_model(name, **kwargs)


def test_without_the_package_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"AlexNet, got none; .*pip install --no-deps paddleclas"):
        create_model("AlexNet")


def test_a_package_that_lacks_what_it_imports_is_refused_with_the_missing_name(installed: Path):
    (installed / "ppcls" / "arch" / "backbone.py").write_text("import a_package_that_nobody_has\n")
    with pytest.raises(ConfigError, match=r"No module named 'a_package_that_nobody_has'; .* --no-deps"):
        create_model("AlexNet")
