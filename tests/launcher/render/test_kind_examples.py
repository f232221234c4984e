"""`k8s/examples`: the same job as each kind of object. Renew: pytest --update-goldens."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from launcher.config.flags import Flags
from launcher.config.load import load_run_config
from launcher.kinds.base import JobKind
from launcher.kinds.registry import KINDS
from launcher.objects import CONFIG_MAPS
from launcher.plan.plan import plan
from launcher.render.crds import find_faults
from launcher.render.manifest import Manifest, parse_manifest
from launcher.render.render import render
from tests.fakes.admission import admit

REPOSITORY = Path(__file__).resolve().parents[3]
EXAMPLES = REPOSITORY / "k8s/examples"
RUN_ID = "0" * 32
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def rendered(kind: JobKind) -> Manifest:
    config = load_run_config(REPOSITORY / "examples/quickstart.yaml", flags=Flags(nodes=2, gpus=0))
    made = plan(config, on="kubernetes", run_id=RUN_ID, version="0.2.0", exact_name="digits", api=kind.name)
    return render(made)


@every_kind
def test_an_example_is_what_render_prints(kind, check_golden):
    check_golden(str(EXAMPLES / f"{kind.name}.yaml"), rendered(kind).text)


@every_kind
def test_a_cluster_takes_an_example(kind):
    manifest = parse_manifest((EXAMPLES / f"{kind.name}.yaml").read_text(encoding="utf-8"))
    assert find_faults(manifest.job) == []
    admit(CONFIG_MAPS, manifest.config_map, namespace="default")
    for resource, item in zip(kind.companions, manifest.companions, strict=True):
        admit(resource, item, namespace="default")
    admit(kind.resource, manifest.job, namespace="default")


def test_the_pods_of_all_examples_are_the_same_but_for_what_the_kind_names():
    names = {"paddle": "node"}  # the trainer's container of a PaddleJob, and of all others
    seen = []
    for kind in KINDS:
        manifest = rendered(kind)
        pod = kind.pod_template_of(manifest.job, manifest.companions)["spec"]
        ours = {key: value for key, value in pod.items() if key not in ("restartPolicy", "subdomain")}
        (container,) = ours["containers"]
        text = yaml.safe_dump({**ours, "containers": [
            {**container, "name": names.get(container["name"], container["name"])}
        ]}).replace(kind.node_field, "NODE")  # fmt: skip
        seen.append(text)
    assert len(set(seen)) == 1


def test_every_kind_has_its_example():
    assert {path.stem for path in EXAMPLES.glob("*.yaml")} == {kind.name for kind in KINDS}
