from __future__ import annotations

from pathlib import Path

from tests.e2e.conftest import Place

REPOSITORY = Path(__file__).resolve().parents[3]


def test_the_quick_start_runs_on_a_cluster_as_a_newcomer_types_it(make_space, tmp_path):
    space = make_space(data="digits")
    place = Place(tmp_path, {"KUBECONFIG": str(space.kubeconfig)})
    place.run("python", str(REPOSITORY / "examples/digits.py"), "images", str(space.data))
    place.run("trainer", "make-lists", str(space.data), "--overwrite")
    cfg = str(REPOSITORY / "examples/quickstart.yaml")
    few = ["-o", "Global.epochs=1", "-o", "DataLoader.Train.sampler.batch_size=128"]
    done = place.run("ftlaunch", "submit", cfg, "--gpus", "0", "--nodes", "2", "--follow", *few)
    assert "[rank 0]" in done.stdout
    assert {path.name for path in (space.output / "quickstart").iterdir()} >= {
        "latest.pdparams", "best_model.pdparams", "metrics.jsonl",
    }  # fmt: skip
