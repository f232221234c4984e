"""What README and docs/ print about a cluster, typed there, as a user with our least privilege.

No node of the tests' cluster has a GPU. A line with `--gpus 4` is sent to the API server as a dry run, which
checks all but that; and then as it is printed but for `--gpus 0`, which runs.
"""

from __future__ import annotations

import json
import re
import shutil

import pytest

from tests.docs.pages import commands
from tests.e2e.cluster.space import REPOSITORY
from tests.e2e.conftest import Place
from tests.e2e.test_printed_commands import type_all

pytestmark = [pytest.mark.timeout(900), pytest.mark.slow]

GPUS = re.compile(r"--gpus \d+")


def test_the_lines_about_clusters_work(place, space, write_job):
    write_job(Launch__nodes=1, Global__epochs=1, Global__device="gpu")
    for index, command in enumerate(dict.fromkeys(commands("cluster"))):
        if not GPUS.search(command):
            type_all(place, [command])
            continue
        said = type_all(place, [f"{command} --dry-run server"])
        assert re.search(r"nvidia.com/gpu\W+4", next(iter(said.values())))
        here = GPUS.sub("--gpus 0", command)
        type_all(place, [f"{here} -o Global.output_dir=/output/printed-{index} --wait"])
    assert place.status()["state"] == "Succeeded"


TEAM = "team-a"
"""The namespace of the pages, which one of their lines makes."""


@pytest.mark.usefixtures("controllers")
def test_the_lines_for_who_looks_after_a_cluster_work(cluster, tmp_path):
    (tmp_path / "k8s").symlink_to(REPOSITORY / "k8s")
    place = Place(tmp_path, {"KUBECONFIG": str(cluster.kubeconfig)})
    typed = sorted(dict.fromkeys(commands("cluster-admin")), key=lambda line: "team/namespace" not in line)
    try:
        type_all(place, typed)
        found = json.loads(
            cluster.kubectl(
                "get", "-n", TEAM, "-o", "json", "rolebindings,networkpolicies,pvc,resourcequotas"
            )
        )
    finally:
        cluster.kubectl("delete", "namespace", TEAM, "--ignore-not-found", "--wait=false")
        cluster.kubectl("delete", "clusterrolebinding", "ftlaunch-capacity-users", "--ignore-not-found")
    names = {(item["kind"], item["metadata"]["name"]) for item in found["items"]}
    assert {("RoleBinding", "ftlaunch-users"), ("RoleBinding", "ftlaunch-files-users")} <= names
    assert {("PersistentVolumeClaim", "flowers"), ("PersistentVolumeClaim", "runs")} <= names
    assert {"NetworkPolicy", "ResourceQuota"} <= {kind for kind, _ in names}


def test_the_lines_about_files_work(make_space, images, cluster, tmp_path, write_config):
    space = make_space(data="flowers")
    space.data.chmod(0o777)  # hostPath volumes ignore fsGroup
    space.kubectl("apply", "-f", str(REPOSITORY / "k8s/network/volume-readers.yaml"))
    place = Place(tmp_path, {"KUBECONFIG": str(space.kubeconfig), "FTLAUNCH_IMAGE": cluster.image})
    shutil.copytree(images, place.folder / "flowers")
    lists = {
        f"DataLoader__{split}__dataset__{key}": value
        for split, part in (("Train", "train"), ("Eval", "val"))
        for key, value in (("image_root", "/data"), ("cls_label_path", f"/data/{part}_list.txt"))
    }
    launch = {"nodes": 1, "gpus": 0, "grace_period": "20s", "volumes": volumes("flowers")}
    write_config(Global__epochs=1, Global__output_dir="/output/run", Launch=launch, **lists)
    typed = list(dict.fromkeys(commands("cluster-files")))
    for command in typed:
        type_all(place, [command.replace("--nodes 4", "--nodes 2")])  # two nodes are all that there are
        if command.startswith("ftlaunch submit"):
            place.run("ftlaunch", "wait", "--timeout", "150s")
    assert [path.name for path in (space.data).glob("train_list.txt")] == ["train_list.txt"]
    assert place.status()["state"] == "Succeeded"


def volumes(claim: str) -> list[dict[str, object]]:
    return [
        {"mount": "/data", "claim": claim, "read_only": True, "local": "data"},
        {"mount": "/output", "claim": "runs", "local": "local-output"},
    ]
