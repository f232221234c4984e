"""A study from begin to end, with stand-ins for jobs: what is started, pruned, counted, and after a kill."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from launcher.backends.states import JobState
from launcher.cli.studies import as_study
from launcher.errors import NotFoundError, TakenError, UsageError
from launcher.sweep.asha import best_of, find_milestones, value_at
from launcher.sweep.begin import describe_first
from launcher.sweep.driver import Picture
from launcher.sweep.explain import explain_study
from launcher.sweep.journal import JournalError
from launcher.sweep.lifecycle import SUMMARY, delete, read_summary, release, state_of
from launcher.sweep.results import describe_gain, find_winner, write_winner
from launcher.sweep.study import JOURNAL, STUDY, Halted, list_studies, load_study
from launcher.sweep.trials import Trial, Trials, TrialState
from tests.launcher.sweep.conftest import SETTINGS, StandIns

RATE = "Optimizer.lr.learning_rate"


def by_rate(trial, job):
    """An epoch's value is the rate of the trial times the epoch."""
    return [trial.params[RATE] * epoch for epoch in (1, 2, 3)]


def run(driver, steps=200):
    for _ in range(steps):
        picture = driver.step()
        if picture.is_over or picture.halted:
            return picture
    raise AssertionError("the study does not end")


def test_a_grid_is_tried_out_and_its_best_is_the_winner(make_study, drive):
    port = StandIns(by_rate)
    study = make_study()
    picture = run(drive(study, port))
    assert port.started == ["digits-abcde-t001", "digits-abcde-t002", "digits-abcde-t003"]
    assert port.most == 2
    assert [trial.value for trial in picture.trials] == pytest.approx([0.3, 0.6, 0.9])
    assert find_winner(picture.trials, goal="max").number == 2
    assert find_winner(picture.trials, goal="min").number == 0
    assert picture.trials[0].curve == pytest.approx({1: 0.1, 2: 0.2, 3: 0.3})


def test_of_a_grid_the_configs_own_point_comes_first_and_each_point_once(make_study, drive):
    study = make_study(first={RATE: 0.2})
    picture = run(drive(study, StandIns(by_rate)))
    assert [trial.params[RATE] for trial in picture.trials] == [0.2, 0.1, 0.3]
    said = describe_gain(picture.trials, study.settings)
    assert "the first trial, the config as it is, 0.6" in said


@pytest.mark.parametrize(
    ("first", "said"),
    [
        (
            {RATE: 0.1, "image_size": 32},
            "trial 1 has the config's own values, and the others are held against",
        ),
        (
            {"image_size": 32},
            "no trial is the config as it is: its own learning_rate is not among the values",
        ),
        ({}, "its own learning_rate and image_size is not among"),
    ],
)
def test_whether_the_config_itself_is_tried_is_said(first, said):
    over = (f"{RATE}=log(0.01,1)", "image_size=[32,48]")
    assert said in describe_first(replace(SETTINGS, over=over, first=first))
    assert describe_first(replace(SETTINGS, over=("seed=3",))) == ""


def test_what_a_winner_keeps_of_its_study_is_said_in_its_config_on_one_line(make_study, drive):
    study = make_study(overrides=("Global.epochs=3", "A.b=a\nb: c"))
    (study.folder / "cfg.yaml").write_text("Global: {epochs: 10}\nOptimizer: {lr: {learning_rate: 0.1}}\n")
    picture = run(drive(study, StandIns(by_rate)))
    kept = "# it keeps -o Global.epochs=3 A.b=a b: c, as the study was asked for; cfg.yaml trains 10 epochs"
    assert kept in write_winner(study, picture.trials[2]).splitlines()


