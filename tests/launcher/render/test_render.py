"""Promise 1: no value of a config can change the structure of the manifest."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from launcher.errors import UsageError
from launcher.plan.jobplan import JobPlan, PlannedVolume, SecretFile
from launcher.render import filters
from launcher.render.manifest import ManifestError, parse_manifest
from launcher.render.references import expand_references
from launcher.render.render import RenderError, render
from trainer.config.overrides import parse_override
from trainer.config.problems import ConfigError
from trainer.protocol.nodefile import parse_node_file

SHARED_FIXTURES = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None
)
hostile = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    [
        "no", "1e3", "1.10", "null", "", "a: b", "\n- x", "# c", "}}", "{{ 7 * 7 }}", "{% endfor %}",
        "$(HOME)", "$$", "stand-in-0-", "\ufeff", "\x85", "\u2028", "'\"\\", "\r\n", "---\nkind: Secret\n",
    ]
)  # fmt: skip
mapping = st.dictionaries(hostile, hostile, max_size=3)


def container(manifest: Any) -> dict[str, Any]:
    (only,) = pod_spec(manifest)["containers"]
    return dict(only)


def pod_spec(manifest: Any) -> dict[str, Any]:
    return dict(manifest.job["spec"]["paddleReplicaSpecs"]["Worker"]["template"]["spec"])


def shape(value: Any) -> Any:
    """The structure alone: keys and types."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return type(value)


@SHARED_FIXTURES
@given(data=st.data())
def test_hostile_scalars_arrive_and_leave_the_structure_alone(plain_plan, data):
    names = ("job", "run_id", "image", "image_pull_policy", "namespace", "service_account", "priority_class",
             "gang_queue", "shares_topology", "config")  # fmt: skip
    drawn = {name: data.draw(hostile.filter(bool), label=name) for name in names}
    plain = dataclasses.replace(plain_plan, **dict.fromkeys(names, "plain"))
    made, expected = render(dataclasses.replace(plain_plan, **drawn)), render(plain)
    assert shape(made.job) == shape(expected.job)
    assert shape(made.config_map) == shape(expected.config_map)
    assert made.config_map["data"]["cfg.yaml"] == drawn["config"]
    assert (made.name, made.namespace) == (drawn["job"], drawn["namespace"])
    assert made.config_map["metadata"]["name"] == f"{drawn['job']}-config"
    assert container(made)["image"] == drawn["image"]
    assert pod_spec(made)["serviceAccountName"] == drawn["service_account"]
    assert pod_spec(made)["priorityClassName"] == drawn["priority_class"]
    assert made.job["spec"]["runPolicy"]["schedulingPolicy"]["queue"] == drawn["gang_queue"]


@pytest.mark.parametrize("nodes", [1, 3])
@pytest.mark.parametrize("priority_class", [None, "high"])
def test_a_gang_s_queue_is_asked_for_with_all_of_the_job_s_pods(plain_plan, nodes, priority_class):
    node_file = dataclasses.replace(plain_plan.node_file, nodes=nodes)
    asked = {"gang_queue": "team-a", "node_file": node_file, "priority_class": priority_class}
    policy = render(dataclasses.replace(plain_plan, **asked)).job["spec"]["runPolicy"]["schedulingPolicy"]
    more = {"priorityClass": priority_class} if priority_class else {}
    assert policy == {"queue": "team-a", "minAvailable": nodes, **more}
    without = render(dataclasses.replace(plain_plan, **{**asked, "gang_queue": None}))
    assert "schedulingPolicy" not in without.job["spec"]["runPolicy"]


@SHARED_FIXTURES
@given(command=st.lists(hostile), env=mapping, labels=mapping, annotations=mapping, selector=mapping)
def test_hostile_collections_arrive(plain_plan, command, env, labels, annotations, selector):
    labels = {**labels, "ftlaunch.io/run-id": "x"}
    job = dataclasses.replace(
        plain_plan, command=tuple(command), env=env, labels=labels, job_labels=labels,
        annotations=annotations, pod_annotations=annotations, node_selector=selector,
    )  # fmt: skip
    made = render(job)
    variables = {"HOME": "replaced", "": "replaced"}
    assert [expand_references(part, variables) for part in container(made)["command"] or []] == command
    found = {item["name"]: item["value"] for item in container(made)["env"][3:]}
    assert {name: expand_references(value, variables) for name, value in found.items()} == env
    template = made.job["spec"]["paddleReplicaSpecs"]["Worker"]["template"]
    assert template["metadata"] == {"labels": labels, "annotations": annotations or None}
    assert made.job["metadata"]["labels"] == made.config_map["metadata"]["labels"] == labels
    assert made.job["metadata"].get("annotations", {}) == annotations
    assert pod_spec(made).get("nodeSelector", {}) == selector


