from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainer.cli.main import main


@pytest.fixture
def trainer(monkeypatch, capsys):
    """Types a command and returns its exit code, standard output and standard error."""

    def run(*argv: Any) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["trainer", *map(str, argv)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


@pytest.fixture
def cfg(workshop) -> Path:
    workshop.config(Global__epochs=1)
    return workshop.folder / "cfg.yaml"
