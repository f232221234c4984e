from __future__ import annotations

import pytest

from launcher.config.flags import Flags
from launcher.config.load import load_run_config
from launcher.errors import UsageError
from launcher.names import RUN_ID_LABEL, SUBMITTED_BY
from launcher.plan.plan import plan
from tests.launcher.configs import RUN_ID, config_values
from trainer.config.problems import ConfigError
from trainer.protocol.nodefile import format_node_file, parse_node_file


@pytest.mark.parametrize(
    ("launch", "text"),
    [
        ({"nodes": 2, "gpus": 4}, "2 nodes × 4 GPUs = 8 ranks, global batch 512"),
        ({"nodes": 1, "gpus": 1}, "1 node × 1 GPU = 1 rank, global batch 64"),
        ({"gpus": 0}, "1 node × 1 CPU rank = 1 rank, global batch 64"),
        ({"nodes": 2, "gpus": 0, "procs_per_node": 3}, "2 nodes × 3 CPU ranks = 6 ranks, global batch 384"),
        ({"gpus": 4, "procs_per_node": 2}, "1 node × 2 of 4 GPUs = 2 ranks, global batch 128"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_size_is_said_in_a_line(make_plan, launch, text):
    assert make_plan(launch=launch).describe() == text


def test_the_command_is_the_contract(make_plan):
    job = make_plan(["Global.epochs=3", "Launch.nodes=2", "Global.seed=1"])
    assert job.command == (
        "python", "-m", "trainer.node", "--", "train", "-c", "/etc/ftlaunch/cfg.yaml",
        "-o", "Global.epochs=3", "-o", "Global.seed=1", "--resume", "auto",
    )  # fmt: skip


def test_no_gpus_means_cpu_ranks_over_gloo(make_plan):
    job = make_plan(["Global.epochs=3"], launch={"gpus": 0})
    assert job.command[-4:] == ("-o", "Global.device=cpu", "--resume", "auto")
    assert (job.node_file.backend, job.gpus, job.tolerations) == ("gloo", 0, ())


def test_gpus_are_tolerated_and_spoken_to_by_nccl(make_plan):
    job = make_plan(launch={"gpus": 4, "gpu_resource": "amd.com/gpu"})
    assert job.node_file.backend == "nccl"
    assert [(t.key, t.operator) for t in job.tolerations] == [("amd.com/gpu", "Exists")]


def test_fewer_gpus_here_run_as_that_many_cpu_ranks(make_plan):
    job = make_plan(on="local", gpus_here=1, launch={"gpus": 4})
    assert (job.world_size, job.node_file.backend, job.gpus, job.gpus_missing) == (4, "gloo", 0, 4)
    assert "fewer than 4 GPUs are here" in job.notes[0]
    assert "Global.device=cpu" in job.command


def test_the_one_gpu_that_is_not_here_is_said_so(make_plan):
    job = make_plan(on="local", gpus_here=0, launch={"gpus": 1})
    assert job.notes[0] == "no GPU is here: the job runs as CPU ranks over gloo"


def test_the_nodes_of_a_local_job_share_its_gpus(make_plan):
    assert make_plan(on="local", gpus_here=4, launch={"gpus": 2, "nodes": 2}).gpus == 2
    assert make_plan(on="local", gpus_here=3, launch={"gpus": 2, "nodes": 2}).gpus_missing == 2


def test_node_json_says_what_node_processes_need(make_plan):
    launch = {"nodes": 2, "deadline": "24h", "hang_timeout": None, "max_restarts": 5, "grace_period": "90s"}
    job = make_plan(launch=launch, overwrite=True)
    node_file = parse_node_file(format_node_file(job.node_file))
    assert (node_file.run_id, node_file.job, node_file.nodes, node_file.procs_per_node) == (
        RUN_ID,
        job.job,
        2,
        4,
    )
    assert (node_file.coordinator_host, node_file.coordinator_port) == (f"{job.job}-worker-0", 36544)
    assert (node_file.output_dir, node_file.overwrite) == ("/output/run", True)
    assert (node_file.deadline_s, node_file.hang_timeout_s, node_file.grace_s) == (86400, None, 90)
    assert node_file.max_restarts == 5


def test_a_relative_output_folder_counts_from_the_working_directory(make_plan):
    job = make_plan(on="local", Global__output_dir="./output/")
    assert job.node_file.output_dir == "/workspace/output"


def test_the_name_is_the_prefix_and_a_part_of_the_run_id(make_plan):
    assert make_plan().job == "cfg-aaise"
    assert make_plan(launch={"name": "flowers"}).job == "flowers-aaise"
    assert make_plan(exact_name="mine").job == "mine"


@pytest.mark.parametrize("name", ["Mine", "a" * 53, "", "1st"])
def test_an_exact_name_that_is_none_is_refused(make_plan, name):
    with pytest.raises(UsageError, match="--name: expected at most 52"):
        make_plan(exact_name=name)


def test_every_object_carries_the_run_id_and_the_users_labels(make_plan):
    job = make_plan(launch={"labels": {"team": "a"}, "queue": {"kueue": "q"}})
    assert job.labels[RUN_ID_LABEL] == job.job_labels[RUN_ID_LABEL] == RUN_ID
    assert job.labels["team"] == "a"
    assert set(job.job_labels) - set(job.labels) == {"kueue.x-k8s.io/queue-name"}


def test_a_users_annotation_wins(make_plan):
    job = make_plan(launch={"annotations": {"sidecar.istio.io/inject": "true"}})
    assert job.pod_annotations["sidecar.istio.io/inject"] == "true"
    assert job.pod_annotations["karpenter.sh/do-not-disrupt"] == "true"


def test_notes_say_what_nobody_may_have_meant(make_plan):
    assert make_plan().notes == ()
    assert "no image is named" in make_plan(launch={"image": None}).notes[0]
    assert "2 GPUs of each node stay idle" in make_plan(launch={"procs_per_node": 2}).notes[0]


def test_no_gpus_by_silence_are_noted(write_config):
    values = config_values()
    del values["Launch"]["gpus"]
    path = write_config(values)
    silent = plan(load_run_config(path), run_id=RUN_ID, on="kubernetes")
    spoken = plan(load_run_config(path, flags=Flags(gpus=0)), run_id=RUN_ID, on="kubernetes")
    assert "no GPUs are asked for" in silent.notes[0]
    assert spoken.notes == ()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"Global__device": "cpu"},
            "Global.device: expected 'gpu' where gpus is 4, got 'cpu'; or set gpus to 0",
        ),
        ({"launch": {"procs_per_node": 5}}, "Launch.procs_per_node: expected at most 4, one a GPU, got 5"),
    ],
    ids=["device", "procs"],
)
def test_what_contradicts_itself_is_refused_with_its_place(make_plan, changes, problem):
    with pytest.raises(ConfigError, match=r"^cfg\.yaml:[0-9]+:[0-9]+: ") as caught:
        make_plan(**changes)
    assert problem in str(caught.value)


