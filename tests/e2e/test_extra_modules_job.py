from __future__ import annotations

import json
import re

from tests.e2e.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs/extra-modules.md").read_text()


def test_a_job_of_two_nodes_trains_with_names_from_a_mounted_folder(place, write_config):
    (place.folder / "code").mkdir()
    (place.folder / "code/my_parts.py").write_text(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1])
    ops = [{"DecodeImage": {}}, {"Darken": {"low": 0.9}}, {"NormalizeImage": {"order": ""}}]
    cfg = write_config(
        Arch={"name": "TwoLayers", "class_num": 4}, Loss__Train=[{"MarginLoss": {}}], Global__epochs=1,
        DataLoader__Train__dataset__transform_ops=ops,
        Launch={
            "extra_modules": ["/code/my_parts.py"], "nodes": 2,
            "volumes": [{"mount": "/code", "local": "code", "read_only": True}],
        },
    )  # fmt: skip
    done = place.run("ftlaunch", "submit", cfg, "--on", "local", "--wait", code=None)
    assert done.returncode == 0, place.run("ftlaunch", "logs", code=None).stdout
    assert "'Darken' is expected from Launch.extra_modules" in done.stderr
    rows = place.rows()
    assert all(row["MarginLoss"] >= 0 for row in rows if row["event"] == "step")
    assert (place.folder / "output/latest.pdparams").is_file()


def test_a_job_of_two_nodes_trains_with_code_that_travels_with_it(place, write_config):
    """The same parts, from a folder of this machine, which reader processes import, too."""
    (place.folder / "my").mkdir()
    text = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]
    (place.folder / "my/my_parts.py").write_text(f"import beside\n{text}")
    (place.folder / "my/beside.py").write_text("raise_nothing = True\n")
    (place.folder / "my/random.py").write_text("raise RuntimeError('taken for that of Python')\n")
    ops = [{"DecodeImage": {}}, {"Darken": {"low": 0.9}}, {"NormalizeImage": {"order": ""}}]
    cfg = write_config(
        Arch={"name": "TwoLayers", "class_num": 4}, Loss__Train=[{"MarginLoss": {}}], Global__epochs=1,
        DataLoader__Train__dataset__transform_ops=ops, DataLoader__Train__loader={"num_workers": 1},
        Launch={"code": "my", "extra_modules": ["my_parts"], "nodes": 2},
    )  # fmt: skip
    done = place.run("ftlaunch", "submit", cfg, "--on", "local", "--wait", code=None)
    assert done.returncode == 0, place.run("ftlaunch", "logs", code=None).stdout
    assert "never imported, because Python or the image has modules of these names: random" in done.stderr
    status = json.loads(place.run("ftlaunch", "status", "--output", "json").stdout)
    run_file = json.loads((place.folder / "output/.ftlaunch/run.json").read_text())
    assert status["code_sha256"] == run_file["code_sha256"]
    assert f"code: 3 files, SHA-256 {status['code_sha256'][:12]}" in place.run("ftlaunch", "logs").stdout
