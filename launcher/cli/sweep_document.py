"""A study as `--output json` prints it. Pure but for looking whether a driver runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.documents import format_time, make_document

if TYPE_CHECKING:
    from launcher.sweep.driver import Picture
    from launcher.sweep.study import Study


def study_to_json(study: Study, picture: Picture) -> dict[str, object]:
    """Write a study for programs. Keys are only ever added."""
    from launcher.sweep.lifecycle import state_of
    from launcher.sweep.results import describe_gain, find_winner
    from launcher.sweep.trial_jobs import jobs_of

    settings = study.settings
    winner, held = find_winner(picture.trials, goal=settings.goal), settings.baseline
    return make_document(
        "sweep",
        name=study.name,
        state=state_of(study, picture),
        folder=str(study.folder),
        config=settings.config,
        created=format_time(settings.created_s),
        on=settings.on,
        over=list(settings.over),
        sampler=settings.sampler,
        prune=settings.prune,
        metric=settings.metric or None,
        goal=settings.goal,
        planned=picture.planned,
        parallel=settings.parallel,
        epochs=settings.epochs,
        drivers=study.drivers(),
        driver=dict(study.read_remote()) if study.is_remote else None,
        reason=picture.halted.reason if picture.halted else None,
        winner=winner.number + 1 if winner else None,
        best=winner.value if winner else None,
        gain=describe_gain(picture.trials, settings) if winner else None,
        against=None
        if held is None
        else {
            "name": held.name,
            "value": held.value,
            "values": list(held.values),
            "epochs": held.epochs,
            "trial": held.trial + 1 if held.trial is not None else None,
        },
        trials=[
            {
                "trial": trial.number + 1,
                "state": trial.state.value,
                "params": dict(trial.params),
                "value": trial.value,
                "values": dict(trial.values),
                "pruned_at": trial.stop_at,
                "paused_at": trial.paused_at,
                "reason": trial.reason or None,
                "began": format_time(trial.began_s),
                "ended": format_time(trial.ended_s),
                "curve": [[epoch, value] for epoch, value in trial.curve.items()],
                "jobs": [
                    {
                        "job": job.name,
                        "state": picture.seen[job.name].state if job.name in picture.seen else None,
                    }
                    for job in jobs_of(study, trial.number)
                ],
            }
            for trial in picture.trials
        ],
    )
