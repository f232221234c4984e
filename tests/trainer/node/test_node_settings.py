from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.node.__main__ import main
from trainer.node.settings import NodeSettings, complete_arguments, load_settings, read_runtime
from trainer.node.worker_group import LaunchSpec, find_interface, rank_environment
from trainer.protocol.codec import FormatError
from trainer.protocol.nodefile import NodeFile, format_node_file
from trainer.protocol.pathmap import PathMap, format_path_map

JOB = NodeFile(
    run_id="ab" * 16, job="j", nodes=2, procs_per_node=2, coordinator_host="j-worker-0",
    coordinator_port=36544, backend="nccl", output_dir="/output/run", max_restarts=1, backoff_s=1,
    deadline_s=None, grace_s=120, rendezvous_timeout_s=600, hang_timeout_s=600,
)  # fmt: skip
Load = Callable[..., NodeSettings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def read(job: NodeFile = JOB, **environ: str) -> NodeSettings:
        (tmp_path / "node.json").write_text(format_node_file(job))
        path_map = format_path_map(PathMap({"/etc/ftlaunch": str(tmp_path), "/output": "/here"}))
        return load_settings({"FTL_PATH_MAP": path_map, **environ})

    return read


def test_in_a_pod_the_operators_master_is_the_store_and_node_json_names_the_coordinator(load: Load) -> None:
    settings = load(FTL_NODE="1", PADDLE_MASTER="j-worker-0:36543")
    assert (settings.node, str(settings.coordinator), settings.bind_host) == (1, "j-worker-0:36544", None)
    assert str(settings.master) == "j-worker-0:36543"
    assert list(settings.local_ranks) == [2, 3]


def test_without_a_master_the_store_is_where_the_coordinator_is(load: Load) -> None:
    assert str(load(FTL_NODE="0").master) == "j-worker-0:36543"


def test_on_one_machine_the_coordinator_is_overridden_and_bound_to(load: Load) -> None:
    settings = load(FTL_NODE="0", FTL_COORDINATOR="127.0.0.1:4000")
    assert (str(settings.coordinator), settings.bind_host) == ("127.0.0.1:4000", "127.0.0.1")


def test_container_paths_are_mapped(load: Load) -> None:
    settings = load(FTL_NODE="0")
    assert str(settings.output_dir) == "/here/run"
    assert str(settings.termination_path) == "/dev/termination-log"


def test_the_paddle_operators_trainer_id_is_a_node_index(load: Load) -> None:
    assert load(PADDLE_TRAINER_ID="1").node == 1
    assert load(PADDLE_TRAINER_ID="1", FTL_NODE="0").node == 0
    assert load(dataclasses.replace(JOB, nodes=1)).node == 0


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"FTL_NODE": ""},
        {"FTL_NODE": "2"},
        {"FTL_NODE": "-1"},
        {"FTL_NODE": "²"},
        {"FTL_NODE": "0", "PADDLE_MASTER": "nowhere"},
        {"FTL_NODE": "0", "PADDLE_MASTER": ":1"},
        {"FTL_NODE": "0", "FTL_COORDINATOR": "a:0"},
        {"FTL_NODE": "0", "FTL_COORDINATOR": "a:65536"},
    ],
)
def test_settings_that_make_no_sense_are_refused(load: Load, environ: dict[str, str]) -> None:
    with pytest.raises(FormatError):
        load(**environ)


@pytest.mark.parametrize(("grace_s", "stop_s"), [(120, 115), (30, 25), (8, 4), (0, 0)])
def test_a_stop_leaves_time_before_the_pods_grace_ends(load: Load, grace_s: float, stop_s: float) -> None:
    assert load(dataclasses.replace(JOB, grace_s=grace_s), FTL_NODE="0").stop_within_s == stop_s


def test_each_nccl_rank_gets_a_gpu_of_its_node() -> None:
    spec = LaunchSpec(
        rank=3, attempt=2, endpoints=["a:1", "a:2", "b:1", "b:2"], master="a:36543",
        heartbeats=Path("/tmp/heartbeats"), outcome=Path("/tmp/outcome"),
    )  # fmt: skip
    env = rank_environment(spec, job=JOB, base={"KEPT": "1", "https_proxy": "x", "PADDLE_TRAINER_ID": "1"})
    assert env == {
        "KEPT": "1",
        "PYTHONUNBUFFERED": "1",
        "PADDLE_TRAINER_ID": "3",
        "PADDLE_TRAINERS_NUM": "4",
        "PADDLE_TRAINER_ENDPOINTS": "a:1,a:2,b:1,b:2",
        "PADDLE_CURRENT_ENDPOINT": "b:2",
        "PADDLE_MASTER": "a:36543",
        "PADDLE_RANK_IN_NODE": "1",
        "PADDLE_DISTRI_BACKEND": "nccl",
        "FLAGS_selected_gpus": "1",
        "FTL_RUN_ID": JOB.run_id,
        "FTL_ATTEMPT": "2",
        "FTL_HEARTBEATS": "/tmp/heartbeats",
        "FTL_OUTCOME": "/tmp/outcome",
        "FTL_STORE": "1",
    }


