"""The launcher on systems that are not Linux, and not POSIX; see `tests.fakes.other_system`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.backends import factory
from launcher.backends.factory import open_backend
from launcher.cli.main import run
from launcher.volumes import agent
from tests.launcher.configs import config_values

REPOSITORY = Path(__file__).resolve().parents[2]
OF_THIS_MACHINE = ("launcher.backends.docker.", "launcher.backends.local.", "launcher.backends.supervised.")
FILES = ["cli/test_commands_on_a_cluster.py", "runs/test_run_store.py", "kube/test_plugin.py"]
IMPORT_ALL = """
import importlib, pkgutil, sys
from tests.fakes.other_system import MISSING_MODULES, hide
hide()
import ftlaunch, launcher, trainer.config, trainer.protocol
OF_THIS_MACHINE = {of_this_machine!r}
for package in (launcher, ftlaunch, trainer.config):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.startswith(OF_THIS_MACHINE) and module.name != "launcher.__main__":
            importlib.import_module(module.name)
print(len([name for name in sys.modules if name.startswith("launcher.")]))
print("launcher.backends.supervised.daemonize" in sys.modules)
"""


def test_every_module_of_the_launcher_is_imported_without_what_posix_has():
    program = IMPORT_ALL.format(of_this_machine=OF_THIS_MACHINE)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    number, has_all = done.stdout.split()
    assert (int(number) > 100, has_all) == (True, "False")


def test_what_hides_posix_hides_it():
    program = (
        "import sys; sys.path.insert(0, '.')\n"
        "from tests.fakes.other_system import hide; hide()\n"
        "import launcher.backends.supervised.daemonize"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "No module named 'fcntl' on this system" in done.stderr


def test_commands_records_and_plugins_work_without_what_posix_has():
    files = [f"tests/launcher/{name}" for name in FILES]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.fakes.other_system", "-p", "no:cacheprovider",
         "-k", "not all_that_it_started", *files],  # that is `taskkill` there
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    found = re.search(r"(\d+) passed", done.stdout)
    assert found is not None
    assert int(found[1]) > 30


@pytest.mark.parametrize(("system", "name"), [("Windows", "Windows"), ("Darwin", "macOS")])
@pytest.mark.parametrize("kind", ["local", "docker"])
def test_jobs_of_this_machine_are_refused_by_name(kind, system, name, monkeypatch, tmp_path, capsys):
    import yaml

    monkeypatch.setattr(factory.platform, "system", lambda: system)
    monkeypatch.setenv("FTLAUNCH_STATE", str(tmp_path / "state"))
    volumes = [{"mount": "/data", "local": str(tmp_path)}, {"mount": "/output", "local": str(tmp_path)}]
    config = tmp_path / "cfg.yaml"
    config.write_text(yaml.safe_dump(config_values(launch={"volumes": volumes})))
    assert run(["submit", str(config), "--on", kind]) == 2
    said = capsys.readouterr().err
    assert f"--on {kind}: expected Linux, got {name}; run it in " in said
    assert ("wsl --install" in said) == (system == "Windows")
    assert not list((tmp_path / "state").glob("runs/*"))


def test_a_cluster_is_not_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(factory.platform, "system", lambda: "Windows")
    monkeypatch.setattr("launcher.backends.kubernetes.KubernetesBackend.connect", lambda **_: "reached")
    assert open_backend("kubernetes", runs_folder=tmp_path) == "reached"


@pytest.mark.parametrize("path", ["..\\..\\x", "C:x", "a\\b", "a/C:/x"])
def test_a_name_that_is_a_path_on_this_system_leads_nowhere(path, monkeypatch, tmp_path):
    monkeypatch.setattr(agent, "_SEPARATORS", "\\:")
    with pytest.raises(agent.RefusedError):
        agent.resolve(tmp_path, path)
    assert agent.resolve(tmp_path, "a.txt") == tmp_path / "a.txt"
