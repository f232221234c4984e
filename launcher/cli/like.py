"""`submit --like JOB`: the command line of an earlier submit, with what is typed now behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from launcher.cli.printing import print_note
from launcher.errors import UsageError
from launcher.jobs.metrics import load_job_file
from launcher.jobs.notes import Note
from launcher.jobs.resolve import ResolvedJob, find_job
from launcher.runs.store import CONFIG

_OWN = frozenset(
    {"name", "run_id", "overwrite", "parent", "like", "dry", "follow", "waiting", "plain", "output"}
)
"""Options that are of one submit: they are taken as they are typed now."""


def words_like(ctx: click.Context, name: str, typed: Sequence[str]) -> tuple[str, ...]:
    """Return the words of a submit like an earlier one: its own, then those that are typed now.

    What stands behind wins, where an option is given twice; `-o` and `--volume` come one after the other.

    Args:
        ctx: Of this call.
        name: The earlier job's.
        typed: Words of this call behind `submit`.

    Raises:
        UsageError: The earlier command line is not known, a config is named beside it, or this is not the
            folder that it was typed in.
        NotFoundError: There is no such job.
    """
    job = find_job(name)
    words = list(job.record.command)
    if "submit" not in words:
        raise UsageError(
            where=f"--like {job.name}", expected="a job that `ftlaunch submit` has sent",
            got="one that a program has sent",
            fix=f"submit {job.run_folder / CONFIG} with the options that it had",
        )  # fmt: skip
    _require_folder(job)
    earlier = _options(ctx, words[words.index("submit") + 1 :], without=_OWN)
    now = _options(ctx, typed, without=frozenset({"like"}))
    return (str(_config_of(job)), *earlier, *now)


def _options(ctx: click.Context, words: Sequence[str], *, without: frozenset[str]) -> Iterator[str]:
    """Give the words of a command line that are options, but for some of them; CONFIG is none."""
    known = {
        spelling: option
        for option in ctx.command.params
        if isinstance(option, click.Option)
        for spelling in (*option.opts, *option.secondary_opts)
    }
    left = iter(words)
    for word in left:
        name, separator, _ = word.partition("=")
        option = known.get(name)
        is_joined = bool(separator)
        if option is None and not word.startswith("--"):  # -oKEY=VALUE
            option, is_joined = known.get(word[:2]), len(word) > 2
        if option is None:
            continue
        taken = [word]
        if not (is_joined or option.is_flag):
            taken.append(next(left, ""))
        if option.name not in without:
            yield from taken


def _require_folder(job: ResolvedJob) -> None:
    """Refuse another folder than that of the earlier submit: relative paths would lead elsewhere.

    Raises:
        UsageError: It is another one.
    """
    file = load_job_file(job.run_folder)
    if file is not None and Path(file.workdir) != Path.cwd():
        raise UsageError(
            where=f"--like {job.name}", expected=f"the folder that it was submitted from, {file.workdir}",
            got=str(Path.cwd()), fix=f"cd {file.workdir}",
        )  # fmt: skip


def _config_of(job: ResolvedJob) -> Path:
    """Return the config as it was then: the file, or, where that has changed, the copy that was kept."""
    path, kept = Path(job.record.config), job.run_folder / CONFIG
    try:
        same = path.read_bytes() == kept.read_bytes()
    except OSError:
        same = False
    if same:
        return path
    print_note(Note(f"{path} is not as {job.name} had it; what was submitted then is taken: {kept}", "note"))
    return kept
