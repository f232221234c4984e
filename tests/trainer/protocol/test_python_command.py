"""Programs of ours start the same in a folder that holds modules of the same names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.protocol.python_command import python_command

REPOSITORY = Path(__file__).parents[3]
SHADOWS = (
    "trainer.py", "trainer/__init__.py", "trainer/node/__init__.py", "random.py", "runpy.py", "asyncio.py",
    "sitecustomize.py", "encodings.py", "importlib/__init__.py",
)  # fmt: skip


WAYS = (False, True) if sys.version_info >= (3, 11) else (False,)
"""With Python's own `-P`, which 3.10 does not know, and without."""


@pytest.mark.parametrize("has_flag", WAYS)
def test_modules_of_the_current_folder_shadow_nothing(tmp_path, has_flag):
    for name in SHADOWS:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"print('shadow {name}')\nopen('ran', 'a').write('{name} ')\n")
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    env.pop("PYTHONSAFEPATH", None)
    done = subprocess.run(
        python_command("trainer.node", ["--"], has_flag=has_flag), cwd=tmp_path, env=env, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    assert "expected the trainer's arguments, got none" in done.stdout + done.stderr
    assert not (tmp_path / "ran").exists()


def test_arguments_arrive_as_they_are(tmp_path):
    (tmp_path / "echoing").mkdir()
    (tmp_path / "echoing" / "__main__.py").write_text("import sys; print(sys.argv[1:], sys.path[0])")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    said = {
        has_flag: subprocess.run(
            python_command("echoing", ["-c", "a b", "--", "-m"], has_flag=has_flag), env=env, text=True,
            capture_output=True, check=True,
        ).stdout
        for has_flag in WAYS
    }  # fmt: skip
    assert set(said.values()) == {f"['-c', 'a b', '--', '-m'] {tmp_path}\n"}
