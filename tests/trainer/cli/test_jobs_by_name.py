"""`trainer eval|predict|export JOB`: what a job's run folder says, and what is said of one that has none."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from launcher.runs import paths
from trainer.cli import evaluate, predict
from trainer.config.problems import ConfigError
from trainer.jobs import Job, find_best_of_study, find_job, is_job, require_output, runs_dir
from trainer.protocol.codec import FormatError
from trainer.protocol.jobfile import NAME, JobFile, format_job_file, parse_job_file, parse_job_name
from trainer.protocol.layout import OutputLayout
from trainer.protocol.runfile import RunFile, save_run_file
from trainer.protocol.studyfile import Summary, format_summary

RUN_ID, OTHER = "a" * 32, "b" * 32


def write_job(
    folder: Path, *, job: str = "flowers-a3f9k", backend: str = "local", run_id: str = RUN_ID
) -> JobFile:
    """Leave what `submit` leaves."""
    file = JobFile(
        job=job, backend=backend, run_id=run_id, workdir=str(folder / "work"), output_dir="/output",
        overrides=("Global.epochs=3", "Arch.name= a=b \u00e9"), extra_modules=("ops.py",),
        folders={} if backend == "kubernetes" else {"/output": str(folder / "out")},
    )  # fmt: skip
    run = folder / "state" / "runs" / job
    run.mkdir(parents=True)
    (run / "cfg.yaml").write_text("Global: {}\n")
    (run / NAME).write_text(format_job_file(file), encoding="utf-8")
    return file


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTLAUNCH_STATE", str(tmp_path / "state"))


def refusal(job: Job, output: Path) -> str:
    with pytest.raises(ConfigError) as refused:
        require_output(job, output)
    return str(refused.value)


def leave(output: Path, *, run_id: str = RUN_ID, ended: int | None = 0, checkpoint: bool = True) -> None:
    save_run_file(output, RunFile(run_id=run_id, first_start_s=1.0, ended=ended))
    if checkpoint:
        layout = OutputLayout(output)
        layout.checkpoints_dir.mkdir()
        layout.pointer.write_text("e001-s000001")


def test_what_is_written_is_read(tmp_path):
    file = write_job(tmp_path)
    assert find_job("flowers-a3f9k").file == file


@pytest.mark.parametrize("text", ["{}", "[", '{"schema": 2}', '{"schema": 1, "job": 3}', "\x00"])
def test_a_broken_file_is_refused_by_name(text):
    with pytest.raises(FormatError, match=r"job\.json"):
        parse_job_file(text.encode(), where="job.json")


@pytest.mark.parametrize("environ", [{"FTLAUNCH_STATE": "/s"}, {"FTLAUNCH_STATE": "~/s"}, {}])
def test_trainer_and_launcher_mean_the_same_run_folders(environ):
    assert runs_dir(environ) == paths.runs_dir(environ)


@pytest.mark.parametrize("text", ["flowers-a3f9k", "local:///flowers-a3f9k"])
def test_a_job_is_found_by_name_and_by_handle(tmp_path, text):
    write_job(tmp_path)
    job = find_job(text)
    assert job.path_map.apply("/output/x") == str(tmp_path / "out/x")
    assert job.path_map.apply("./data") == str(tmp_path / "work/data")  # wherever `trainer` is typed


@pytest.mark.parametrize("text", ["../runs", "a/b", "", "Flowers", "..", "local:///../x", "a\x00b", "-c"])
def test_what_is_no_name_leads_to_no_folder(text):
    assert parse_job_name(text) is None
    assert not is_job(text)


def test_a_job_on_another_backend_is_told(tmp_path):
    write_job(tmp_path)
    with pytest.raises(ConfigError, match="expected a job on docker, got flowers-a3f9k, which is on local"):
        find_job("docker:///flowers-a3f9k")


def test_a_job_of_an_earlier_release_is_told(tmp_path):
    write_job(tmp_path)
    (tmp_path / "state/runs/flowers-a3f9k" / NAME).unlink()
    with pytest.raises(ConfigError, match="one of an earlier one; name its config by -c"):
        find_job("flowers-a3f9k")


def leave_study(folder: Path, *, job: str | None, text: str | None = None) -> None:
    own = folder / "state" / "sweeps" / "rates"
    own.mkdir(parents=True)
    (own / "study.json").write_text("{}")
    summary = Summary(state="Running", begun=2, ended=1, planned=3, best=0.5, winner=1, job=job)
    (own / "summary.json").write_text(format_summary(summary) if text is None else text)


def test_of_a_study_the_best_job_is_meant(tmp_path):
    leave_study(tmp_path, job="rates-t002")
    assert is_job("rates")
    assert find_best_of_study("rates") == "rates-t002"
    assert find_best_of_study("rates-t002") is None


@pytest.mark.parametrize(
    ("job", "text"), [(None, None), ("../../etc", None), ("rates-t002", "{"), ("rates-t002", '{"schema": 9}')]
)
def test_a_study_without_a_best_trial_is_refused_with_what_to_type(tmp_path, job, text):
    leave_study(tmp_path, job=job, text=text)
    with pytest.raises(ConfigError, match=r"^rates: expected a study .* `ftlaunch list rates` names"):
        find_best_of_study("rates")


class TestOutput:
    def test_a_job_that_ended_well_needs_no_word(self, tmp_path):
        write_job(tmp_path)
        leave(tmp_path / "out")
        assert require_output(find_job("flowers-a3f9k"), tmp_path / "out") is None

    @pytest.mark.parametrize("ended", [None, 143, 4])
    def test_one_that_did_not_end_is_said(self, tmp_path, ended):
        write_job(tmp_path)
        leave(tmp_path / "out", ended=ended)
        said = require_output(find_job("flowers-a3f9k"), tmp_path / "out")
        assert said is not None
        assert "not trained to its end" in said

    @pytest.mark.parametrize(
        ("ended", "fix"), [(None, "`ftlaunch wait flowers-a3f9k`"), (3, "`ftlaunch why flowers-a3f9k`")]
    )
    def test_without_a_checkpoint_the_next_command_is_named(self, tmp_path, ended, fix):
        write_job(tmp_path)
        leave(tmp_path / "out", ended=ended, checkpoint=False)
        assert fix in refusal(find_job("flowers-a3f9k"), tmp_path / "out")

    def test_an_output_that_is_gone_is_told(self, tmp_path):
        write_job(tmp_path)
        assert "got no such folder" in refusal(find_job("flowers-a3f9k"), tmp_path / "out")

    def test_an_output_that_another_run_took_over_is_not_taken_for_the_jobs(self, tmp_path):
        write_job(tmp_path)
        leave(tmp_path / "out", run_id=OTHER)
        assert f"got that of run {OTHER}" in refusal(find_job("flowers-a3f9k"), tmp_path / "out")
        write_job(tmp_path, job="flowers-taker", run_id=OTHER)
        said = refusal(find_job("flowers-a3f9k"), tmp_path / "out")
        assert "got that of the job flowers-taker, which took the folder over; name flowers-taker, or" in said

    def test_for_a_job_on_a_cluster_the_command_that_brings_it_is_named(self, tmp_path):
        write_job(tmp_path, backend="kubernetes")
        said = refusal(find_job("kubernetes://team/flowers-a3f9k"), tmp_path / "out")
        assert "`ftlaunch ckpt pull flowers-a3f9k --checkpoint best`" in said


@pytest.mark.parametrize(
    ("command", "arguments", "says"),
    [
        (evaluate.command, [], "got neither"),
        (evaluate.command, ["flowers-a3f9k", "-c", "cfg.yaml"], "got both"),
        (predict.command, [], "or a job's name first"),
        (predict.command, [__file__], "or a job's name first"),
        (predict.command, ["-c", "cfg.yaml", "--model", "m"], "expected one of"),
    ],
)
def test_a_run_is_named_once(command, arguments, says):
    ran = CliRunner().invoke(command, arguments)
    assert ran.exit_code == 2
    assert says in ran.output
