"""What differs between two runs' configs and options, key by key. Asks nobody: it reads run folders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path, PurePosixPath

from launcher.errors import LaunchError
from launcher.jobs.metrics import load_job_file
from launcher.runs.record import RunRecord
from launcher.runs.store import CONFIG, RunStore

_MAX_TEXT = 200
_OUTPUT = "Global.output_dir"
_WITH_VALUE = {"-o", "--override"}
_OF_A_CALL = {
    "--follow", "--detach", "--wait", "--plain", "--overwrite", "--preflight", "--no-preflight", "--strict",
    "--name", "--output", "--like", "--verbose", "--kubeconfig", "--run-id",
}  # fmt: skip
"""Options that change nothing of what a job is."""
_SWITCHES = {"--require-gpu", "--require-restricted"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A value that two runs have differently.

    Attributes:
        key: Dotted, such as `Optimizer.lr.learning_rate`; or an option, such as `--nodes`.
        before: As people read it: rounded, cut; None where it was not there.
        after: As people read it; None where it is not there.
        before_value: As it is: a number with all its digits, a list, a text; None where it was not there.
        after_value: Of the other run.
    """

    key: str
    before: str | None
    after: str | None
    before_value: object = field(default=None, compare=False)
    after_value: object = field(default=None, compare=False)

    def __str__(self) -> str:
        """Write `epochs 10→3`, by the last part of the key that tells something."""
        name = self.key.rpartition(".")[2] or self.key
        if name.isdigit() or name == "name":
            name = ".".join(self.key.split(".")[-2:])
        if self.before is None:
            return f"{name}={self.after}"
        return f"no {name}" if self.after is None else f"{name} {self.before}→{self.after}"


def find_changes(store: RunStore, before: RunRecord, after: RunRecord) -> list[Change]:
    """Return what differs between two runs, in the order of their configs.

    A run whose config cannot be read has none that is known.
    """
    first, second = (store.run_folder(record.handle.job) for record in (before, after))
    try:
        same = (first / CONFIG).read_bytes() == (second / CONFIG).read_bytes()
        if same and _overrides(first) == _overrides(second):
            changes = []
        else:
            changes = compare(read_settings(first), read_settings(second))
    except (OSError, LaunchError, ValueError):
        changes = []
    if before.code_sha256 != after.code_sha256:
        digests = [digest[:12] if digest else None for digest in (before.code_sha256, after.code_sha256)]
        changes.append(Change(key="Launch.code", before=digests[0], after=digests[1]))
    return changes + compare(options_of(before.command), options_of(after.command))


def compare(
    before: Mapping[str, object], after: Mapping[str, object], *, text: Callable[[object], str] | None = None
) -> list[Change]:
    """Return the keys whose values read differently, those of `after` first.

    Args:
        before: Values by key.
        after: Values by key.
        text: Writes a value for people; None for that of configs.
    """
    written = [{key: (text or _text)(value) for key, value in side.items()} for side in (before, after)]
    keys = [*after, *(key for key in before if key not in after)]
    return [
        Change(
            key=key, before=written[0].get(key), after=written[1].get(key),
            before_value=before.get(key), after_value=after.get(key),
        )
        for key in keys
        if written[0].get(key) != written[1].get(key)
    ]  # fmt: skip


def read_settings(run_folder: Path) -> dict[str, object]:
    """Return every value of a run's config by its dotted key, with what was set by `-o`.

    Raises:
        OSError: There is no config.
        LaunchError: It is no YAML.
    """
    from launcher.render.manifest import read_documents  # YAML
    from trainer.config.overrides import parse_override

    documents = read_documents((run_folder / CONFIG).read_text(encoding="utf-8"))
    settings = dict(_flatten(documents[0] if documents else None))
    for text in _overrides(run_folder):
        override = parse_override(text)
        key = ".".join(override.path)
        if key == _OUTPUT and PurePosixPath(str(override.value)).name == run_folder.name:
            continue  # a folder of the job's own, which a submit chose
        for old in [name for name in settings if name.startswith(f"{key}.")]:
            del settings[old]
        settings |= dict(_flatten(override.value, key))
    return settings


def options_of(command: Sequence[str]) -> dict[str, str]:
    """Return the options of a `submit` that say what a job is, by name; those of `-o` are in its settings."""
    found: dict[str, str] = {}
    words = list(command)
    for word, following in pairwise([*words, ""]):
        name, separator, value = word.partition("=")
        if not word.startswith("--") or name in _OF_A_CALL or name in _WITH_VALUE:
            continue
        if not separator:
            value = "yes" if name in _SWITCHES else following
        found[name] = f"{found[name]} {value}" if name in found else value
    return found


def _overrides(run_folder: Path) -> tuple[str, ...]:
    file = load_job_file(run_folder)
    return () if file is None else file.overrides


def _flatten(value: object, key: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _flatten(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple) and value:
        if all(not isinstance(item, Mapping | list | tuple) for item in value):
            yield key, list(value)
            return
        for index, inner in enumerate(value):
            yield from _flatten(inner, f"{key}.{index}")
    else:
        yield key, value


def _text(value: object) -> str:
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 1]}…"
