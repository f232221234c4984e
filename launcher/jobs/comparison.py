"""Two runs side by side: what they were asked for, what they were made of, and what came of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import LaunchError
from launcher.jobs.changes import Change, compare, options_of, read_settings
from launcher.jobs.curves import rows_of
from launcher.jobs.metrics import Row, find_score, is_number
from launcher.jobs.resolve import ResolvedJob
from launcher.runs.origin import load_origin
from launcher.runs.store import GIT
from trainer.protocol.environment import NODE_FILE
from trainer.protocol.nodefile import parse_node_file
from trainer.protocol.safe_files import read_file
from trainer.protocol.untrusted import FormatError, parse_object

_MAX_BYTES = 1024 * 1024
_SHORT = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Parting:
    """Where the losses of two runs part.

    Attributes:
        step: The first one at which they differ, in any digit; None where they are equal as far as both go.
        before: Loss of the first run at that step.
        after: Loss of the second one.
        equal_steps: Steps before it that both have, with equal losses.
    """

    step: int | None
    before: float | None
    after: float | None
    equal_steps: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What differs between two runs; what is equal is left out.

    Attributes:
        config: Values of the configs with `-o`, and options of the submits.
        data: Hashes of the lists, by their paths.
        versions: Of packages, the image, the user's code and git.
        size: Nodes, ranks and what they ask for.
        metrics: The best evaluation, and the means of the last epoch.
        parting: Where their losses part; None where one of them has none.
        unknown: What could not be compared, a sentence each.
    """

    first: str
    second: str
    config: tuple[Change, ...]
    data: tuple[Change, ...]
    versions: tuple[Change, ...]
    size: tuple[Change, ...]
    metrics: tuple[Change, ...]
    parting: Parting | None
    unknown: tuple[str, ...]


def compare_jobs(
    first: ResolvedJob, second: ResolvedJob, *,
    read: Callable[[ResolvedJob], Sequence[Row]] | None = None,
) -> Comparison:  # fmt: skip
    """Compare two runs, by their run folders and what they have measured. A job that is gone is compared too.

    Args:
        first: Of the two.
        second: Of the two.
        read: Gives what a run has measured, or raises a LaunchError, which is told in `unknown`; None for
            `rows_of`.

    Raises:
        LaunchError: A config cannot be read.
    """
    unknown: list[str] = []
    try:
        settings = [read_settings(job.run_folder) for job in (first, second)]
    except OSError as error:
        raise LaunchError(where=error.filename, expected="the config of a run", got=error.strerror) from error
    config = compare(*settings) + compare(*(options_of(job.record.command) for job in (first, second)))
    facts = [_facts(job, unknown) for job in (first, second)]
    rows = [_rows(job, unknown, read or rows_of) for job in (first, second)]
    lists = [_lists(job, unknown) for job in (first, second)]
    return Comparison(
        first=first.name,
        second=second.name,
        config=tuple(config),
        data=tuple(change for change in compare(*lists) if change.before and change.after),
        versions=tuple(compare(facts[0].made_of, facts[1].made_of)),
        size=tuple(compare(facts[0].size, facts[1].size)),
        metrics=tuple(compare(*(_results(found) for found in rows), text=_digits)) if all(rows) else (),
        parting=find_parting(*rows) if all(rows) else None,
        unknown=tuple(unknown),
    )


def describe_parting(parting: Parting | None) -> str:
    """Say where the losses of two runs part."""
    if parting is None:
        return "losses: no step that both have"
    if parting.step is None:
        count = f"{parting.equal_steps} step{'s' * (parting.equal_steps != 1)}"
        return f"losses: equal in every digit over {count} that both have"
    start = "from the first step on" if not parting.equal_steps else f"equal over {parting.equal_steps} steps"
    return f"losses: {start}; they differ at step {parting.step}: {parting.before!r} and {parting.after!r}"


