"""Jobs on a real Kubernetes: see `access.HOW` for which. `make e2e-cluster` runs them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster.access import Cluster, NoClusterError, named_cluster
from tests.e2e.cluster.cache import cache_folder
from tests.e2e.cluster.image import build_base, build_top
from tests.e2e.cluster.kit import Kit
from tests.e2e.cluster.kueue import Kueue
from tests.e2e.cluster.space import Space
from tests.e2e.conftest import Place


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.path).is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.cluster)
            if item.get_closest_marker("timeout") is None:
                # A busy machine's controllers take their time. What brings up the cluster has limits of its
                # own, and is not the first test's.
                item.add_marker(pytest.mark.timeout(600, func_only=True))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = (yield).get_result()  # type: ignore[attr-defined]
    maker = getattr(item, "funcargs", {}).get("make_space")
    if report.when == "call" and report.failed and maker is not None:
        for space in maker.made:
            report.sections.append((f"{space.name} at the time of failure", space.describe()))


class SpaceMaker:
    """Makes namespaces and remembers them."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.made: list[Space] = []
        self._cluster, self._folder = cluster, folder

    def __call__(self, *, data: str = "data", images: Path | None = None) -> Space:
        kubeconfig = self._folder / f"kubeconfig-{len(self.made)}"
        space = Space(cluster=self._cluster, kubeconfig=kubeconfig, data_claim=data)
        self.made.append(space)
        space.make(images=images)
        return space


def _start(kit: Kit, scratch: Path) -> Cluster:
    """Start the kit's cluster unless it runs, and bring the trainer's image of this checkout to its nodes."""
    cluster = Cluster(kubeconfig=kit.kubeconfig, image="", folder=scratch / "volumes", kit=kit)
    base = build_base(cache_folder())
    if not cluster.has_image(base.image):
        cluster.load(base)
    top = build_top(cache_folder(), scratch / "top", version=metadata.version("ftlaunch"))
    cluster.load(top)
    return Cluster(kubeconfig=kit.kubeconfig, image=top.image, folder=cluster.folder, kit=kit)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster; fails where none is named, because a test that did not run has shown nothing."""
    try:
        named = named_cluster(dict(os.environ))
    except NoClusterError as error:
        pytest.fail(str(error), pytrace=False)
    if isinstance(named, Cluster):
        yield named
        return
    scratch = Path(tempfile.mkdtemp(prefix="ftlaunch-e2e-"))
    scratch.chmod(0o755)  # pods of another user go through it
    named.prepare(cache_folder())
    was_up = named.is_up()
    if not was_up:
        named.up()
    named.let_nodes_talk()
    named.let_pods_run()
    try:
        yield _start(named, scratch)
    finally:
        if not was_up:
            named.down()
        shutil.rmtree(scratch, ignore_errors=True)


@pytest.fixture(scope="session")
def kit(cluster: Cluster) -> Kit:
    """What breaks or changes the whole cluster; only one of our own may be."""
    if cluster.kit is None:
        pytest.skip("NOT RUN: breaks or changes the cluster, which only FTLAUNCH_CLUSTER_KIT's may be")
    return cluster.kit


@pytest.fixture(scope="session")
def controllers(cluster: Cluster) -> None:
    """Those of JobSets and TrainJobs, beside the training operator."""
    if cluster.kit is not None:
        cluster.kit.run_job_controllers()


@pytest.fixture(scope="module")
def gangs(kit: Kit, cluster: Cluster) -> Iterator[None]:
    """Have every job be a gang, as long as a module's tests run."""
    if not cluster.kubectl("get", "crd", "podgroups.scheduling.x-k8s.io", "--ignore-not-found"):
        pytest.skip("NOT RUN: the cluster is up without gang scheduling; the tests bring up one with it")
    kit.make_gangs(of_every_job=True)
    yield
    kit.make_gangs(of_every_job=False)


@pytest.fixture(scope="module")
def kueue(cluster: Cluster, kit: Kit, controllers: None) -> Iterator[Kueue]:
    """Kueue, as long as a module's tests run; it looks after the namespaces that `Kueue.adopt` is told."""
    made = Kueue(cluster, kit)
    try:
        made.install()
        yield made
    finally:
        made.remove()


@pytest.fixture
def make_space(cluster: Cluster, tmp_path: Path) -> Iterator[SpaceMaker]:
    """Make namespaces that this test alone uses."""
    maker = SpaceMaker(cluster, tmp_path)
    yield maker
    for space in maker.made:
        space.remove()


@pytest.fixture
def space(make_space: SpaceMaker, images: Path) -> Space:
    """A namespace with the small images in its claim `data`."""
    return make_space(images=images)


@pytest.fixture
def place(space: Space, tmp_path: Path, images: Path) -> Place:
    """A folder of a user who has the namespace's kubeconfig; `data` is there too, for the local backend."""
    (tmp_path / "data").symlink_to(images)
    return Place(tmp_path, {"KUBECONFIG": str(space.kubeconfig)})


@pytest.fixture
def write_job(place: Place, cluster: Cluster, write_config: Callable[..., str]) -> Callable[..., str]:
    """Write a config whose paths lie under the claims; `Launch__key=value` changes it."""

    def write(name: str = "cfg.yaml", **changes: Any) -> str:
        lists = {
            f"DataLoader__{split}__dataset__{key}": value
            for split, part in (("Train", "train"), ("Eval", "val"))
            for key, value in (("image_root", "/data"), ("cls_label_path", f"/data/{part}_list.txt"))
        }
        launch = {
            "name": "job", "image": cluster.image, "nodes": 2, "gpus": 0, "grace_period": "20s",
            "volumes": [
                {"mount": "/data", "claim": "data", "read_only": True, "local": "data"},
                {"mount": "/output", "claim": "runs", "local": "local-output"},
            ],
        }  # fmt: skip
        given = {"Global__output_dir": "/output/run", "Launch": launch, **lists, **changes}
        return write_config(name, **given)

    return write
