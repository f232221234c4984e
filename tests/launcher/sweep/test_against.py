"""`--against`: what a study's best is held against, what is refused, and what is said in the end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.jobs.metrics import Score
from launcher.jobs.outcome import OUTCOME, Outcome
from launcher.names import job_name
from launcher.plan.handle import Handle
from launcher.runs.origin import Origin, hash_file, save_origin
from launcher.runs.paths import runs_dir
from launcher.runs.record import RunRecord, Stage
from launcher.runs.store import RunStore
from launcher.sweep.begin import SweepRequest, describe_first, plan_study, read_request
from launcher.sweep.driver import Picture
from launcher.sweep.page import render_page
from launcher.sweep.results import describe_gain
from launcher.sweep.study import Baseline, parse_settings, sweeps_dir
from launcher.sweep.trials import Trial, Trials, TrialState
from tests.launcher.schemas import check_document
from tests.launcher.sweep.conftest import RATE, SETTINGS
from trainer.protocol.codec import encode

DIGITS = "0123456789abcdef"


@pytest.fixture
def ended(config, tmp_path):
    """Return what notes a job as one that was looked at when it had ended."""

    def make(number: int = 1, *, name: str = "", state: str = "Succeeded", value: float | None = 0.9694,
             metric: str = "top1", study: str | None = None) -> str:  # fmt: skip
        run_id = DIGITS[number] * 32
        job = name or job_name("quick", run_id=run_id)
        record = RunRecord(
            handle=Handle(backend="local", job=job), run_id=run_id, stage=Stage.SUBMITTED,
            project=str(tmp_path), config=str(config), command=("submit",), created_s=float(number),
            study=study,
        )  # fmt: skip
        store = RunStore(runs_dir())
        store.begin(record, config=config.read_bytes(), manifest="", git=None)
        score = None if value is None else Score(metric=metric, value=value, epoch=9)
        outcome = Outcome(state=state, began_s=1.0, ended_s=2.0, score=score)
        (store.run_folder(job) / OUTCOME).write_text(json.dumps(encode(outcome, schema=1)))
        return job

    return make


@pytest.fixture
def refused(config, ftlaunch):
    """Return what a study against a job is refused with, nothing having been begun."""

    def ask(asked: str, *words: str) -> str:
        ran = ftlaunch(
            "sweep", "cfg.yaml", "--on", "local", "--over", f"{RATE}=[0.1,0.2]", "--against", asked, *words
        )
        assert ran.code in (2, 4, 5), ran.err
        assert not sweeps_dir().exists() or not list(sweeps_dir().iterdir())
        return ran.err

    return ask


def trial(number: int, *values: float, epochs: int = 5) -> Trial:
    named = {f"s{seed}" if len(values) > 1 else "": value for seed, value in enumerate(values)}
    mean = sum(values) / len(values)
    return Trial(
        number=number, state=TrialState.COMPLETE, params={RATE: 0.1}, curve={epochs: mean}, value=mean,
        values=named, began_s=1.0, ended_s=2.0, slots={}, resumed={},
    )  # fmt: skip


QUICK = Baseline(name="quick-x7k2p", values=(0.9694,), epochs=10)
HELD, WORSE = "quick-x7k2p top1 0.9694 after 10 epochs", "no trial is better than quick-x7k2p: "


@pytest.mark.parametrize(
    ("value", "goal", "said"),
    [
        (0.9833, "max", f"trial 2 has top1 0.9833 after 5 epochs, {HELD}: a difference of 0.014. "),
        (0.95, "max", f"{WORSE}trial 2 has top1 0.95 after 5 epochs, {HELD}: a difference of 0.019. "),
        (0.95, "min", f"trial 2 has top1 0.95 after 5 epochs, {HELD}: a difference of 0.019. "),
        (0.9694, "max", f"{WORSE}trial 2 has top1 0.9694 after 5 epochs, {HELD}: the same"),
    ],
    ids=["better", "worse", "less-is-better", "the-same"],
)
def test_the_best_is_held_against_the_run_and_not_against_the_first_trial(value, goal, said):
    worse = trial(0, 0.5 if goal == "max" else 1.5)
    settings = replace(SETTINGS, baseline=QUICK, goal=goal)
    assert describe_gain([worse, trial(1, value)], settings).startswith(said)


def test_of_single_runs_chance_cannot_be_told_and_of_seeds_it_can():
    said = describe_gain([trial(0, 0.98)], replace(SETTINGS, baseline=QUICK))
    assert "cannot be said of single runs; a study of each with --over seed=3 says it" in said
    seeds = replace(QUICK, values=(0.96, 0.961, 0.962, 0.961), trial=1)
    said = describe_gain([trial(0, 0.98, 0.981, 0.979)], replace(SETTINGS, baseline=seeds))
    assert "quick-x7k2p, trial 2, top1 0.961 after 10 epochs: a difference of 0.019, more than the" in said
    assert "that 3 and 4 runs leave to chance" in said


def test_it_is_kept_with_the_study_and_a_record_without_it_is_read():
    kept = replace(SETTINGS, baseline=QUICK)
    assert parse_settings(json.dumps(encode(kept, schema=1)).encode(), where="study.json").baseline == QUICK
    before = encode(SETTINGS, schema=1)
    assert "baseline" not in before
    assert parse_settings(json.dumps(before).encode(), where="study.json").baseline is None


def test_the_name_of_a_config_means_the_last_of_its_jobs_that_succeeded(ended):
    ended(1, value=0.5)
    meant = ended(2)
    ended(3, state="Failed", value=0.99)
    ended(4, value=0.99, study="a-study")
    said = []
    request = SweepRequest(config=Path("cfg.yaml"), over=(f"{RATE}=[0.1,0.2]",), against="quick")
    settings = plan_study(
        replace(request, options=replace(request.options, on="local")), notes=said.append
    ).settings
    assert settings.baseline == Baseline(name=meant, values=(0.9694,), epochs=9, is_best_epoch=True)
    assert any("whether" in note.text and "the same images is not known" in note.text for note in said)
    assert describe_first(settings) == f"the best is held against {meant} top1 0.9694 at epoch 9"


def test_a_job_of_the_exact_name_is_meant_also_where_it_was_cancelled(ended):
    ended(1, name="quick", state="Cancelled", value=0.7)
    ended(2)
    request = SweepRequest(config=Path("cfg.yaml"), over=(f"{RATE}=[0.1,0.2]",), against="quick")
    settings = plan_study(replace(request, options=replace(request.options, on="local"))).settings
    assert settings.baseline == Baseline(name="quick", values=(0.7,), epochs=9, is_best_epoch=True)


@pytest.mark.parametrize("asked", ["nothing", "../x", "local:///x", "no such: job"])
def test_a_run_that_is_not_there_is_refused_by_name(asked, refused):
    assert f"--against {asked}: expected a job or a study of this machine" in refused(asked)


def test_a_run_that_goes_on_is_refused(ended, refused, monkeypatch):
    job = ended(1, state="Running")
    monkeypatch.setattr("launcher.sweep.against.ask_for", lambda records, store: [("Running", None)])
    said = refused(job)
    assert f"--against {job}: expected a run that has ended, got" in said
    assert f"{job}, which is Running; `ftlaunch wait {job}` first" in said.replace("'", "")
    assert f"{job}, which is Running" in refused("quick")


def test_a_run_without_the_metric_is_refused(ended, refused):
    said = refused(ended(1, metric="loss"))
    assert "expected a run that was measured by top1" in said
    assert "has no evaluation" in refused(ended(2, value=None))


def test_folds_have_no_list_to_be_held_against(ended, refused):
    said = refused(ended(1), "--over", "folds=2")
    assert "--against" in said or "folds" in said


def test_a_run_on_another_list_is_refused_and_one_on_the_same_is_not(ended, refused, monkeypatch, tmp_path):
    job = ended(1)
    monkeypatch.setattr("launcher.sweep.against.find_host_folders", lambda *given: {"/data": tmp_path})
    monkeypatch.setattr("launcher.sweep.against._eval_list", lambda settings: "/data/val_list.txt")
    (tmp_path / "val_list.txt").write_text("a.png 0\n")
    monkeypatch.setattr(
        "launcher.sweep.against.hash_lists",
        lambda values, folders, workdir: {"/data/val_list.txt": hash_file(tmp_path / "val_list.txt")},
    )
    save_origin(RunStore(runs_dir()).run_folder(job), Origin(lists={"/data/val_list.txt": "0" * 64}))
    said = refused(job)
    assert "expected a run that was measured on the images of /data/val_list.txt" in said
    assert "(000000000000)" in said
    same = Origin(lists={"/data/val_list.txt": str(hash_file(tmp_path / "val_list.txt"))})
    save_origin(RunStore(runs_dir()).run_folder(job), same)
    notes: list[str] = []
    request = SweepRequest(config=Path("cfg.yaml"), over=(f"{RATE}=[0.1,0.2]",), against=job)
    plan_study(
        replace(request, options=replace(request.options, on="local")),
        notes=lambda note: notes.append(note.text),
    )
    assert not any("the same images" in note for note in notes)


def test_a_study_stands_for_its_best_trial_once_it_has_ended(config, make_study):
    before = make_study(name="before", trials=2, over=(f"{RATE}=[0.1,0.2]",))
    trials = Trials(before)
    for number, value in enumerate((0.8, 0.9)):
        trials.claim()
        trials.report(number, {1: value})
        request = SweepRequest(config=config, over=(f"{RATE}=[0.1,0.2]",), against="before")
        request = replace(request, options=replace(request.options, on="local"))
        with pytest.raises(Exception, match="expected a study that has ended, got one with"):
            plan_study(request)
        trials.end(number, TrialState.COMPLETE, values={"": value})
    held = plan_study(request).settings.baseline
    assert held == Baseline(name="before", values=(0.9,), epochs=1, trial=1)
    with pytest.raises(Exception, match="expected a study whose trials are compared by loss, min"):
        plan_study(replace(request, metric="loss"))


def test_page_and_document_say_the_same(make_study, drive):
    study = make_study(baseline=QUICK, trials=2)
    trials = [trial(0, 0.5), trial(1, 0.9833)]
    picture = Picture(trials=tuple(trials), planned=2)
    said = describe_gain(trials, study.settings)
    assert said[1:40] in render_page(study, picture, importance={})
    from launcher.cli.sweep_document import study_to_json

    document = study_to_json(study, picture)
    assert check_document(json.loads(json.dumps(document))) == "sweep"
    assert document["gain"] == said
    assert document["against"] == {
        "name": "quick-x7k2p", "value": 0.9694, "values": [0.9694], "epochs": 10, "trial": None,
    }  # fmt: skip


def test_a_file_names_it_and_what_all_trials_have_and_what_is_typed_wins(config):
    file = Path("sweep.yaml")
    file.write_text(
        "Sweep: {config: cfg.yaml, over: {seed: 2}, against: quick, set: {Global.epochs: 5, A.b: x}}\n"
    )
    read = read_request(file, SweepRequest(config=file, over=()))
    assert (read.against, read.options.overrides) == ("quick", ("Global.epochs=5", "A.b='x'"))
    typed = SweepRequest(config=file, over=(), against="other")
    typed = replace(typed, options=replace(typed.options, overrides=("Global.epochs=6",)))
    read = read_request(file, typed)
    assert (read.against, read.options.overrides) == ("other", ("A.b='x'", "Global.epochs=6"))
