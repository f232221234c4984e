"""The pages of docs/reference are what the code says now."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser  # with all else that `make page-check` looks at
REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "docs/reference"


def test_the_reference_is_current() -> None:
    spec = importlib.util.spec_from_file_location("reference_generate", FOLDER / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.pages()
    assert set(made) == {path.name for path in FOLDER.glob("*.md")}
    stale = [
        name
        for name, text in made.items()
        if (FOLDER / name).read_text(encoding="utf-8").rstrip() != text.rstrip()
    ]
    assert stale == [], "run `make reference`"
    assert "0x" not in made["python.md"]  # addresses differ each time