def test_a_mount_without_a_source_is_refused_everywhere(make_plan):
    launch = {
        "volumes": [{"mount": "/data", "local": "x"}, {"mount": "/output", "claim": "c"}],
        "secrets": [{"name": "s", "key": "k", "mount": "/secrets/k"}],
        "weights": {"claim": "w", "path": "/weights"},
    }
    with pytest.raises(ConfigError) as caught:
        make_plan(launch=launch)
    assert [problem.path for problem in caught.value.problems] == [("Launch", "volumes", 0)]
    with pytest.raises(ConfigError) as caught:
        make_plan(on="local", gpus_here=4, launch=launch)
    assert [problem.path for problem in caught.value.problems] == [
        ("Launch", "volumes", 1), ("Launch", "secrets", 0), ("Launch", "weights"),
    ]  # fmt: skip


def test_a_config_that_no_configmap_holds_is_refused(write_config):
    path = write_config()
    with path.open("a") as stream:
        stream.write("#" * 1_000_000)
    with pytest.raises(ConfigError, match="expected at most 921600 bytes"):
        plan(load_run_config(path), run_id=RUN_ID, on="kubernetes")


@pytest.mark.parametrize("level", ["preferred", "required"])
def test_kueue_places_pods_by_a_topology_where_that_is_asked_for(make_plan, level):
    job = make_plan(launch={"queue": {"kueue": "q", "topology": level}, "topology_key": "example.com/rack"})
    assert job.pod_annotations[f"kueue.x-k8s.io/podset-{level}-topology"] == "example.com/rack"
    assert job.shares_topology is None  # the scheduler's wish would pull against Kueue's choice


def test_without_that_a_topology_is_a_wish_to_the_scheduler(make_plan):
    job = make_plan(launch={"queue": {"kueue": "q"}, "topology_key": "example.com/rack"})
    assert not any(name.startswith("kueue") for name in job.pod_annotations)
    assert job.shares_topology == "example.com/rack"


def test_who_submits_stands_on_the_job_and_not_on_its_pods(make_plan):
    job = make_plan(submitted_by="ann")
    assert job.annotations == {SUBMITTED_BY: "ann"}
    assert SUBMITTED_BY not in job.pod_annotations
    assert make_plan().annotations == {}
