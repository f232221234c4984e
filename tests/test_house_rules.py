"""What the house style asks of every module and a linter does not check."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("ftlaunch", "launcher", "trainer")
MODULES = sorted(path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py"))
MAX_LINES = 500
LONGER = {
    "trainer/protocol/lists.py": 540,  # one grammar, for a line and, in a fifth of the time, for all lines
    "trainer/checkpoints/pickles.py": 650,  # one machine: its stack, its memo and each of its operations
}
"""Modules that are one thing, whole, and longer; each with its reason."""
SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base_utils"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_a_module_is_short_and_its_name_says_something(path: Path):
    assert len(path.read_text().splitlines()) <= LONGER.get(
        path.relative_to(REPOSITORY).as_posix(), MAX_LINES
    )
    assert path.stem not in SAY_NOTHING
    # A module of the standard library's name breaks Python where its folder is on sys.path.
    at_the_top = path.parent.name in ("launcher", "trainer")
    assert not (at_the_top and path.stem in sys.stdlib_module_names)


def find_asked_otherwise(code: str) -> list[str]:
    """Return what asks for a backend's class, for an attribute that may lack, or for its name."""
    names = {"kubernetes", "docker", "local"}
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr"):
            is_bad = ast.unparse(node.args[0]).rpartition(".")[2].lstrip("_").endswith("backend")
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
            is_bad = "Backend" in ast.unparse(node.args[1])
        elif isinstance(node, (ast.Compare, ast.match_case)):
            compared = node if isinstance(node, ast.Compare) else node.pattern
            texts = {leaf.value for leaf in ast.walk(compared) if isinstance(leaf, ast.Constant)}
            is_bad = any(text in names for text in texts if isinstance(text, str))
        else:
            continue
        if is_bad:
            found.append(ast.unparse(node).partition("\n")[0])
    return found


@pytest.mark.parametrize(
    "code",
    [
        "x = getattr(found.backend, 'namespace', '')",
        "assert isinstance(place, KubernetesBackend)",
        "if on == 'docker': pass",
        "if 'local' != record.handle.backend: pass",
        "if on in ('docker', 'local'): pass",
        "match on:\n    case 'docker' | 'local': pass",
    ],
)
def test_the_rule_on_backends_sees(code: str):
    assert find_asked_otherwise(code)


def test_a_backend_is_asked_by_its_class_alone():
    """What differs is said by `Backend` and `CAPABILITIES`; only the factory compares names."""
    found = {
        path.relative_to(REPOSITORY).as_posix(): find_asked_otherwise(path.read_text(encoding="utf-8"))
        for path in (REPOSITORY / "launcher").rglob("*.py")
    }
    found.pop("launcher/backends/factory.py")
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_no_package_hides_below_the_tests():
    assert list((REPOSITORY / "tests").rglob("__init__.py")) == []


def test_packages_do_no_work_on_import():
    for path in MODULES:
        if path.name == "__init__.py":
            lines = path.read_text().partition('"""')[2].partition('"""')[2].splitlines()
            work = [
                line
                for line in lines
                if line
                and not line.startswith(
                    ("from ", "__all__", " ", ")", "]", "if TYPE_CHECKING:", "if not TYPE_CHECKING:")
                )
            ]
            assert work == [], path


@pytest.mark.parametrize("command", [["-m", "launcher", "--help"], ["-c", "import trainer.node.__main__"]])
def test_what_must_start_fast_imports_nothing_heavy(command):
    heavy = {"paddle", "numpy", "cv2", "kubernetes", "jinja2"}
    if command[0] == "-m":
        heavy |= {"pydantic", "yaml"}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert imported & heavy == set()


_TAKES_APART = {
    "split", "rsplit", "splitlines", "partition", "rpartition", "removeprefix", "removesuffix", "startswith",
    "endswith", "find", "index",
}  # fmt: skip

_WITHOUT_FIELDS = {
    "trainer/config/document.py": "PyYAML says that its parser nested too deep in words alone",
    "trainer/protocol/installation.py": "glibc says which library it lacks in words alone",
}
"""Modules that ask errors of libraries for what these have no field for, each with what that is."""


def sentences_taken_apart(tree: ast.Module) -> Iterator[int]:
    """Yield lines where the sentence of an error, caught or handed in, is cut up or searched."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.name is not None:
            yield from _taken_apart(node.name, node.body)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for argument in (*node.args.args, *node.args.kwonlyargs):
                kind = "" if argument.annotation is None else ast.unparse(argument.annotation)
                if re.search(r"(Error|Exception)\b", kind):
                    yield from _taken_apart(argument.arg, node.body)


def _taken_apart(name: str, body: list[ast.stmt]) -> Iterator[int]:
    sentence = {f"str({name})", f"f'{{{name}}}'"}
    for node in (node for statement in body for node in ast.walk(statement)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            on, verb = ast.unparse(node.func.value), node.func.attr
            is_flattened = verb == "split" and not node.args  # all on one line: `" ".join(….split())`
            is_cut = on in sentence and verb in _TAKES_APART and not is_flattened
            if is_cut or (on == "re" and sentence & {ast.unparse(argument) for argument in node.args}):
                yield node.lineno
        elif isinstance(node, ast.Compare) and sentence & {ast.unparse(part) for part in node.comparators}:
            yield node.lineno


@pytest.mark.parametrize(
    ("statement", "lines"),
    [
        ('head = str(error).partition("; ")[0]', [4]),
        ('head, *_ = re.split("; ", str(error))', [4]),
        ('if "webhook" in str(error): raise', [4]),
        ('head = f"{error}".splitlines()', [4]),
        ('line = " ".join(str(error).split())', []),
        ("line = str(error)", []),
        ("line = error.fix", []),
    ],
)
def test_the_rule_finds_sentences_that_are_taken_apart(statement, lines):
    caught = f"try:\n    pass\nexcept ValueError as error:\n    {statement}\n"
    assert list(sentences_taken_apart(ast.parse(caught))) == lines
    handed = f"\n\ndef tell(error: LaunchError):\n    {statement}\n"
    assert list(sentences_taken_apart(ast.parse(handed))) == lines


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_an_error_is_asked_for_its_fields(path: Path):
    if path.relative_to(REPOSITORY).as_posix() not in _WITHOUT_FIELDS:
        assert list(sentences_taken_apart(ast.parse(path.read_text()))) == []
