"""Derives the schemas in k8s/crds: `python k8s/derive_crds.py kubeflow.org_paddlejobs.yaml`.

The argument lies in manifests/base/crds of kubeflow/training-operator v1.9.3 (Apache-2.0).
Descriptions are left out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent / "crds"
SOURCE = (
    "Derived by k8s/derive_crds.py from kubeflow/training-operator v1.9.3, "
    "manifests/base/crds/kubeflow.org_paddlejobs.yaml, Apache-2.0; descriptions left out."
)
TEMPLATE = "pod-template.json"
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


def whole(api_version: str, spec: Any) -> Any:
    """Make the schema of a job."""
    fixed = {"apiVersion": {"enum": [api_version]}, "kind": {"enum": ["PaddleJob"]}}
    name = {**METADATA["properties"], "name": TEXT, "namespace": TEXT}
    metadata = {"type": "object", "properties": name, "required": ["name"]}
    return {
        "type": "object", "required": [*fixed, "metadata", "spec"],
        "properties": {**fixed, "metadata": metadata, "spec": spec},
    }  # fmt: skip


def save(name: str, source: str, schema: Any) -> None:
    """Write one file."""
    text = json.dumps({"$comment": source, **schema}, indent=1, sort_keys=True)
    (FOLDER / name).write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Write all files."""
    document = yaml.safe_load(Path(sys.argv[1]).read_text(encoding="utf-8"))
    schema = document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    spec = strip(schema)["properties"]["spec"]
    replica = spec["properties"]["paddleReplicaSpecs"]["additionalProperties"]
    template = replica["properties"]["template"]
    template["properties"]["metadata"] = METADATA
    save(TEMPLATE, SOURCE, template)
    replica["properties"]["template"] = {"$ref": TEMPLATE}
    save("kubeflow.org-v1.json", SOURCE, whole("kubeflow.org/v1", spec))


if __name__ == "__main__":
    main()