def find_parting(first: Sequence[Row], second: Sequence[Row]) -> Parting | None:
    """Return where the losses of two runs part; None where there is no step that both have."""
    ours, theirs = _losses(first), _losses(second)
    both = sorted(ours.keys() & theirs.keys())
    if not both:
        return None
    for index, step in enumerate(both):
        if ours[step] != theirs[step]:
            return Parting(step=step, before=ours[step], after=theirs[step], equal_steps=index)
    return Parting(step=None, before=None, after=None, equal_steps=len(both))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Facts:
    made_of: Mapping[str, str]
    size: Mapping[str, str]


def _facts(job: ResolvedJob, unknown: list[str]) -> _Facts:
    origin = load_origin(job.run_folder)
    made_of = dict(origin.versions) if origin is not None else {}
    if origin is None:
        unknown.append(f"{job.name}: versions and hashes of lists, which an earlier release did not note")
    if job.record.code_sha256 is not None:
        made_of["code"] = job.record.code_sha256[:_SHORT]
    made_of |= _git(job.run_folder)
    size: dict[str, str] = {"backend": job.handle.backend}
    from launcher.render.manifest import ManifestError, parse_manifest  # YAML

    try:
        manifest = parse_manifest(job.store.read_manifest(job.name))
        node_file = parse_node_file(manifest.config_map["data"][NODE_FILE])
        container = next(
            item for item in manifest.pod_spec["containers"] if item["name"] == manifest.kind.container
        )
    except (OSError, ManifestError, FormatError, KeyError, StopIteration, TypeError):
        unknown.append(f"{job.name}: size and image, since its manifest cannot be read")
        return _Facts(made_of=made_of, size=size)
    made_of["image"] = str(container.get("image", ""))
    size |= {"nodes": str(node_file.nodes), "ranks of a node": str(node_file.procs_per_node)}
    limits = (container.get("resources") or {}).get("limits") or {}
    size |= {f"limit of {name}": str(amount) for name, amount in limits.items()}
    return _Facts(made_of=made_of, size=size)


def _git(run_folder: Path) -> dict[str, str]:
    try:
        found = parse_object(read_file(run_folder / GIT, max_bytes=_MAX_BYTES), where=GIT)
    except (OSError, FormatError):
        return {}
    dirty = " with changes" if found.get("dirty") else ""
    return {"git": f"{str(found.get('commit'))[:_SHORT]}{dirty}"}


def _lists(job: ResolvedJob, unknown: list[str]) -> dict[str, str]:
    origin = load_origin(job.run_folder)
    if origin is None:
        return {}
    if not origin.lists:
        unknown.append(f"{job.name}: hashes of its lists, which were not on this machine")
    return {path: digest[:_SHORT] for path, digest in origin.lists.items()}


def _rows(
    job: ResolvedJob, unknown: list[str], read: Callable[[ResolvedJob], Sequence[Row]]
) -> Sequence[Row]:
    try:
        return read(job)
    except LaunchError as error:
        unknown.append(f"{job.name}: what it has measured: {error}")
        return ()


def _results(rows: Sequence[Row]) -> dict[str, object]:
    found: dict[str, object] = {}
    score = find_score(rows)
    if score is not None:
        found[f"best {score.metric}"] = score.value
        found["at epoch"] = score.epoch
    for event, title in (("epoch", "train"), ("eval", "eval")):
        last = next((row for row in reversed(rows) if row.get("event") == event), {})
        for name, value in last.items():
            if name not in ("attempt", "time_s", "step", "largest_class") and is_number(value):
                found[f"last {title} {name}"] = value
    return found


def _digits(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _losses(rows: Sequence[Row]) -> dict[int, float]:
    found: dict[int, float] = {}
    for row in rows:
        step, loss = row.get("step"), row.get("loss")
        if row.get("event") == "step" and isinstance(step, int) and is_number(loss):
            found[step] = float(loss)  # type: ignore[arg-type]
    return found
