"""What the commands `ftlaunch` and `trainer` do, for programs and notebooks.

    import ftlaunch

    job = ftlaunch.submit("cfg.yaml", on="local", set={"Global.epochs": 3})
    print(job.wait().state)

Functions return values and raise errors of one tree (`ftlaunch.errors`). Nothing is printed, nothing ends the
process, and only the main thread's signals are ever touched, during `train`. What a command would say on the
way goes to the logger `ftlaunch`.

Belongs here: thin functions over `launcher.jobs` and `trainer.api`, one for each command (docs/python.md).
Must not: decide anything; what a command and a program share belongs to those two.
"""

from ftlaunch.configs import ExplainedValue, Problem, Rendered, init, render, schema, validate
from ftlaunch.curves import plot
from ftlaunch.data import check_data, push_data, report_claim
from ftlaunch.errors import (
    ConfigError,
    DataError,
    Error,
    JobCancelledError,
    JobFailedError,
    LaunchError,
    NotFoundError,
    TrainerError,
    UnreachableError,
    UsageError,
    WaitTimeoutError,
)
from ftlaunch.job import Job, Result, find_job, jobs, submit
from ftlaunch.machine import __version__, doctor, trust, versions
from ftlaunch.sweep import (
    Sweep,
    best_config,
    find_sweep,
    resume_sweep,
    suggest_sweep,
    sweep,
    sweep_report,
)
from ftlaunch.team import team_jobs, top
from ftlaunch.training import (
    average_checkpoints,
    check,
    compare_weights,
    convert_weights,
    evaluate,
    export,
    fetch_weights,
    find_rate,
    fit_batch,
    inspect_weights,
    list_weights,
    make_lists,
    predict,
    profile_steps,
    report_data,
    resize,
    train,
)
from launcher.backends.states import JobState

__all__ = [
    "ConfigError",
    "DataError",
    "Error",
    "ExplainedValue",
    "Job",
    "JobCancelledError",
    "JobFailedError",
    "JobState",
    "LaunchError",
    "NotFoundError",
    "Problem",
    "Rendered",
    "Result",
    "Sweep",
    "TrainerError",
    "UnreachableError",
    "UsageError",
    "WaitTimeoutError",
    "__version__",
    "average_checkpoints",
    "best_config",
    "check",
    "check_data",
    "compare_weights",
    "convert_weights",
    "doctor",
    "evaluate",
    "export",
    "fetch_weights",
    "find_job",
    "find_rate",
    "find_sweep",
    "fit_batch",
    "init",
    "inspect_weights",
    "jobs",
    "list_weights",
    "make_lists",
    "plot",
    "predict",
    "profile_steps",
    "push_data",
    "render",
    "report_claim",
    "report_data",
    "resize",
    "resume_sweep",
    "schema",
    "submit",
    "suggest_sweep",
    "sweep",
    "sweep_report",
    "team_jobs",
    "top",
    "train",
    "trust",
    "validate",
    "versions",
]
