"""Settings and templates of a folder count once the user has said so, while they stay as they were."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from launcher.runs.trusted import TrustedFiles

TEMPLATES = Path(__file__).parents[3] / "k8s" / "templates"
DECIDING = {
    "backend: local": "backend", "backend: docker": "backend", "Launch: {image: evil}": "Launch.image",
    "Launch: {env: {A: b}}": "Launch.env", "Launch: {pod_patch: {}}": "Launch.pod_patch",
    "Launch: {extra_modules: [/data/x.py]}": "Launch.extra_modules",
    "Launch: {volumes: [{mount: /x, claim: y, local: /}]}": "Launch.volumes",
    "Launch: {secrets: [{name: s, key: k, mount: /s, local: ~/.ssh/id}]}": "Launch.secrets",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _state(store):
    """Have a state folder of the test's own."""


@pytest.mark.parametrize(("text", "key"), DECIDING.items(), ids=DECIDING.values())
def test_settings_that_decide_what_runs_wait_for_the_users_word(ftlaunch, write_config, text, key):
    path = write_config(launch={"gpus": 0})
    Path(".ftlaunch.yaml").write_text(text)
    for command in ("render", "validate"):
        ran = ftlaunch(command, path)
        assert (ran.code, ran.out) == (2, "")
        assert f"got {key} of this folder" in ran.err
        assert f"`ftlaunch trust {Path.cwd()}`" in ran.err
    assert ftlaunch("trust", Path.cwd()).code == 0
    assert "said to trust" not in ftlaunch("render", path).err


def test_plain_values_count_without_it(ftlaunch, write_config):
    Path(".ftlaunch.yaml").write_text("Launch: {nodes: 3, namespace: team, deadline: 5m, labels: {a: b}}\n")
    ran = ftlaunch("render", write_config(launch={"image": "trainer"}))
    assert ran.code == 0
    assert "3 nodes" in ran.err


def test_changed_settings_ask_again_and_forgotten_ones_too(ftlaunch, write_config):
    path = write_config()
    file = Path(".ftlaunch.yaml")
    file.write_text("Launch: {env: {WHO: one}}\n")
    ftlaunch("trust")
    assert ftlaunch("render", path).code == 0
    file.write_text("Launch: {env: {WHO: two}}\n")
    assert ftlaunch("render", path).code == 2
    ftlaunch("trust")
    assert ftlaunch("trust", "--list").out == f"{file.resolve()}\n"
    assert 'value: "two"' in ftlaunch("render", path).out
    assert ftlaunch("trust", "--forget").code == 0
    assert ftlaunch("render", path).code == 2
    assert ftlaunch("trust", "--list").out == ""


def test_the_same_content_in_another_folder_asks(ftlaunch, write_config, tmp_path, monkeypatch):
    path = Path(write_config()).resolve()
    Path(".ftlaunch.yaml").write_text("Launch: {image: one}\n")
    ftlaunch("trust")
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(".ftlaunch.yaml", other)
    monkeypatch.chdir(other)
    assert ftlaunch("render", path).code == 2


@pytest.mark.parametrize("name", ["pod.yaml.j2", "part.txt", "sub/part.txt"])
def test_templates_wait_for_the_users_word_with_all_that_they_may_include(ftlaunch, write_config, name):
    path = write_config()
    folder = Path(".ftlaunch/templates")
    shutil.copytree(TEMPLATES, folder)
    ran = ftlaunch("render", path)
    assert (ran.code, ran.out) == (2, "")
    assert "expected templates that you have said to trust, got configmap.yaml.j2" in ran.err
    assert ftlaunch("trust").code == 0
    assert ftlaunch("render", path).code == 0
    changed = folder / name
    changed.parent.mkdir(exist_ok=True)
    changed.write_text((changed.read_text() if changed.exists() else "") + "{# changed #}")
    ran = ftlaunch("render", path)
    assert ran.code == 2
    assert f"got {name} of this folder" in ran.err


def test_templates_see_no_object_whose_methods_they_could_call(ftlaunch, write_config):
    path = write_config()
    folder = Path(".ftlaunch/templates")
    shutil.copytree(TEMPLATES, folder)
    pod = folder / "pod.yaml.j2"
    text = pod.read_text()
    for attack in (
        "plan.resources.parse_raw('', proto='pickle', allow_pickle=True)", "plan.run_as.model_dump()",
        "plan.node_file.__class__() ", "plan.labels.update({'a': 'b'})", "plan.env.pop('A')",
        "plan.mounts.append(1)",
        "plan.describe()", "plan.__init__.__globals__.x", "node_json.format.__globals__.x",
    ):  # fmt: skip
        pod.write_text(f"{{% set x = {attack} %}}\n{text}")
        ftlaunch("trust")
        ran = ftlaunch("render", path)
        assert (ran.code, ran.out) == (2, ""), attack
        assert "expected a template that renders" in ran.err


def test_a_folder_with_nothing_to_trust_says_so(ftlaunch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = ftlaunch("trust")
    assert ran.code == 2
    assert "expected .ftlaunch.yaml or .ftlaunch/templates" in ran.err


def test_what_was_said_is_kept_where_no_other_user_writes(tmp_path):
    folder = tmp_path / "trust"
    TrustedFiles(folder).add({tmp_path / "x": b"y"})
    assert (folder.stat().st_mode & 0o777, (folder / "files.json").stat().st_mode & 0o777) == (0o700, 0o600)
    assert TrustedFiles(folder).knows(tmp_path / "x", b"y")
    assert not TrustedFiles(folder).knows(tmp_path / "x", b"z")
