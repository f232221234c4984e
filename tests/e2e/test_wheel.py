from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
OWNERS = """
from importlib import metadata
owners = {
    (file.parts[0], found.name)
    for found in metadata.distributions()
    for file in found.files or ()
    if file.parts[0] in ("launcher", "trainer")
}
print(*sorted(owners))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, REPOSITORY],
        check=True,
        capture_output=True,
    )
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_both_packages_and_the_templates_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"launcher", "trainer", "ftlaunch"}
    templates = {path.name for path in (REPOSITORY / "k8s" / "templates").iterdir()}
    assert {f"launcher/templates/{name}" for name in templates} <= set(names)
    schemas = {path.name for path in (REPOSITORY / "k8s" / "crds").iterdir()}
    assert {f"launcher/crds/{name}" for name in schemas} <= set(names)
    roles = {path.name for path in (REPOSITORY / "k8s" / "rbac").iterdir()}
    assert {f"launcher/rbac/{name}" for name in roles} <= set(names)
    page = {
        path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "launcher/ui").rglob("*.[jc]s*")
    }
    assert {"launcher/ui/templates/ui.css", "launcher/ui/templates/ui.js"} <= page
    assert page | {"launcher/ui/templates/parts/chart.html.j2"} <= set(names)
    assert {"launcher/py.typed", "trainer/py.typed"} <= set(names)


def test_the_installed_wheel_renders_submits_and_trains_with_no_checkout_near(wheel, place, write_config):
    target = place.folder / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", target, wheel],
        check=True,
    )
    place.env["PYTHONPATH"] = str(target)
    where = place.run("python", "-c", "import launcher, trainer; print(launcher.__file__, trainer.__file__)")
    assert where.stdout.count(str(target)) == 2
    owners = place.run("python", "-c", OWNERS)  # the index has other packages of these names
    assert owners.stdout == "('launcher', 'ftlaunch') ('trainer', 'ftlaunch')\n"
    cfg = write_config(Global__epochs=1)
    assert "kind: PaddleJob" in place.run("ftlaunch", "render", cfg, "--on", "local").stdout
    place.run("ftlaunch", "submit", cfg, "--on", "local", "--wait")
    assert any(row["event"] == "eval" for row in place.rows())
