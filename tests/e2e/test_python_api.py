"""The Python API as its page and its notebook use it: a job of this machine, real images, real Paddle."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import REPOSITORY

CELL = "# %%"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a reader has: the examples, and the images of `make quickstart`, 30 of each class and part."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(REPOSITORY / "examples", folder / "examples")
    digits = folder / ".quickstart" / "digits"
    subprocess.run([sys.executable, "examples/digits.py", "images", str(digits)], cwd=folder, check=True)
    for folder_of_class in digits.glob("*/*"):
        for image in sorted(folder_of_class.iterdir())[30:]:
            image.unlink()
    subprocess.run([sys.executable, "-m", "trainer", "make-lists", str(digits)], cwd=folder, check=True)
    return folder


def run_program(place, text: str, *, folder: Path) -> str:
    """Run a program in a process of its own and return what it prints."""
    path = place.folder / "program.py"
    path.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(path)],
        cwd=folder,
        env=place.environ,
        text=True,
        capture_output=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_the_pages_program_trains_and_answers(place, checkout):
    said = run_program(place, program_of("python"), folder=checkout)
    assert "Succeeded" in said
    assert re.search(r"top-1 0\.\d\d; checkpoints: \['e002-s\d{6}'", said)
    assert "30 images answered" in said
    assert re.search(r"0\.\d\d, best in epoch [12], \d+ losses", said)
    assert (checkout / "report/report.html").is_file()


def test_the_pages_program_goes_from_a_folder_of_images_to_a_job(place, checkout):
    flowers = place.folder / "flowers"
    shutil.copytree(checkout / ".quickstart/digits/val", flowers)
    said = run_program(place, program_of("python-own-data"), folder=place.folder)
    assert said.rstrip().endswith("Succeeded")
    assert "images" in said


def program_of(mark: str) -> str:
    page = (REPOSITORY / "docs" / "python.md").read_text(encoding="utf-8")
    (program,) = re.findall(rf"<!-- run: {mark} -->\n\n```python\n(.*?)```", page, re.DOTALL)
    return program


def test_the_notebook_runs_from_its_first_cell_to_its_last(place, checkout):
    notebook = json.loads((REPOSITORY / "examples" / "quickstart.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) >= 6
    assert all(cell.get("outputs", []) == [] for cell in notebook["cells"]), "outputs are of one machine"
    # As a kernel does: each cell in the same namespace, and the value of its last expression shown.
    runner = (
        "import ast, json, sys\n"
        f"cells = json.loads({json.dumps(json.dumps(cells))})\n"
        "space = {'__name__': '__main__'}\n"
        "for cell in cells:\n"
        "    tree = ast.parse(cell)\n"
        "    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None\n"
        "    exec(compile(tree, 'cell', 'exec'), space)\n"
        "    if last is not None:\n"
        "        shown = eval(compile(ast.Expression(last.value), 'cell', 'eval'), space)\n"
        "        print(getattr(shown, '_repr_html_', lambda: repr(shown))())\n"
    )
    said = run_program(place, runner, folder=checkout)
    assert "<table>" in said
    assert "Succeeded" in said
    assert re.search(
        r"^2 examples/quickstart\.yaml:\d+:\d+: Arch: expected .*got 'ResNet51'; did you mean",
        said,
        re.MULTILINE,
    )