def test_seeds_are_jobs_of_one_trial_and_their_mean_is_its_value(make_study, drive):
    port = StandIns(lambda trial, job: [trial.params[RATE] + job.repeat.seed / 100])
    study = make_study(over=(f"{RATE}=[0.1,0.4]", "seed=3"), trials=2, epochs=1, parallel=4)
    picture = run(drive(study, port))
    assert sorted(port.started) == [f"digits-abcde-t00{t}-s{s}" for t in (1, 2) for s in (0, 1, 2)]
    assert picture.trials[1].value == pytest.approx(0.41)
    assert dict(picture.trials[1].values) == pytest.approx({"s0": 0.40, "s1": 0.41, "s2": 0.42})
    said = describe_gain(picture.trials, study.settings)
    assert "a difference of 0.3, more than the 0.023 that 3 runs each leave to chance" in said


def test_of_single_runs_it_is_said_that_chance_cannot_be_told(make_study, drive):
    study = make_study()
    picture = run(drive(study, StandIns(by_rate)))
    said = describe_gain(picture.trials, study.settings)
    assert "trial 3 has top1 0.9, the first trial 0.3" in said
    assert "cannot be said of one run each; --over seed=3 says it" in said


@pytest.mark.parametrize("sampler", ["random", "tpe", "grid"])
def test_a_driver_that_is_begun_anew_at_each_step_loses_nothing_and_starts_nothing_twice(
    sampler, make_study, drive
):
    over = (f"{RATE}=[0.1,0.2,0.3,0.4,0.5,0.6]",) if sampler == "grid" else (f"{RATE}=log(1e-3,1)",)
    once = StandIns(by_rate)
    study = make_study(sampler=sampler, over=over, trials=6, parallel=1)
    whole = run(drive(study, once))
    study = make_study(name="digits-again", sampler=sampler, over=over, trials=6, parallel=1)
    port = StandIns(by_rate)
    for _ in range(200):
        picture = drive(study, port).step()
        if picture.is_over:
            break
    assert [trial.params for trial in picture.trials] == [trial.params for trial in whole.trials]
    assert [trial.value for trial in picture.trials] == [trial.value for trial in whole.trials]
    assert len(port.started) == len(set(port.started)) == 6


def test_two_drivers_share_the_places(make_study, drive):
    port = StandIns(by_rate)
    study = make_study(over=(f"{RATE}=[0.1,0.2,0.3,0.4,0.5,0.6]",), trials=6)
    one, other = drive(study, port), drive(study, port)
    for _ in range(200):
        one.step()
        if other.step().is_over:
            break
    assert (len(port.started), port.most) == (6, 2)


