"""What is sent to experiment trackers (`Launch.track`, `ftlaunch track`), and how it is told to who sends it.

A process of its own sends, one a target (`trainer.trackers`). The node process of node 0 starts it beside the
training, `ftlaunch track` afterwards; both give it a `Request` as its first line of standard input, later
perhaps an `Ending`, and read `Told`, a line each, from its standard output.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal
from urllib.parse import urlsplit

from trainer.protocol.codec import Count, UnlessNone, Within
from trainer.protocol.reportfile import ConfigValue, Fact

FOLDER = "track"
"""Below `.ftlaunch`, or below a run's folder: how far each target has got."""
DESCRIPTION = "facts.json"
"""Below `.ftlaunch`: a `Description`, which rank 0 writes when it begins."""
SCHEMA = 1
MODULE = "trainer.trackers"
BUILT_IN = ("tensorboard", "mlflow", "wandb", "swanlab", "visualdl")
"""Trackers that come with ftlaunch; others by the entry points `ftlaunch.trackers`."""
TRACKERS_GROUP = "ftlaunch.trackers"
"""Entry points by which other packages bring trackers along."""
FILE_TRACKERS = ("tensorboard", "visualdl")
"""Those that write files, whose `uri` is a folder."""
CREDENTIALS = "credentials"
"""Setting that names a mounted file."""
MAX_LINE = 1 << 20
SETTINGS = {
    "tensorboard": ("uri",),
    "mlflow": ("uri", "experiment", "name", CREDENTIALS),
    "wandb": ("uri", "experiment", "name", "entity", "mode", CREDENTIALS),
    "swanlab": ("uri", "experiment", "name", "workspace", "mode", CREDENTIALS),
    "visualdl": ("uri",),
}
"""Of the trackers that come along."""
MODES = {"wandb": ("online", "offline"), "swanlab": ("online", "local", "offline")}
"""What their setting `mode` may be."""
_NOT_IN_FILES = re.compile(r"[^A-Za-z0-9_]+", re.ASCII)

State = Literal["finished", "failed", "stopped", "paused", "running"]
"""`paused`: told to stop, and not over; `stopped`: by somebody's wish, for good."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Where rows go.

    Attributes:
        tracker: One of `BUILT_IN`, or the name of an entry point.
        settings: Of it, such as `uri` and `experiment`; all of them text.
    """

    tracker: Annotated[str, Within(1, 63)]
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Name of it for files: the same for the same place, whatever its credentials are."""
        place = {name: text for name, text in self.settings.items() if name != CREDENTIALS}
        told = json.dumps([self.tracker, place], sort_keys=True)
        return f"{_NOT_IN_FILES.sub('-', self.tracker)}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"

    @property
    def title(self) -> str:
        """What people are told of it: `mlflow (http://tracking:5000)`."""
        uri = self.settings.get("uri", "")
        parts = urlsplit(uri)
        if "@" in parts.netloc:  # who has typed credentials does not want to read them in a log
            uri = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        return f"{self.tracker} ({uri})" if uri else self.tracker


@dataclass(frozen=True, kw_only=True, slots=True)
class Track:
    """`Launch.track`, as node 0 gets it.

    Attributes:
        targets: Where rows go.
        facts: What is known of the run on the machine that submitted it, such as the commit.
    """

    targets: tuple[Target, ...]
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """What a training says of itself before its first step.

    Attributes:
        values: Its config.
        facts: Versions, hashes of its lists, the commit.
    """

    values: tuple[ConfigValue, ...] = ()
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How a run stands when its tracking ends.

    Attributes:
        state: `running` where it goes on, and is only sent so far.
        reason: A sentence; of a failed run what it failed of.
        within_s: Seconds that what is left may take.
    """

    state: State
    reason: str = ""
    within_s: Annotated[float, Within(0, 1e6)] = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a sending process is to do.

    Attributes:
        target: Where to.
        job, run_id: Whose rows.
        output_dir: Folder with metrics.jsonl and what else a training writes, on this machine.
        state_dir: Folder of its state, on this machine.
        facts: See `Track`.
        ending: Given at once where nothing is waited for (`ftlaunch track`); None beside a training.
        until: Bytes of metrics.jsonl that are sent at most; None for all that come.
        shown_dir: How people know `output_dir`.
    """

    target: Target
    job: str
    run_id: str
    output_dir: str
    state_dir: str
    facts: Mapping[str, str] = field(default_factory=dict)
    ending: Annotated[Ending | None, UnlessNone()] = None
    until: Annotated[Count | None, UnlessNone()] = None
    shown_dir: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What a sending process says.

    Attributes:
        event: `sent`: how far it is; `failed`: it tries again; `refused`: it cannot be done, whatever is
            waited for; `said`: something to tell people; `ended`: it is through, `left` bytes are not sent.
        text: Of `failed`, `refused` and `said`.
        done: Bytes of metrics.jsonl that have been dealt with.
        left: Bytes that are there and not sent.
        rows: Rows that this process has sent.
        place: Where people see the run; empty where that is not known.
    """

    event: Literal["sent", "failed", "refused", "said", "ended"]
    text: str = ""
    done: Count = 0
    left: Count = 0
    rows: Count = 0
    place: str = ""


def resend_command(job: str, target: Target) -> str:
    """Return what sends the rest."""
    return f"ftlaunch track {job} --to {target.tracker}"