@SHARED_FIXTURES
@given(path=hostile, claim=hostile, sub_path=hostile, secret=hostile, key=hostile)
def test_hostile_mounts_arrive(plain_plan, path, claim, sub_path, secret, key):
    mount = PlannedVolume(volume="volume-0", path=path, claim=claim, host_path=None, sub_path=sub_path,
                  read_only=True, local=None)  # fmt: skip
    file = SecretFile(volume="secret-0", secret=secret, key=key, path=f"/s/{key}", local=None)
    made = render(dataclasses.replace(plain_plan, mounts=(mount,), secrets=(file,)))
    first, second = container(made)["volumeMounts"][-2:]
    assert first == {"name": "volume-0", "mountPath": path, "subPath": sub_path, "readOnly": True}
    assert second["mountPath"] == f"/s/{key}"
    claimed, secreted = pod_spec(made)["volumes"][-2:]
    assert claimed["persistentVolumeClaim"] == {"claimName": claim}
    assert secreted["secret"]["secretName"] == secret
    assert secreted["secret"]["items"][0]["key"] == key


@SHARED_FIXTURES
@given(free=hostile, image=hostile, variable=hostile, label=hostile)
def test_hostile_overrides_are_refused_or_arrive_and_leave_the_structure_alone(
    make_plan, free, image, variable, label
):
    assume(parse_override(f"a={image}").value is not None)  # `null` asks for the default image

    def job(free: str, image: str, variable: str, label: str) -> JobPlan:
        overrides = (
            f"+Global.note={free}", f"Launch.image={image}", f"Launch.env.NOTE={variable}",
            f"Launch.labels.note={label}",
        )  # fmt: skip
        planned: JobPlan = make_plan(overrides)
        return planned

    plain = render(job("plain", "plain", "plain", "plain"))
    try:
        made = render(job(free, image, variable, label))
    except ConfigError:
        made = render(job(free, "plain", "plain", "plain"))
        image = variable = label = "plain"
    assert shape(made.job) == shape(plain.job)
    assert shape(made.config_map) == shape(plain.config_map)
    command = [expand_references(part, {"HOME": "replaced"}) for part in container(made)["command"]]
    assert f"+Global.note={free}" in command
    assert container(made)["image"] == image
    found = {item["name"]: item.get("value") for item in container(made)["env"]}
    assert expand_references(found["NOTE"], {"HOME": "replaced"}) == variable
    assert made.job["metadata"]["labels"]["note"] == label


@pytest.mark.parametrize(
    "content",
    [b"", b"\xef\xbb\xbf# \xc3\xa9\r\na: 1\r\n", b"a:\t1\n\n\n", b"# \xf0\x9f\x98\x80", b"a: 1\n  \n",
     b"\n\na: 1\n", b"a: |\n  b\n", b"---\na: 1\n...\n", b"# \xc2\x85 \xe2\x80\xa8\n",
     b"'''\"{{ x }}{% if %}\\n\n"],
)  # fmt: skip
def test_the_configs_bytes_survive(plain_plan, content):
    made = render(dataclasses.replace(plain_plan, config=content.decode()))
    assert parse_manifest(made.text).config_map["data"]["cfg.yaml"].encode() == content


def test_node_json_is_what_the_node_process_reads(plain_plan):
    assert parse_node_file(render(plain_plan).config_map["data"]["node.json"]) == plain_plan.node_file


def test_rendering_is_a_function_of_the_plan(plain_plan):
    assert render(plain_plan).text == render(plain_plan).text


def test_numbers_and_truths_keep_their_types(make_plan):
    made = render(make_plan(launch={"nodes": 2, "keep_finished": "7d"}))
    assert made.job["spec"]["runPolicy"] == {"cleanPodPolicy": "None", "ttlSecondsAfterFinished": 604800}
    worker = made.job["spec"]["paddleReplicaSpecs"]["Worker"]
    assert (worker["replicas"], worker["restartPolicy"]) == (2, "ExitCode")
    assert container(made)["resources"]["limits"] == {"nvidia.com/gpu": 4}


def test_no_namespace_is_written_where_none_is_given(plain_plan):
    made = render(plain_plan)
    assert "namespace" not in made.job["metadata"]
    assert "namespace" not in made.config_map["metadata"]


