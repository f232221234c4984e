"""What ARCHITECTURE.md, CONTRIBUTING.md and the docstrings of packages name in backticks exists.

Held are names of ours: paths below a folder of this repository, dotted names of our packages, make targets,
and single identifiers. A name of something else (`kubectl`, `rank`) is a word of our code, too, or nobody
would speak of it.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = [name for name in ("launcher", "trainer", "ftlaunch") if (REPOSITORY / name).is_dir()]
FOLDERS = (
    *PACKAGES,
    "tests",
    "benchmarks",
    "docker",
    "docs",
    "examples",
    "k8s",
    "requirements",
    ".github",
    ".ci",
)
PAGES = [name for name in ("ARCHITECTURE.md", "CONTRIBUTING.md") if (REPOSITORY / name).is_file()]
_IDENTIFIER = re.compile(r"[A-Za-z_]\w+")
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")


@cache
def words_of_the_code() -> frozenset[str]:
    """Every name in our code and every word of its texts, but for docstrings and comments."""
    found: set[str] = set()
    for path in itertools.chain.from_iterable(
        (REPOSITORY / name).rglob("*.py") for name in (*PACKAGES, "tests", "benchmarks")
    ):
        if path == Path(__file__):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(tree):
            for name in ("id", "attr", "arg", "name", "module", "asname"):
                value = getattr(node, name, None)
                if isinstance(value, str):
                    found.update(_IDENTIFIER.findall(value))
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                found.update(_IDENTIFIER.findall(node.value))
                found.update([node.value] if _DOTTED.fullmatch(node.value) else [])  # names of loggers
        found.add(path.stem)
        found.update(part for part in path.relative_to(REPOSITORY).parts[:-1])
    return frozenset(found)


def expand(text: str) -> Iterator[str]:
    """Yield what braces stand for, as a shell does: `a/{b,c}.py` is `a/b.py` and `a/c.py`."""
    before, brace, rest = text.partition("{")
    if not brace:
        yield text
        return
    inner, _, after = rest.partition("}")
    for part in inner.split(","):
        yield from expand(before + part.strip() + after)


def find_missing(text: str, *, folder: Path = REPOSITORY) -> str | None:
    """Say what of a text in backticks does not exist; None where all does, or it is no name of ours."""
    if "<" in text or "…" in text or "*" in text or " " in text.removeprefix("make "):
        return None
    if text.startswith("make "):
        targets = re.findall(r"^([a-z0-9-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
        return None if text.removeprefix("make ").partition(" ")[0] in targets else f"no make target {text!r}"
    for name in expand(text):
        if "/" in name and name.split("/")[0] in FOLDERS:
            if not (REPOSITORY / name.rstrip("/")).exists() and not (REPOSITORY / f"{name}.py").exists():
                return f"no {name!r} in this repository"
        elif re.fullmatch(r"[\w.-]+\.(py|md|yaml|toml|json|tsv)", name):
            continue  # a file of a user, or one whose folder is named before it
        elif _DOTTED.fullmatch(name) or _IDENTIFIER.fullmatch(name):
            unknown = [
                part
                for part in name.split(".")
                if part not in words_of_the_code() and not (folder / part).exists()
            ]
            if unknown:
                return f"nothing is called {unknown[0]!r}" + (f" of {name!r}" if "." in name else "")
            first, *rest = name.split(".")
            is_ours = first in PACKAGES and rest and name not in words_of_the_code()
            if is_ours and (missing := _find_missing_module(name)):
                return missing
    return None


def _find_missing_module(name: str) -> str | None:
    """Say what is missing of `package.module.name`."""
    here = REPOSITORY
    for part in name.split("."):
        if (here / part).is_dir():
            here = here / part
            continue
        module = here / f"{part}.py"
        if module.is_file():
            return None  # what follows is a name in it, which words_of_the_code knows
        package = here / "__init__.py"
        defined = package.is_file() and re.search(rf"\b{part}\b", package.read_text(encoding="utf-8"))
        return None if defined else f"no {name!r}"
    return None


def in_backticks(text: str) -> list[str]:
    """Return what stands in single backticks, outside of blocks."""
    plain = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", plain)


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_exists(page: str) -> None:
    named = in_backticks((REPOSITORY / page).read_text(encoding="utf-8"))
    assert len(named) > 20
    assert [missing for text in named if (missing := find_missing(text))] == []


def packages() -> list[Path]:
    return sorted(path for name in PACKAGES for path in (REPOSITORY / name).rglob("__init__.py"))


@pytest.mark.parametrize("path", packages(), ids=lambda path: str(path.parent.relative_to(REPOSITORY)))
def test_what_the_docstring_of_a_package_names_exists(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    missing = [found for text in in_backticks(docstring) if (found := find_missing(text, folder=path.parent))]
    assert missing == []


@pytest.mark.parametrize(
    "text",
    [
        "launcher/nowhere", "trainer/{node,nowhere}", "trainer.nowhere.at_all", "no_such_function_anywhere",
        "make no-such-target", "tests/launcher/test_nothing_at_all.py", "Backend.no_such_method_anywhere",
    ],
)  # fmt: skip
def test_the_check_sees_what_is_missing(text: str) -> None:
    assert find_missing(text) is not None


@pytest.mark.parametrize(
    "text",
    ["launcher/cli", "trainer/{node,protocol}", "trainer.protocol.exits", "make check", "FTL_NODE",
     "tests/{launcher,trainer}", "<output_dir>/.ftlaunch", "ftlaunch submit --wait"],
)  # fmt: skip
def test_the_check_takes_what_is_there(text: str) -> None:
    assert find_missing(text) is None
