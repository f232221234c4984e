"""The pages of docs/reference and the picture of the rooms are what the code says now."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.browser  # with all else that `make page-check` looks at
REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "docs/reference"


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_of_the_rooms_is_current() -> None:
    rooms = _load(REPOSITORY / "docs/rooms.py")
    picture = (REPOSITORY / "docs/rooms.svg").read_text(encoding="utf-8")
    assert rooms.draw(rooms.imports()) == picture, "run `make reference`"


def test_the_picture_leaves_out_only_arrows_that_a_longer_way_says() -> None:
    rooms = _load(REPOSITORY / "docs/rooms.py")
    edges = {"a": {"b", "c"}, "b": {"c"}, "c": set(), "d": {"c"}}
    assert rooms.without_shortcuts(edges) == {"a": {"b"}, "b": {"c"}, "c": set(), "d": {"c"}}
    assert rooms.heights(edges) == {"c": 0, "b": 1, "a": 2, "d": 1}
    with pytest.raises(ValueError, match="a → b → a"):
        rooms.heights({"a": {"b"}, "b": {"a"}})


def test_the_reference_is_current() -> None:
    made = _load(FOLDER / "generate.py").pages()
    assert set(made) == {path.name for path in FOLDER.glob("*.md")}
    stale = [
        name
        for name, text in made.items()
        if (FOLDER / name).read_text(encoding="utf-8").rstrip() != text.rstrip()
    ]
    assert stale == [], "run `make reference`"
    assert "0x" not in made["python.md"]  # addresses differ each time
