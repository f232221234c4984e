"""`latest` leads to the run that was written below the volume, and to no folder that was never made."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.conftest import Workshop
from trainer import api


def test_a_run_that_goes_elsewhere_leaves_the_link(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workshop.folder)
    volume = {"mount": "/no-such-mount/runs", "claim": "c", "sub_path": "{job}", "local": "runs"}
    workshop.config(Global__epochs=1, Global__output_dir="/no-such-mount/runs", Launch={"volumes": [volume]})
    api.train("cfg.yaml")
    link = Path("runs/latest")
    first = link.resolve(strict=True)
    assert (first / "latest.pdparams").is_file()
    api.train("cfg.yaml", set=["Global.output_dir=elsewhere"])
    assert Path("elsewhere/latest.pdparams").is_file()
    assert link.resolve(strict=True) == first
