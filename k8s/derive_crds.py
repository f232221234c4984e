"""Derives the schemas in k8s/crds from the definitions of those who make the kinds.

    python k8s/derive_crds.py kubeflow.org_paddlejobs.yaml jobset.x-k8s.io_jobsets.yaml \
        trainer.kubeflow.org_trainjobs.yaml trainer.kubeflow.org_trainingruntimes.yaml

The first lies in manifests/base/crds of kubeflow/training-operator v1.9.3, the second in
config/components/crd/bases of kubernetes-sigs/jobset v0.12.0, the others in manifests/base/crds of
kubeflow/trainer v2.3.0 (all Apache-2.0). A Job of batch/v1 has no definition of its own; JobSet's holds its
spec. Descriptions are left out, and every pod template is the same one: the training operator's, which is the
oldest.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent / "crds"
SOURCES = {
    "paddlejobs": "kubeflow/training-operator v1.9.3, manifests/base/crds/kubeflow.org_paddlejobs.yaml",
    "jobsets": "kubernetes-sigs/jobset v0.12.0, config/components/crd/bases/jobset.x-k8s.io_jobsets.yaml",
    "trainjobs": "kubeflow/trainer v2.3.0, manifests/base/crds/trainer.kubeflow.org_trainjobs.yaml",
    "trainingruntimes":
        "kubeflow/trainer v2.3.0, manifests/base/crds/trainer.kubeflow.org_trainingruntimes.yaml",
}  # fmt: skip
TEMPLATE = "pod-template.json"
RUNTIME = "training-runtime.json"
TEXT = {"type": "string"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
METADATA = {"type": "object", "properties": {"labels": TEXTS, "annotations": TEXTS}}


def strip(node: Any, *, names: bool = False) -> Any:
    """Leave out descriptions; below `properties` the keys are names, of which one may be `description`."""
    if isinstance(node, dict):
        return {
            key: strip(value, names=key == "properties" and not names)
            for key, value in node.items()
            if names or not (key == "description" or key.startswith("x-kubernetes-list"))
        }
    return [strip(item) for item in node] if isinstance(node, list) else node


def whole(api_version: str, kind: str, spec: Any) -> Any:
    """Make the schema of an object."""
    fixed = {"apiVersion": {"enum": [api_version]}, "kind": {"enum": [kind]}}
    name = {**METADATA["properties"], "name": TEXT, "namespace": TEXT}
    metadata = {"type": "object", "properties": name, "required": ["name"]}
    return {
        "type": "object", "required": [*fixed, "metadata", "spec"],
        "properties": {**fixed, "metadata": metadata, "spec": spec},
    }  # fmt: skip


def save(name: str, source: str, schema: Any) -> None:
    """Write one file."""
    said = f"Derived by k8s/derive_crds.py from {SOURCES[source]}, Apache-2.0; descriptions left out."
    text = json.dumps({"$comment": said, **schema}, indent=1, sort_keys=True)
    (FOLDER / name).write_text(text + "\n", encoding="utf-8")


def read_spec(path: str) -> Any:
    """Return the schema of the spec that a definition holds."""
    document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    return strip(document["spec"]["versions"][0]["schema"]["openAPIV3Schema"])["properties"]["spec"]


def without_validations(node: Any) -> Any:
    """Leave out the rules in CEL, which nobody here evaluates, and what only `kubectl explain` reads."""
    if isinstance(node, dict):
        return {
            key: without_validations(value) for key, value in node.items()
            if key not in ("x-kubernetes-validations", "x-kubernetes-map-type", "default")
        }  # fmt: skip
    return [without_validations(item) for item in node] if isinstance(node, list) else node


def main() -> None:
    """Write all files."""
    paddle_jobs, job_sets, train_jobs, runtimes = map(read_spec, sys.argv[1:])
    replica = paddle_jobs["properties"]["paddleReplicaSpecs"]["additionalProperties"]
    template = replica["properties"]["template"]
    template["properties"]["metadata"] = METADATA
    save(TEMPLATE, "paddlejobs", template)
    replica["properties"]["template"] = {"$ref": TEMPLATE}
    save("kubeflow.org-v1.json", "paddlejobs", whole("kubeflow.org/v1", "PaddleJob", paddle_jobs))

    def put_template(spec: Any) -> Any:
        """Put the pod template and plain metadata into the spec of a JobSet; return that of its Job."""
        job = spec["properties"]["replicatedJobs"]["items"]["properties"]["template"]["properties"]
        job["metadata"] = METADATA
        job["spec"]["properties"]["template"] = {"$ref": TEMPLATE}
        return job["spec"]

    job_sets = without_validations(job_sets)
    job = put_template(job_sets)
    save("batch-v1.json", "jobsets", whole("batch/v1", "Job", job))
    save("jobset.x-k8s.io-v1alpha2.json", "jobsets", whole("jobset.x-k8s.io/v1alpha2", "JobSet", job_sets))
    version = "trainer.kubeflow.org/v1alpha1"
    train_jobs = without_validations(train_jobs)
    train_jobs["properties"].pop("runtimePatches", None)  # most of it, and nothing that we make
    save("trainer.kubeflow.org-v1alpha1.json", "trainjobs", whole(version, "TrainJob", train_jobs))
    runtimes = without_validations(runtimes)
    set_template = runtimes["properties"]["template"]["properties"]
    set_template["metadata"] = METADATA
    put_template(set_template["spec"])
    save(RUNTIME, "trainingruntimes", whole(version, "TrainingRuntime", runtimes))


if __name__ == "__main__":
    main()
