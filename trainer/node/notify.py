"""Tells people what happens to a run: that it started, was first evaluated, failed and goes on, or is over.

Node 0 alone does. It asks nobody: what has happened is read off what is kept anyway, the ranks' records and
run.json, once a second, and the end off the termination. So nothing of the run waits for a message, and no
decision knows of them.

Told once: `told.json` in the output folder names each event and address that is done, and is written after
an address has taken a message. A restarted pod reads it and goes on with what is missing. Between a service
taking it and our writing lies a moment in which a kill leads to a second message, as does an answer that is
lost: a message too many is better than none, and a webhook's id is the same in each try.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from trainer.node.messages import RankState
from trainer.node.settings import NodeSettings
from trainer.protocol.codec import FormatError, decode, encode
from trainer.protocol.errors import TrainerError
from trainer.protocol.evaluated import Evaluated, describe_evaluated, describe_failure
from trainer.protocol.exits import Exit, describe_exit
from trainer.protocol.runfile import FOLDER, TOLD, load_run_file
from trainer.protocol.safe_files import read_file, replace_file
from trainer.protocol.termination import Termination

_SCHEMA = 1
_MAX_BYTES = 1 << 20
_LOOK_S = 1.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _TRIES_S = 2.0, 120.0, 600.0
_FAREWELL_S = 20.0
_ANSWER_WITHIN_S = 15.0
_REPORT = "report.html"


class NotifyError(TrainerError):
    """Messages were asked for that cannot be sent."""

    exit_code = Exit.CONFIG


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """What is told.

    Attributes:
        event: Key of it, the same over restarts, such as `failed-2`.
        kind: `started`, `evaluated`, `failed` or `ended`.
        title: A line.
        text: Some lines.
        exit: Of an ended run.
    """

    event: str
    kind: str
    title: str
    text: str
    exit: int | None = None


class Address(Protocol):
    """Where messages go."""

    @property
    def key(self) -> str:
        """Stands for it where it may be read by many: nothing of it can be told from this."""

    @property
    def shown(self) -> str:
        """What a log may say of it."""

    def send(self, message: Message, *, job: str, run_id: str) -> str | None:
        """Send; returns what went wrong, or None. May block for some seconds."""


class Watched(Protocol):
    """What is told of: an agent."""

    @property
    def attempt(self) -> int:
        """The attempt that began last, from 1; 0 before the first."""

    @property
    def rank_states(self) -> Sequence[RankState]:
        """Of this node's ranks, as last reported."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """`told.json`.

    Attributes:
        run_id: Whose messages they were.
        events: Event -> keys of the addresses that have it.
    """

    run_id: str
    events: Mapping[str, tuple[str, ...]]


@dataclass(slots=True)
class _Due:
    message: Message
    address: Address
    next_s: float
    pause_s: float = _FIRST_PAUSE_S
    since_s: float = 0.0
    failed: str = ""


@dataclass(kw_only=True)
class Notifier:
    """Finds out what happened, and sends it.

    Attributes:
        settings: Of node 0.
        watched: The agent.
        addresses: Where to.
        say: Told what could not be sent.
        clock: Seconds that only grow.
    """

    settings: NodeSettings
    watched: Watched
    addresses: Sequence[Address]
    say: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    _due: list[_Due] = field(default_factory=list)
    _known: set[str] = field(default_factory=set)
    _told: dict[str, set[str]] | None = None
    _evaluated: Evaluated | None = None

    async def run(self) -> None:
        """Look and send until cancelled."""
        while True:
            for message in self.look():
                self.tell(message)
            await self.send()
            await asyncio.sleep(_LOOK_S)

    async def end(self, termination: Termination) -> None:
        """Tell how the run ended, where it has; waits some seconds for what is not sent yet."""
        for message in [*self.look(), *self._of_end(termination)]:
            self.tell(message)
        until_s = self.clock() + _FAREWELL_S
        for due in self._due:
            due.next_s = self.clock()
        while self._due and self.clock() < until_s:
            await self.send()
            await asyncio.sleep(0.2)
        for due in self._due:
            self._give_up(due)

    def look(self) -> list[Message]:
        """Return what has happened since the last look, and may have been told before."""
        job, found = self.settings.job, []
        if self.watched.attempt >= 1:
            ranks = "1 rank" if job.world_size == 1 else f"{job.world_size} ranks"
            nodes = "1 node" if job.nodes == 1 else f"{job.nodes} nodes"
            found.append(
                Message(event="started", kind="started", title="started", text=f"{ranks} on {nodes}")
            )
        for state in self.watched.rank_states:
            self._evaluated = state.evaluated or self._evaluated
        if self._evaluated is not None:
            text = describe_evaluated(self._evaluated)
            found.append(Message(event="evaluated", kind="evaluated", title="first evaluation", text=text))
        found += self._failures()
        return [message for message in found if message.event not in self._known]

    def _failures(self) -> list[Message]:
        with contextlib.suppress(FormatError, OSError):
            run = load_run_file(self.settings.output_dir)
            if run is not None and run.run_id == self.settings.job.run_id:
                return [
                    Message(
                        event=f"failed-{number}", kind="failed", text=what,
                        title=f"attempt {number} of {self.settings.job.max_restarts + 1} failed",
                    )
                    for number, what in enumerate(run.fingerprints, start=1)
                    if run.attempts > number  # another one follows; the last failure is the end's to tell
                ]  # fmt: skip
        return []

    def _of_end(self, termination: Termination) -> list[Message]:
        if termination.exit in (Exit.STOPPED, Exit.INTERRUPTED):
            return []
        parts = [termination.reason]
        if self._evaluated is not None:
            parts.append(describe_evaluated(self._evaluated))
            if not termination.exit and (poor := describe_failure(self._evaluated)) is not None:
                parts.append(poor)
        if termination.checkpoint:
            parts.append(f"last checkpoint: {termination.checkpoint}")
        if (self.settings.output_dir / _REPORT).exists():
            parts.append(f"report: {self.settings.job.output_dir.rstrip('/')}/{_REPORT}")
        title = "done" if not termination.exit else f"failed: {describe_exit(termination.exit)}"
        # A run that is over and goes on by somebody's wish ends again.
        event = f"ended-{termination.attempt}"
        text = "\n".join(parts)
        return [Message(event=event, kind="ended", title=title, text=text, exit=termination.exit)]

    def tell(self, message: Message) -> None:
        """Have a message sent to whom it was not sent before."""
        self._known.add(message.event)
        notify = self.settings.job.notify
        if notify is None or message.kind not in notify.on:
            return
        told = self._read().get(message.event, set())
        now_s = self.clock()
        self._due += [
            _Due(message=message, address=address, next_s=now_s, since_s=now_s)
            for address in self.addresses
            if address.key not in told
        ]

    async def send(self) -> None:
        """Try what is due, one after the other, in a thread."""
        job = self.settings.job
        for due in [due for due in self._due if due.next_s <= self.clock()]:
            failed = await asyncio.to_thread(due.address.send, due.message, job=job.job, run_id=job.run_id)
            if failed is None:
                self._due.remove(due)
                self._read().setdefault(due.message.event, set()).add(due.address.key)
                self._write()
                continue
            due.failed = failed
            due.next_s, due.pause_s = self.clock() + due.pause_s, min(2 * due.pause_s, _LONGEST_PAUSE_S)
            if self.clock() - due.since_s > _TRIES_S:
                self._due.remove(due)
                self._give_up(due)

    def _give_up(self, due: _Due) -> None:
        self.say(f"notify: `{due.message.kind}` could not be sent to {due.address.shown}: {due.failed}")

    def _read(self) -> dict[str, set[str]]:
        if self._told is None:
            self._told = {}
            with contextlib.suppress(FormatError, OSError):
                data = read_file(self._path, max_bytes=_MAX_BYTES, root=self.settings.output_dir)
                told = decode(Told, data, where=TOLD, schema=_SCHEMA)
                if told.run_id == self.settings.job.run_id:
                    self._told = {event: set(keys) for event, keys in told.events.items()}
        return self._told

    def _write(self) -> None:
        events = {event: tuple(sorted(keys)) for event, keys in self._read().items()}
        told = Told(run_id=self.settings.job.run_id, events=events)
        with contextlib.suppress(OSError):  # then a restarted pod tells it again
            data = json.dumps(encode(told, schema=_SCHEMA)).encode()
            replace_file(self._path, data, root=self.settings.output_dir)

    @property
    def _path(self) -> Path:
        return self.settings.output_dir / FOLDER / TOLD


def read_addresses(path: Path) -> list[Address]:
    """Read a file of addresses.

    Raises:
        NotifyError: It cannot be read, has none, or one that nothing can be sent to. What is said of an
            address is where it stands, and never the address.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise NotifyError(f"Launch.notify: {path}: expected a file of addresses: {reason.lower()}") from error
    found: list[Address] = []
    problems: list[str] = []
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            found.append(_parse(text))
        except NotifyError as error:
            problems.append(f"{path}:{number}: {error}")
    if not found and not problems:
        problems.append(f"{path}: expected an address a line, got none")
    if problems:
        raise NotifyError("Launch.notify: " + "; ".join(problems))
    return found


