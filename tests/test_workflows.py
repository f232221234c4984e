"""Workflows, hooks and templates of the repository: what they run exists, and is pinned."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((REPOSITORY / ".github/workflows").glob("*.yaml"))


def steps(path: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_named_by_commit_and_get_no_rights(path: Path) -> None:
    named = [step["uses"] for step in steps(path) if "uses" in step]
    assert named
    assert [use for use in named if not re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", use)] == []
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["permissions"] == {"contents": "read"}
    assert "secrets." not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_runs_targets_that_a_developer_has(path: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    for step in steps(path):
        if "run" in step:
            command, *words = step["run"].split()
            assert command == "make"
            assert {word for word in words if "=" not in word} <= targets


def test_every_python_that_is_supported_is_checked() -> None:
    least, below = re.search(
        r'requires-python = ">=3\.(\d+),<3\.(\d+)"', (REPOSITORY / "pyproject.toml").read_text()
    ).groups()
    document = yaml.safe_load((REPOSITORY / ".github/workflows/check.yaml").read_text())
    supported = [f"3.{minor}" for minor in range(int(least), int(below))]
    assert document["jobs"]["check"]["strategy"]["matrix"]["python"] == supported


def test_hooks_run_programs_of_the_development_environment() -> None:
    document = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())
    (own,) = document["repos"]
    assert own["repo"] == "local"
    for hook in own["hooks"]:
        program = hook["entry"].split()[0]
        assert program.startswith(".venv/bin/")
        assert shutil.which(Path(program).name) or (REPOSITORY / program).exists()


@pytest.mark.parametrize("path", sorted((REPOSITORY / ".github/ISSUE_TEMPLATE").glob("*.yaml")))
def test_an_issue_form_is_one(path: Path) -> None:
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= set(form)
    asked = [field for field in form["body"] if field["type"] != "markdown"]
    assert all(field["attributes"]["label"] for field in asked)
    assert len({field["id"] for field in asked}) == len(asked)
