"""The runtime for others: two nodes train by the plain Kubeflow SDK, without ftlaunch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.e2e.cluster.cache import cache_folder
from tests.e2e.cluster.space import REPOSITORY

SDK = "kubeflow==0.5.0"
USE = """
import json, sys
from kubeflow.common.types import KubernetesBackendConfig
from kubeflow.trainer import CustomTrainerContainer, TrainerClient
from kubeflow.trainer.options import kubernetes as options

image, namespace = sys.argv[1:]
volumes = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in ("data", "runs")]
mounts = [{"name": "data", "mountPath": "/data"}, {"name": "runs", "mountPath": "/output"}]
pod = options.PodSpecPatch(volumes=volumes, containers=[
    options.ContainerPatch(name="node", volume_mounts=mounts)])
job = options.JobTemplatePatch(spec=options.JobSpecPatch(template=options.PodTemplatePatch(spec=pod)))
patch = options.RuntimePatch(training_runtime_spec=options.TrainingRuntimeSpecPatch(
    template=options.JobSetTemplatePatch(spec=options.JobSetSpecPatch(
        replicated_jobs=[options.ReplicatedJobPatch(name="node", template=job)]))))
client = TrainerClient(KubernetesBackendConfig(namespace=namespace))
trainer = CustomTrainerContainer(
    image=image, num_nodes=2, env={"FTL_CONFIG": "/output/cfg.yaml", "FTL_OUTPUT_DIR": "/output/run"})
print(client.train(runtime="paddle-distributed", trainer=trainer, options=[patch]))
"""


@pytest.fixture(scope="module")
def sdk() -> Path:
    """A Python with the SDK: its own, because it brings a client of Kubernetes along."""
    folder = cache_folder() / f"sdk-{SDK.rpartition('=')[2]}"
    python = folder / "bin/python"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", SDK], check=True)
        (folder / "ready").touch()
    return python


@pytest.fixture
def runtime(cluster, controllers):
    """The runtime, as an administrator installs it."""
    path = str(REPOSITORY / "k8s/runtime/paddle-distributed.yaml")
    cluster.kubectl("apply", "--server-side", "-f", path)
    yield
    cluster.kubectl("delete", "-f", path, "--wait=false")


@pytest.mark.usefixtures("runtime")
def test_two_nodes_train_by_the_plain_sdk(place, space, cluster, write_job, sdk):
    config = yaml.safe_load((place.folder / write_job()).read_text())
    del config["Launch"]  # ftlaunch's own
    (space.output / "cfg.yaml").write_text(yaml.safe_dump(config))
    environ = {"KUBECONFIG": str(cluster.kubeconfig), "PATH": "/usr/bin:/bin", "HOME": str(place.folder)}
    made = subprocess.run(
        [str(sdk), "-c", USE, cluster.image, space.name], env=environ, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    name = made.stdout.strip().splitlines()[-1]
    space.kubectl("wait", "--for=condition=Complete", f"trainjob/{name}", "--timeout=240s")
    rows = [json.loads(line) for line in (space.output / "run/metrics.jsonl").read_text().splitlines()]
    assert max(row["step"] for row in rows if row["event"] == "step") == 4
    assert (space.output / "run/latest.pdparams").exists()
    logs = space.kubectl("logs", "-l", f"jobset.sigs.k8s.io/jobset-name={name}", "--tail=-1")
    assert "2 ranks on 2 nodes" in logs