def test_asha_stops_what_falls_behind_and_never_the_best(make_study, drive):
    rates = [0.9, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    port = StandIns(lambda trial, job: [trial.params[RATE] * epoch for epoch in range(1, 10)])
    study = make_study(over=(f"{RATE}={rates}",), trials=9, epochs=9, prune="asha", parallel=3)
    picture = run(drive(study, port))
    pruned = [trial for trial in picture.trials if trial.state is TrialState.PRUNED]
    assert find_winner(picture.trials, goal="max").params[RATE] == 0.9
    assert len(pruned) >= 5
    assert {f"digits-abcde-t{trial.number + 1:03}" for trial in pruned} <= {*port.stopped}
    assert all(trial.stop_at == max(trial.curve) for trial in pruned)
    assert port.most <= 3


def test_a_trial_that_asha_has_paused_goes_on_once_it_is_among_the_best(make_study, drive):
    rates = [0.5, 0.6, 0.4, 0.3, 0.2, 0.1]  # the best comes second, when nobody can know it yet
    port = StandIns(lambda trial, job: [trial.params[RATE] * epoch for epoch in range(1, 10)])
    study = make_study(over=(f"{RATE}={rates}",), trials=6, epochs=9, prune="asha", parallel=1)
    picture = run(drive(study, port))
    assert "digits-abcde-t002" in port.resumed
    assert [trial.state for trial in picture.trials].count(TrialState.COMPLETE) == 1
    winner = find_winner(picture.trials, goal="max")
    assert (winner.params[RATE], max(winner.curve)) == (0.6, 9)
    assert {trial.paused_at for trial in picture.trials} == {None}


def test_where_few_have_come_one_goes_on(make_study, drive):
    port = StandIns(lambda trial, job: [trial.params[RATE] * epoch for epoch in range(1, 10)])
    study = make_study(over=(f"{RATE}=[0.5,0.6]",), trials=2, epochs=9, prune="asha", parallel=2)
    picture = run(drive(study, port))
    assert [trial.state for trial in picture.trials] == [TrialState.PRUNED, TrialState.COMPLETE]


def test_a_driver_that_is_killed_while_a_trial_goes_on_again_leaves_it_to_the_next(make_study, drive):
    port = StandIns(lambda trial, job: [trial.params[RATE] * epoch for epoch in range(1, 10)])
    study = make_study(over=(f"{RATE}=[0.5,0.6]",), trials=2, epochs=9, prune="asha", parallel=1)

    def killed(job):
        raise KeyboardInterrupt

    resume, port.resume = port.resume, killed
    with pytest.raises(KeyboardInterrupt):
        run(drive(study, port))
    (due,) = [trial for trial in Trials(study).all() if trial.is_due]
    assert (due.params[RATE], due.paused_at, due.rests) == (0.6, None, False)
    port.resume = resume
    assert find_winner(run(drive(study, port)).trials, goal="max").number == due.number


def test_a_job_that_ended_before_its_pause_was_seen_is_complete(make_study, drive):
    port = StandIns(by_rate)
    study = make_study(over=(f"{RATE}=[0.5,0.6]",), trials=2, epochs=9, prune="asha", parallel=2)
    port.stop = lambda job: None  # it saves for as long as it trains
    assert [trial.state for trial in run(drive(study, port)).trials] == [TrialState.COMPLETE] * 2


def test_repeats_of_a_trial_begin_once_its_first_job_was_not_pruned(make_study, drive):
    port = StandIns(lambda trial, job: [trial.params[RATE] * epoch for epoch in range(1, 10)])
    study = make_study(over=(f"{RATE}=[0.9,0.1,0.2]", "seed=2"), trials=3, epochs=9, prune="asha", parallel=4)
    picture = run(drive(study, port))
    started = {name for name in port.started if name.endswith("-s1")}
    complete = {trial.number for trial in picture.trials if trial.state is TrialState.COMPLETE}
    assert started == {f"digits-abcde-t{number + 1:03}-s1" for number in complete}
    assert complete != {0, 1, 2}


@pytest.mark.parametrize(
    ("epochs", "milestones"),
    [(1, ()), (2, (1,)), (6, (1, 3)), (10, (2, 6)), (27, (4, 12)), (100, (17, 51)), (300, (50, 150))],
)
def test_the_first_milestone_is_a_sixth_of_the_epochs(epochs, milestones):
    assert find_milestones(epochs) == milestones


@pytest.mark.parametrize(
    ("curve", "value"),
    [({}, None), ({1: 0.9}, None), ({2: 0.1, 4: 0.3, 6: 0.2}, 0.3), ({1: 0.5, 3: 0.2, 9: 0.9}, 0.5)],
)
def test_at_a_milestone_the_best_evaluation_up_to_it_is_compared(curve, value):
    assert value_at(curve, 3, goal="max") == value


def test_the_best_third_goes_on_and_of_equals_the_earlier():
    values = {0: 0.1, 1: 0.5, 2: 0.5, 3: 0.4, 4: 0.5, 5: 0.2}
    assert best_of(values, goal="max", is_last=False) == [1, 2]
    assert best_of(values, goal="min", is_last=False) == [0, 5]
    assert best_of({3: 0.4, 4: 0.5}, goal="max", is_last=False) == []
    assert best_of({3: 0.4, 4: 0.5}, goal="max", is_last=True) == [4]


def test_a_job_that_was_lost_is_taken_up_three_times_and_then_fails(make_study, drive):
    port = StandIns(by_rate)
    study = make_study(parallel=1)
    driver = drive(study, port)
    driver.step()
    for times in range(1, 5):
        port.ends["digits-abcde-t001"] = JobState.LOST.value
        picture = driver.step()
        assert len(port.resumed) == min(times, 3)
    assert picture.trials[0].state is TrialState.FAILED
    assert run(driver).trials[1].state is TrialState.COMPLETE


def test_a_study_whose_first_trials_all_fail_is_stopped_and_says_why(make_study, drive):
    port = StandIns(by_rate)
    study = make_study(over=(f"{RATE}=[0.1,0.2,0.3,0.4,0.5,0.6]",), trials=6, parallel=1)
    port.ends = {f"digits-abcde-t{number:03}": JobState.FAILED.value for number in range(1, 7)}
    picture = run(drive(study, port))
    assert len(picture.trials) == 3
    assert picture.halted.reason == "the first 3 trials failed; digits-abcde-t003: Failed"
    assert load_study(study.name).read_halted() == picture.halted


def test_evaluations_without_the_metric_say_what_there_is(make_study, drive):
    port = StandIns(lambda trial, job: [])
    study = make_study(parallel=1, metric="map")
    picture = drive(study, port).step()
    picture = drive(study, port).step()
    assert picture.trials[0].reason == "digits-abcde-t001: expected map of its evaluations; it has loss, top1"


def test_what_the_first_job_is_refused_for_ends_the_study(make_study, drive):
    class Refusing(StandIns):
        def start(self, trial, job, *, place):
            raise UsageError(where="x", expected="y", got="z")

    with pytest.raises(UsageError, match="x: expected y, got z"):
        drive(make_study(), Refusing(by_rate)).step()


def test_half_a_line_of_a_killed_writer_is_cut_off(make_study, drive):
    study = make_study()
    drive(study, StandIns(by_rate)).step()
    with (study.folder / JOURNAL).open("ab") as file:
        file.write(b'{"op_code":4,"worker_')
    before = len(Trials(study).all())
    Trials(study).note_slot(0, "", 1)
    trials = Trials(study)
    assert (len(trials.all()), trials.all()[0].slots) == (before, {"": 1})


def test_a_trial_that_was_begun_without_its_values_gets_them(make_study):
    study = make_study(sampler="random", over=(f"{RATE}=log(1e-3,1)", "a.b=[1,2]"))
    trials = Trials(study)
    trials._optuna.ask()  # as a driver leaves it that is killed in between
    assert trials.all() == []
    claimed = Trials(study).claim()
    assert claimed.number == 0
    assert claimed.params.keys() == {RATE, "a.b"}
    assert len(Trials(study)._optuna.trials) == 1


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_the_first_trial_has_what_the_config_has_and_is_not_stopped(sampler, make_study, drive):
    port = StandIns(lambda trial, job: [trial.params[RATE] * epoch for epoch in range(1, 10)])
    study = make_study(
        sampler=sampler, over=(f"{RATE}=log(1e-2,1)",), trials=6, epochs=9, prune="asha", parallel=3,
        first={RATE: 0.01},
    )  # fmt: skip
    picture = run(drive(study, port))
    assert picture.trials[0].params[RATE] == pytest.approx(0.01)
    assert picture.trials[0].state is TrialState.COMPLETE
    assert any(trial.state is TrialState.PRUNED for trial in picture.trials)


@pytest.mark.parametrize("line", [b"no JSON", b"{}", b"[1]", b'{"op_code": 6, "worker_id": "a"}', b"\0" * 40])
def test_a_journal_that_is_broken_is_said_and_its_study_can_be_deleted(make_study, line):
    study = make_study()
    Trials(study).claim()
    with (study.folder / JOURNAL).open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(JournalError, match=r"journal.log: expected optuna's journal.*ftlaunch delete digits"):
        Trials(study)
    delete(study)
    assert not study.folder.exists()


@pytest.mark.parametrize("change", [("{", "{{"), ("[0.1,0.2,0.3]", "log(0,0)")], ids=["no JSON", "no space"])
def test_a_broken_record_is_said_with_its_folder_and_keeps_no_other_out_of_the_list(make_study, change):
    make_study(name="other")
    record = make_study().folder / STUDY
    record.write_text(record.read_text().replace(*change, 1))
    with pytest.raises(NotFoundError, match=r"study.json: expected a study's record.*delete /.*digits-abcde"):
        load_study("digits-abcde")
    assert [study.name for study in list_studies()] == ["other"]


def test_what_is_left_of_a_study_is_named_where_its_name_is_wanted_again(make_study):
    study = make_study()
    with pytest.raises(TakenError, match="`ftlaunch delete digits-abcde`"):
        make_study()
    (study.folder / STUDY).unlink()  # `delete` finds no study then
    with pytest.raises(TakenError, match=rf"choose another, or delete {study.folder}, which is what is left"):
        make_study()


def test_more_trials_than_a_record_can_hold_are_refused_and_leave_it_as_it_was(make_study):
    study = make_study(sampler="random", over=(f"{RATE}=log(0.1,1)",))
    with pytest.raises(UsageError, match="--trials: expected at most 100000, got 100001"):
        release(study, trials=100_001)
    assert load_study(study.name) == study


@pytest.mark.parametrize(
    "name", ["a" * 300, "../sweeps/digits-abcde", "", None], ids=["long", "path", "empty", "none"]
)
def test_what_is_no_name_of_a_study_is_taken_for_none(make_study, name):
    study = make_study()
    assert as_study(study.name) == study
    assert as_study(name) is None


@pytest.mark.parametrize(
    "before", [None, Halted(cancelled=False, reason="all failed")], ids=["goes on", "halted"]
)
def test_a_delete_that_is_refused_leaves_the_study_as_it_was(make_study, monkeypatch, before):
    study = make_study()
    if before is not None:
        study.halt(before)
    where, record = "launcher.sweep.lifecycle", SimpleNamespace(study=study.name)
    monkeypatch.setattr(f"{where}.RunStore", lambda folder: SimpleNamespace(newest=lambda: [record]))
    monkeypatch.setattr(f"{where}.open_job", lambda record, store: SimpleNamespace(name="digits-abcde-t001"))
    monkeypatch.setattr(f"{where}.lifecycle.status", lambda job: SimpleNamespace(state=JobState.RUNNING))
    with pytest.raises(UsageError, match="expected jobs that have ended"):
        delete(study)
    assert study.read_halted() == before


def test_a_list_shows_a_cancel_that_no_driver_has_seen(make_study):
    study = make_study()
    text = '{"schema": 1, "state": "Running", "begun": 1, "ended": 0, "planned": 3}'
    (study.folder / SUMMARY).write_text(text)
    assert read_summary(study).state == "Paused"
    study.halt(Halted(cancelled=True))
    assert read_summary(study).state == "Cancelled"


def test_a_study_whose_trials_were_all_pruned_has_not_failed(make_study):
    pruned = Trial(number=0, state=TrialState.PRUNED, params={RATE: 0.1})
    failed = Trial(number=1, state=TrialState.FAILED, params={RATE: 0.2}, reason="too large")
    study = make_study()
    all_pruned = Picture(trials=(pruned,), planned=1)
    assert state_of(study, all_pruned) == "Succeeded"
    assert "all its trials were pruned" in explain_study(study, all_pruned).sentence
    both = Picture(trials=(pruned, failed), planned=2)
    assert state_of(study, both) == "Failed"
    assert "too large" in explain_study(study, both).evidence[0]