def test_what_the_operator_must_not_be_given_is_not_there(plain_plan):
    made = render(plain_plan)
    assert set(made.job["spec"]["paddleReplicaSpecs"]) == {"Worker"}
    assert not {"backoffLimit", "activeDeadlineSeconds"} & set(made.job["spec"]["runPolicy"])
    assert not {"readinessProbe", "startupProbe", "livenessProbe"} & set(container(made))
    assert {port["name"]: port["containerPort"] for port in container(made)["ports"]} == {
        "master": 36543, "coordinator": 36544,
    }  # fmt: skip


def test_the_pod_passes_the_restricted_security_level(make_plan):
    made = render(make_plan(launch={"run_as": {"user": 5, "group": 6, "supplemental_groups": [7]}}))
    pod, inner = pod_spec(made)["securityContext"], container(made)["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert (pod["runAsUser"], pod["runAsGroup"], pod["supplementalGroups"]) == (5, 6, [7])
    assert inner == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod_spec(made))
    assert all("hostPath" not in volume for volume in pod_spec(made)["volumes"])


def test_rdma_adds_one_capability(make_plan):
    made = render(make_plan(launch={"rdma": True}))
    assert container(made)["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["IPC_LOCK"]}


def test_a_filter_that_lets_a_value_change_its_type_is_caught(plain_plan, monkeypatch):
    right = filters.to_json
    monkeypatch.setattr(
        filters, "to_json", lambda value: filters.Emitted(value) if value == "no" else right(value)
    )
    with pytest.raises(RenderError, match="manifest: expected"):
        render(dataclasses.replace(plain_plan, env={"A": "no"}))


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("kind: {{ plan.job }}", "expected `| json` after every value"),
        ("kind: {{ plan.nope | json }}", "no attribute 'nope'"),
        ("kind: {{ nope | json }}", "'nope' is undefined"),
        ("{% for %}", "paddlejob.yaml.j2:1: expected a template that renders"),
        ("kind: {{ plan.job_labels.items | json }}", "not JSON serializable"),
        ("{{ ''.__class__.__mro__ | json }}", "paddlejob.yaml.j2"),
    ],
    ids=["bare", "attribute", "name", "syntax", "value", "sandbox"],
)
def test_a_broken_template_is_refused_with_its_place(plain_plan, tmp_path, template, message):
    (tmp_path / "paddlejob.yaml.j2").write_text(template)
    with pytest.raises(RenderError, match=r"paddlejob\.yaml\.j2") as caught:
        render(plain_plan, template_dirs=[tmp_path])
    assert message in str(caught.value)


def test_a_users_template_wins(plain_plan, tmp_path):
    ours = Path(__file__).resolve().parents[3] / "k8s/templates/paddlejob.yaml.j2"
    (tmp_path / "paddlejob.yaml.j2").write_text(
        ours.read_text().replace("kind: PaddleJob", "kind: PaddleJob # mine")
    )
    assert "# mine" in render(plain_plan, template_dirs=[tmp_path]).text


def test_a_template_folder_that_is_none_is_refused(plain_plan, tmp_path):
    with pytest.raises(UsageError, match="--template-dir: expected a folder"):
        render(plain_plan, template_dirs=[tmp_path / "none"])


@pytest.mark.parametrize(
    "text", ["a: [", "", "kind: ConfigMap", "kind: ConfigMap\n---\nkind: PaddleJob\n", "- a\n--- b"]
)
def test_text_that_is_no_manifest_is_refused(text):
    with pytest.raises(ManifestError, match="manifest: "):
        parse_manifest(text)


@pytest.fixture
def plain_plan(make_plan) -> JobPlan:
    plan: JobPlan = make_plan()
    return plan


@pytest.mark.parametrize(
    "spoil", [None, b"", b"no bytecode", b"\0" * 4096], ids=["whole", "empty", "text", "zeros"]
)
def test_kept_templates_change_nothing_and_broken_ones_are_made_again(plain_plan, tmp_path, spoil):
    fresh = render(plain_plan)
    assert render(plain_plan, cache=tmp_path / "new").text == fresh.text
    kept = sorted((tmp_path / "new").iterdir())
    for file in kept if spoil is not None else ():
        file.write_bytes(spoil)
    assert kept
    assert render(plain_plan, cache=tmp_path / "new").text == fresh.text


def test_a_folder_that_cannot_be_written_to_does_no_harm(plain_plan, tmp_path):
    (tmp_path / "file").touch()
    assert render(plain_plan, cache=tmp_path / "file").text == render(plain_plan).text