def test_gloo_listens_where_the_other_nodes_know_this_one_unless_the_user_says_otherwise() -> None:
    job = dataclasses.replace(JOB, backend="gloo")
    spec = LaunchSpec(
        rank=0, attempt=1, endpoints=["a:1"] * 4, master="a:36543",
        heartbeats=Path("heartbeats"), outcome=Path("out"), interface=find_interface("127.0.0.1"),
    )  # fmt: skip
    assert rank_environment(spec, job=job, base={})["GLOO_SOCKET_IFNAME"] == "lo"
    chosen = {"GLOO_SOCKET_IFNAME": "ib0"}
    assert rank_environment(spec, job=job, base=chosen)["GLOO_SOCKET_IFNAME"] == "ib0"
    assert find_interface("203.0.113.9") is None


@pytest.mark.parametrize(
    ("argv", "expected"),
    [([], "expected the trainer's arguments"), (["--"], "expected the"), (["--", "train"], "No such file")],
)
def test_bad_input_is_one_tagged_line_and_exit_2(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, argv: list[str], expected: str
) -> None:
    path_map = format_path_map(PathMap({"/etc/ftlaunch": str(tmp_path)}))
    assert main(argv, {"FTL_PATH_MAP": path_map, "FTL_NODE": "1"}) == 2
    out, err = capfd.readouterr()
    assert out.startswith("[a0 n1] ")
    assert expected in out
    assert (out.count("\n"), err) == (1, "")


def test_the_node_process_imports_only_the_standard_library_and_the_protocol() -> None:
    code = (
        "import sys, trainer.node.__main__ as m; "
        "print(*sorted({n.partition('.')[0] for n in sys.modules} - set(sys.stdlib_module_names))); "
        "print(*sorted({'.'.join(n.split('.')[:2]) for n in sys.modules if n.startswith('trainer.')}))"
    )
    found = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(Path(__file__).resolve().parents[3])},
    )  # fmt: skip
    foreign, rooms = found.stdout.splitlines()
    assert set(foreign.split()) <= {"__main__", "trainer"}
    assert rooms.split() == ["trainer.node", "trainer.protocol"]


RUNTIME = {
    "FTL_JOB": "digits", "FTL_RUN_ID": "11112222-3333-4444-5555-666677778888", "FTL_NODE": "1",
    "FTL_OUTPUT_DIR": "/output/run", "PET_NNODES": "2", "PET_NPROC_PER_NODE": "auto",
}  # fmt: skip


def test_without_a_node_json_a_runtimes_variables_tell_the_same(tmp_path: Path) -> None:
    nowhere = format_path_map(PathMap({"/etc/ftlaunch": str(tmp_path), "/output": "/here"}))
    settings = load_settings({**RUNTIME, "FTL_PATH_MAP": nowhere})
    job = settings.job
    assert (settings.node, job.nodes, job.job) == (1, 2, "digits")
    assert job.run_id == "11112222333344445555666677778888"
    assert str(settings.coordinator) == "digits-node-0-0.digits:36544"
    assert str(settings.output_dir) == "/here/run"


@pytest.mark.parametrize(("gpus", "procs", "found"), [
    (0, "auto", (1, "gloo")), (0, "4", (4, "gloo")), (8, "auto", (8, "nccl")), (8, "2", (2, "nccl")),
])  # fmt: skip
def test_a_runtimes_ranks_are_one_a_gpu_or_as_many_as_are_asked_for(gpus, procs, found) -> None:
    job = read_runtime({**RUNTIME, "PET_NPROC_PER_NODE": procs}, gpus=gpus)
    assert (job.procs_per_node, job.backend) == found


@pytest.mark.parametrize("name", ["FTL_RUN_ID", "FTL_OUTPUT_DIR", "PET_NNODES"])
def test_what_a_runtime_does_not_tell_is_named(name) -> None:
    with pytest.raises(FormatError, match=f"{name}.*paddle-distributed"):
        read_runtime({**RUNTIME, name: ""}, gpus=0)
    with pytest.raises(FormatError, match="PET_NNODES: expected a number from 1, got 'many'"):
        read_runtime({**RUNTIME, "PET_NNODES": "many"}, gpus=0)


def test_under_a_runtime_the_trainer_writes_where_its_node_process_looks() -> None:
    job = read_runtime(RUNTIME, gpus=0)
    arguments = ["train", "-c", "cfg.yaml"]
    assert complete_arguments(arguments, RUNTIME, job) == [
        *arguments, "-o", "Global.output_dir=/output/run", "-o", "Global.device=cpu", "--resume", "auto",
    ]  # fmt: skip
    own = [*arguments, "--resume", "never", "-o", "Global.device=xpu"]
    assert complete_arguments(own, RUNTIME, job) == [*own, "-o", "Global.output_dir=/output/run"]
    assert complete_arguments(arguments, {}, job) == arguments
