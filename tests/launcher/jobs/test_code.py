"""`Launch.code`, from the folder to the manifest, the record and the volume."""

from __future__ import annotations

import base64
import contextlib
import os
import random
from pathlib import Path

import pytest
import yaml

from launcher.backends.kubernetes.backend import KubernetesBackend
from launcher.config.flags import Flags
from launcher.config.load import load_run_config
from launcher.errors import UsageError
from launcher.jobs.code import collect_code
from launcher.jobs.options import SubmitOptions
from launcher.jobs.prepare import prepare
from launcher.jobs.submit import submit
from launcher.objects import CONFIG_MAPS
from launcher.volumes.place import Folder
from tests.launcher.configs import RUN_ID, config_values
from trainer.config.problems import ConfigError
from trainer.protocol.code_archive import unpack
from trainer.protocol.jobfile import parse_job_file
from trainer.protocol.nodefile import parse_node_file

NAMED = SubmitOptions(name="flowers", run_id=RUN_ID, namespace="ml", preflight=False)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a config and code; commands are called from there."""
    project = tmp_path / "project"
    (project / "my" / "sub").mkdir(parents=True)
    (project / "my" / "parts.py").write_text("import helper\n")
    (project / "my" / "helper.py").write_text("")
    (project / "my" / "sub" / "__init__.py").write_text("")
    (project / ".ftlaunch.yaml").touch()
    monkeypatch.chdir(project)
    save_config({"code": "./my", "extra_modules": ["parts"]})
    return project


def save_config(launch: dict[str, object]) -> None:
    Path("cfg.yaml").write_text(yaml.safe_dump(config_values(launch=launch), sort_keys=False))


def collect(*, code: str | None = None, overrides: tuple[str, ...] = ()):
    return collect_code(load_run_config(Path("cfg.yaml"), overrides=overrides, flags=Flags(code=code)))


def names(code, tmp_path: Path) -> list[str]:
    into = tmp_path / f"into-{random.random()}"
    into.mkdir()
    (tmp_path / "code.tar.gz").write_bytes(code.archive.data)
    unpack(tmp_path / "code.tar.gz", into, sha256=code.archive.sha256)
    return sorted(path.relative_to(into).as_posix() for path in into.rglob("*") if path.is_file())


def problems(**asked) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        collect(**asked)
    return [str(problem) for problem in refused.value.problems]


def test_a_folder_a_package_and_a_file_are_imported_as_they_are_called(project, tmp_path):
    assert names(collect(), tmp_path) == ["helper.py", "parts.py", "sub/__init__.py"]
    (project / "my" / "__init__.py").write_text("")
    assert names(collect(), tmp_path)[:2] == ["my/__init__.py", "my/helper.py"]
    assert names(collect(code="my/parts.py"), tmp_path) == ["parts.py"]


def test_without_it_nothing_is_packed(project):
    save_config({})
    assert collect() is None
    assert "binaryData" not in prepare(Path("cfg.yaml"), NAMED).manifest.text


def test_what_is_never_code_and_what_is_ignored_stays_here_and_is_told(project, tmp_path):
    for name in (
        ".git/config",
        "__pycache__/a.pyc",
        ".venv/lib/x.py",
        "sub/.env",
        "id_rsa",
        "data/a.csv",
        "keep.csv",
    ):
        path = project / "my" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (project / "my" / ".gitignore").write_text("*.csv\n!keep.csv\n")
    code = collect()
    assert names(code, tmp_path) == ["helper.py", "keep.csv", "parts.py", "sub/__init__.py"]
    told = "\n".join(code.notes)
    assert "left out by .gitignore: data/a.csv" in told
    assert "keys are called so: id_rsa, sub/.env" in told
    (project / "my" / ".ftlaunchignore").write_text("sub\n")  # then it alone is asked
    assert names(collect(), tmp_path) == ["data/a.csv", "helper.py", "keep.csv", "parts.py"]


def test_what_is_no_code_is_refused_by_name(project):
    (project / "my" / "weights.bin").write_bytes(b"")
    os.truncate(project / "my" / "weights.bin", 9 << 20)
    (project / "my" / "link.py").symlink_to("/etc/passwd")
    os.mkfifo(project / "my" / "pipe")
    found = problems()
    assert len(found) == 3
    assert all(text.startswith("cfg.yaml:") and "Launch.code: expected" in text for text in found)
    assert [name in "\n".join(found) for name in ("9 MiB: weights.bin", "link: link.py", "else: pipe")] == [
        True
    ] * 3
    (project / "empty").mkdir()
    assert "no file that ends in .py" in problems(code="empty")[0]
    assert "which is not there" in problems(code="nowhere")[0]


def test_a_config_sends_files_of_the_project_only_but_its_user_may(project, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "theirs.py").write_text("")
    save_config({"code": str(elsewhere), "extra_modules": ["theirs"]})
    (found,) = problems()
    assert f"type it yourself: --code {elsewhere}" in found
    (project / "out").symlink_to(elsewhere)
    save_config({"code": "out"})
    assert "type it yourself" in problems()[0]
    assert names(collect(code=str(elsewhere)), tmp_path) == ["theirs.py"]


def test_names_that_are_never_imported_are_told(project):
    (project / "my" / "random.py").write_text("")
    (project / "my" / "trainer").mkdir()
    (project / "my" / "trainer" / "__init__.py").write_text("")
    assert "modules of these names: random, trainer" in "\n".join(collect().notes)
    save_config({"code": "./my"})
    assert "nothing imports it" in "\n".join(collect().notes)


def test_it_travels_in_the_config_map_and_stands_in_every_record(project, cluster, store, tmp_path):
    told: list[str] = []
    job = submit(Path("cfg.yaml"), NAMED, notes=lambda note: told.append(str(note)))
    stored = cluster.get(CONFIG_MAPS, "flowers-config", namespace="ml")
    code = collect()
    assert base64.b64decode(stored["binaryData"]["code.tar.gz"]) == code.archive.data
    assert stored["immutable"] is True
    node_file = parse_node_file(stored["data"]["node.json"])
    assert (node_file.code_path, node_file.code_sha256) == ("/etc/ftlaunch/code.tar.gz", code.archive.sha256)
    assert store.load("flowers").code_sha256 == code.archive.sha256
    folder = store.run_folder("flowers")
    assert parse_job_file((folder / "job.json").read_bytes(), where="").code_sha256 == code.archive.sha256
    assert (folder / "code.tar.gz").read_bytes() == code.archive.data
    assert any(f"3 files, 14 bytes, SHA-256 {code.archive.sha256[:12]}" in text for text in told)
    del job


def test_a_run_that_goes_on_with_other_code_says_so(project, cluster, store):
    submit(Path("cfg.yaml"), NAMED)
    for node in range(1):
        cluster.start_pod(f"flowers-worker-{node}")
        cluster.finish_pod(f"flowers-worker-{node}", 0)

    def told() -> str:
        said: list[str] = []
        prepared = prepare(Path("cfg.yaml"), SubmitOptions(parent="flowers", namespace="ml"))
        said += prepared.job.notes
        return "\n".join(said)

    assert "other code" not in told()
    before = store.load("flowers").code_sha256[:12]
    (project / "my" / "helper.py").write_text("A = 1\n")
    assert f"other code: SHA-256 {before}, now {collect().archive.sha256[:12]}" in told()
    save_config({})
    assert f"other code: SHA-256 {before}, now none" in told()


def test_code_that_no_config_map_holds_goes_to_a_volume_once(project, cluster, store, tmp_path, monkeypatch):
    (project / "my" / "table.bin").write_bytes(random.Random(0).randbytes(1 << 20))
    (found,) = problems()
    assert "or the mount of a volume in Launch.code_volume" in found
    save_config({"code": "./my", "extra_modules": ["parts"], "code_volume": "/output"})
    claims = tmp_path / "claims"
    asked: list[tuple[str, bool]] = []

    def open_claim(_backend, claim, path, *, read_only, **_):
        asked.append((claim, read_only))
        (claims / claim / path).mkdir(parents=True, exist_ok=True)
        return contextlib.nullcontext(Folder(claims / claim / path))

    monkeypatch.setattr(KubernetesBackend, "open_claim", open_claim)
    submit(Path("cfg.yaml"), NAMED)
    code = collect()
    stored = cluster.get(CONFIG_MAPS, "flowers-config", namespace="ml")
    name = f".ftlaunch-code/{code.archive.sha256}.tar.gz"
    assert "binaryData" not in stored
    assert parse_node_file(stored["data"]["node.json"]).code_path == f"/output/{name}"
    assert (claims / "runs" / name).read_bytes() == code.archive.data
    written = (claims / "runs" / name).stat().st_mtime_ns
    submit(Path("cfg.yaml"), SubmitOptions(name="second", namespace="ml", preflight=False))
    assert (claims / "runs" / name).stat().st_mtime_ns == written
    assert asked == [("runs", False)] * 2


def test_a_volume_that_is_none_is_refused_before_anything_is_made(project, cluster, store):
    (project / "my" / "table.bin").write_bytes(random.Random(0).randbytes(1 << 20))
    save_config({"code": "./my", "extra_modules": ["parts"], "code_volume": "/nowhere"})
    with pytest.raises((UsageError, ConfigError), match="code_volume"):
        submit(Path("cfg.yaml"), NAMED)
    assert store.load("flowers") is None
    assert not any(request.startswith("create configmaps") for request in cluster.requests)


def test_a_volume_for_code_is_refused_where_no_code_is(project, store):
    save_config({"code_volume": "/output"})
    with pytest.raises((UsageError, ConfigError), match="expected `code` beside it, got none"):
        prepare(Path("cfg.yaml"), NAMED)