def _parse(text: str) -> Address:
    words = text.split()
    if words[0] == "webhook":
        if len(words) != 3 or not words[1].startswith(("https://", "http://")):
            raise NotifyError("expected `webhook https://… SECRET`, three words")
        return Webhook(url=words[1], secret=words[2])
    try:
        import apprise
    except ModuleNotFoundError as error:
        raise NotifyError(
            "expected the package apprise, which this image lacks; install the extra `notify`, or use a "
            "webhook"
        ) from error
    service = apprise.Apprise.instantiate(text, suppress_exceptions=True)
    if service is None:
        schema = text.partition("://")[0]
        named = f"{schema}://…" if "://" in text and schema.isalnum() else "something else"
        raise NotifyError(f"expected `webhook https://… SECRET` or an address of Apprise, got {named}")
    return _Service(text, service)


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Webhook:
    """A POST of JSON, signed by a secret that both sides know."""

    url: str
    secret: str = field(repr=False)

    @property
    def key(self) -> str:
        """Stands for it."""
        return _key(f"{self.url} {self.secret}")

    @property
    def shown(self) -> str:
        """Scheme and host."""
        scheme, _, rest = self.url.partition("://")
        return f"webhook {scheme}://{rest.partition('/')[0].rpartition('@')[2]}/…"

    def send(self, message: Message, *, job: str, run_id: str) -> str | None:
        """POST; whatever answers 200 to 299 has taken it."""
        document = {
            "event": message.kind, "job": job, "run_id": run_id, "title": message.title, "text": message.text,
            "exit": message.exit,
        }  # fmt: skip
        body = json.dumps(document, ensure_ascii=False).encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "ftlaunch",
            "X-Ftlaunch-Event": _key(f"{run_id} {message.event}"),
            "X-Ftlaunch-Signature": "sha256="
            + hmac.new(self.secret.encode(), body, hashlib.sha256).hexdigest(),
        }
        request = urllib.request.Request(self.url, data=body, headers=headers, method="POST")  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER_WITHIN_S):  # noqa: S310 - read_addresses
                return None
        except urllib.error.HTTPError as error:
            with error:
                return f"it answered {error.code}"
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            return str(reason).lower() or type(error).__name__


class _Service:
    """One of Apprise's."""

    def __init__(self, text: str, service: object) -> None:
        self.key = _key(text)
        self._service = service
        self.shown = f"{text.partition('://')[0]}://…"

    def send(self, message: Message, *, job: str, run_id: str) -> str | None:
        """Send by Apprise, which says only whether it could; what it logs may hold the address."""
        del run_id
        import logging

        logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
        try:
            title, text = f"{job}: {message.title}", message.text
            sent = self._service.notify(body=text, title=title)  # type: ignore[attr-defined]
        except Exception as error:  # noqa: BLE001 - some hundred services, each with errors of its own
            return type(error).__name__
        return None if sent else "the service did not take it"
