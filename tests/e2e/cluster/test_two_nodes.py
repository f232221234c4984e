from __future__ import annotations

from tests.e2e.test_one_machine import relative_difference

APART = {"spec": {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{
    "topologyKey": "kubernetes.io/hostname",
    "labelSelector": {"matchLabels": {"app.kubernetes.io/instance": "pair"}},
}]}}}}  # fmt: skip
"""Else a node that is fuller than the other gets none."""


def test_two_nodes_train_over_gloo_and_end_with_the_weights_of_the_local_backend(place, space, write_job):
    cfg = write_job(Launch__pod_patch=APART)
    submitted = place.run("ftlaunch", "submit", cfg, "--name", "pair")
    assert submitted.stdout == f"kubernetes://{space.name}/pair\n"
    followed = place.run("ftlaunch", "logs", "-f", "pair")
    assert "[rank 0]" in followed.stdout
    assert "[rank 1]" in followed.stdout or "[node 1]" in followed.stdout
    assert place.run("ftlaunch", "wait", "pair").returncode == 0
    assert place.status("pair")["state"] == "Succeeded"
    assert {pod["spec"]["nodeName"] for pod in space.get("pods")["items"]} == nodes(space)
    assert (space.output / "run/latest.pdparams").exists()
    place.run("ftlaunch", "submit", cfg, "--on", "local", "--name", "here", "--wait")
    mine = place.folder / "local-output/run/latest.pdparams"
    assert relative_difference(space.output / "run/latest.pdparams", mine) == 0
    place.run("ftlaunch", "delete", "pair")
    place.wait_for(lambda: not space.leftovers(), what="nothing of the job to be left")


def nodes(space):
    return {item["metadata"]["name"] for item in space.cluster.get("nodes")["items"]}
