"""The table of tested versions says what the tests install; our own is the package's everywhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PYPROJECT = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
OURS = re.findall(r'^version = "(.+)"', PYPROJECT, re.MULTILINE)[0]
ROWS = dict(
    re.findall(
        r"^\| ([^|]+?) \| ([^|]+?) \|",
        (REPOSITORY / "docs/platform/versions.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
)


def _locked(package: str, pattern: str) -> list[str]:
    texts = [path.read_text() for path in sorted((REPOSITORY / "requirements").glob(pattern))]
    return [version for text in texts for version in re.findall(rf"^{package}==(\S+)", text, re.MULTILINE)]


def _derived(resource: str) -> str:
    comment = json.loads((REPOSITORY / "k8s/crds" / f"{resource}.json").read_text())["$comment"]
    return re.findall(r"kube\S+ v([\d.]+),", comment)[0]


def test_python_is_what_continuous_integration_tries() -> None:
    text = (REPOSITORY / ".github/workflows/check.yaml").read_text()
    assert ROWS["Python"] == ", ".join(
        re.findall(r'"(3\.\d+)"', text.partition("matrix:")[2].partition("\n    steps")[0])
    )


def test_paddle_and_the_clients_are_those_that_are_locked() -> None:
    assert ROWS["PaddlePaddle"].split()[0] in _locked("paddlepaddle", "run.txt")
    clients = _locked("kubernetes", "kubernetes-*.txt") + _locked("kubernetes", "run.txt")
    assert ROWS["Kubernetes' Python client"] == ", ".join(clients)


@pytest.mark.parametrize(
    ("name", "resource"),
    [
        ("training operator", "kubeflow.org-v1"),
        ("JobSet", "jobset.x-k8s.io-v1alpha2"),
        ("Kubeflow Trainer", "trainer.kubeflow.org-v1alpha1"),
    ],
)
def test_controllers_are_those_whose_objects_we_hold_ours_against(name: str, resource: str) -> None:
    assert ROWS[name] == _derived(resource)
    kinds = (REPOSITORY / "docs/kubernetes.md").read_text(encoding="utf-8")
    assert f"{name} {ROWS[name]}" in kinds.replace("\n", " ")


def test_kueue_is_the_one_that_the_tests_run() -> None:
    kit = (REPOSITORY / "tests/e2e/cluster/kit.py").read_text()
    assert re.findall(r'KUEUE = "v([\d.]+)"', kit) == [ROWS["Kueue"]]


@pytest.mark.parametrize("folder", ["README.md", "docs", "examples", "k8s/examples"])
def test_our_own_version_is_the_same_everywhere(folder: str) -> None:
    path = REPOSITORY / folder
    files = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
    found = {
        (file.name, version)
        for file in files
        if file.suffix in (".md", ".yaml")
        for version in re.findall(
            r"(?:ftlaunch-trainer:|ftlaunch-|ftlaunch )(\d+\.\d+\.\d+)", file.read_text(encoding="utf-8")
        )
    }
    assert [(name, version) for name, version in sorted(found) if version != OURS] == []
