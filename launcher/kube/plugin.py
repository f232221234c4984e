"""Credential plugins: a program of the user's own gives a token or a certificate.

The protocol is `ExecCredential` (kubernetes.io, "Authentication", client-go credential plugins), what is
done about it as in k8s.io/client-go/plugin/pkg/client/auth/exec: an answer holds until it expires or the
cluster refuses it. Other than there, a plugin that says nothing is stopped after a while, and one that has
failed is not asked again at once: a command asks its cluster many things.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from launcher.kube.errors import CredentialsError
from launcher.kube.kubeconfig import Entry
from launcher.kube.remarks import log
from launcher.processes import kill_tree
from launcher.times import parse_unix_time

_GROUP = "client.authentication.k8s.io"
VERSIONS = (f"{_GROUP}/v1", f"{_GROUP}/v1beta1")
QUIET_S = 60.0
"""How long a plugin may take that has nobody to ask."""
ASKING_S = 300.0
"""How long one may take that asks a person, at a terminal."""
_AGAIN_S = 30.0
_SAID_BYTES = 1 << 20
_LOOK_S = 0.5
_SHOWN = 1000
_SECRET_CHARS = 4  # shorter values would be found within words
_EARLY_S = 10.0  # a token that runs out on the way is of no use


class PluginError(CredentialsError):
    """A credential plugin gives nothing: nothing was sent to the cluster.

    Attributes:
        command: The plugin, as the kubeconfig names it.
        hint: The kubeconfig's `installHint`.
    """

    def __init__(
        self, message: str, *, where: str, fix: str, command: str, said: str = "", hint: str = ""
    ) -> None:
        super().__init__(message, where=where, fix=fix)
        self.command, self._said, self.hint = command, said, hint

    @property
    def said(self) -> str:
        """The plugin's own words, which the message has already."""
        return self._said


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """What a plugin has given.

    Attributes:
        token: Or empty.
        certificate: With its key, as PEM, or None.
        until_s: Unix time of its end; None where it has none.
    """

    token: str = field(repr=False)
    certificate: tuple[bytes, bytes] | None = field(repr=False)
    until_s: float | None

    @property
    def holds(self) -> bool:
        """Whether it has not run out."""
        return self.until_s is None or time.time() < self.until_s - _EARLY_S


@dataclass(frozen=True, kw_only=True, slots=True)
class Plugin:
    """How a plugin is run.

    Attributes:
        where: Of it in the kubeconfig, for messages.
        command: A name to be looked for, or a path.
        args: Its arguments; never shown, they may be secret.
        env: Variables on top of ours.
        version: Of the protocol.
        hint: What the kubeconfig says on installing it.
        interactive: Never, IfAvailable or Always.
        cluster: What it is told of the cluster, or None.
        login: What to run where nobody is logged in.
    """

    where: str
    command: str
    args: tuple[str, ...] = field(repr=False)
    env: tuple[tuple[str, str], ...] = field(repr=False)
    version: str
    hint: str
    interactive: str
    cluster: str | None
    login: str


def read_plugin(entry: Entry, *, cluster: Mapping[str, object], login: str) -> Plugin:
    """Read the field `exec` of a kubeconfig's user.

    Args:
        entry: It.
        cluster: Told to the plugin where it asks for it (`provideClusterInfo`).
        login: See `Plugin`.

    Raises:
        KubeconfigError: It is not what client-go takes.
    """
    command, version, mode = entry.text("command"), entry.text("apiVersion"), entry.text("interactiveMode")
    if not command:
        raise entry.refuse("command", "the plugin's program")
    if version not in VERSIONS:
        raise entry.refuse(
            "apiVersion",
            " or ".join(VERSIONS),
            got=repr(version),
            fix="renew the kubeconfig with its vendor's tool",
        )
    if mode not in ("", "Never", "IfAvailable", "Always") or (not mode and version == VERSIONS[0]):
        raise entry.refuse("interactiveMode", "Never, IfAvailable or Always", got=repr(mode))
    if os.path.dirname(command):  # noqa: PTH120 - a separator of this system is in it, as client-go looks for one
        command = str(entry.folder / command)
    listed = entry.fields.get("env")
    env = []
    for item in listed if isinstance(listed, list) else ():
        if not (
            isinstance(item, dict)
            and isinstance(item.get("name"), str)
            and isinstance(item.get("value"), str)
        ):
            raise entry.refuse("env", "a list of name and value, both text")
        env.append((item["name"], item["value"]))
    if listed is not None and not isinstance(listed, list):
        raise entry.refuse("env", "a list of name and value")
    return Plugin(
        where=entry.where, command=command, args=entry.texts("args"), env=tuple(env), version=version,
        hint=entry.text("installHint"), interactive=mode or "IfAvailable", login=login,
        cluster=json.dumps(cluster) if entry.flag("provideClusterInfo") else None,
    )  # fmt: skip


_lock = threading.Lock()
_given: dict[Plugin, Given] = {}
_failed: dict[Plugin, tuple[float, PluginError]] = {}


def ask_plugin(plugin: Plugin, *, refused: str | None = None) -> Given:
    """Return what a plugin gives; it is run where what it gave last does not hold.

    Args:
        plugin: Which.
        refused: The token that the cluster has refused, so that another one is asked for; None for none.

    Raises:
        PluginError: It gives nothing. For half a minute it is not asked again.
    """
    with _lock:  # of many threads one runs it
        last = _given.get(plugin)
        if last is not None and last.holds and (refused is None or last.token != refused):
            return last
        failed = _failed.get(plugin)
        if failed is not None and time.monotonic() - failed[0] < _AGAIN_S:
            raise failed[1]
        try:
            given = _given[plugin] = _run(plugin)
        except PluginError as error:
            _failed[plugin] = time.monotonic(), error
            _given.pop(plugin, None)
            raise
        _failed.pop(plugin, None)
        return given


def _run(plugin: Plugin) -> Given:
    asks = plugin.interactive != "Never" and sys.stdin is not None and sys.stdin.isatty()
    if plugin.interactive == "Always" and not asks:
        raise _error(plugin, "expected a terminal to ask questions (interactiveMode: Always), got none",
                     fix="run this in a terminal")  # fmt: skip
    spec: dict[str, object] = {"interactive": asks}
    if plugin.cluster is not None:
        spec["cluster"] = json.loads(plugin.cluster)
    info = {"apiVersion": plugin.version, "kind": "ExecCredential", "spec": spec}
    environ = {**os.environ, **dict(plugin.env), "KUBERNETES_EXEC_INFO": json.dumps(info)}
    log.info("credential plugin %s is run", Path(plugin.command).name)
    try:
        process = subprocess.Popen(
            [plugin.command, *plugin.args], env=environ, stdout=subprocess.PIPE,
            stdin=None if asks else subprocess.DEVNULL,
            stderr=None if asks else subprocess.PIPE,  # a person has to see what it asks, while it asks
            start_new_session=not asks,  # one that hangs is ended with all that it has started
        )  # fmt: skip
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        raise _error(
            plugin, f"expected a program that can be run, got {'none of this name' if missing else error}",
            fix="install it, or mend `command`", hinted=True,
        ) from error  # fmt: skip
    limit_s = ASKING_S if asks else QUIET_S
    out, said, is_late = _read(process, limit_s=limit_s, group=not asks)
    words = _without_secrets(" ".join(said.decode("utf-8", "replace").split()), plugin=plugin)[-_SHOWN:]
    if max(len(out), len(said)) > _SAID_BYTES:
        raise _error(plugin, f"expected an answer of at most {_SAID_BYTES:,} bytes, got more", said="",
                     fix="run it by hand to see what it writes")  # fmt: skip
    if is_late:
        raise _error(plugin, f"expected an answer, got none for {limit_s:g} s", said=words,
                     fix="run it by hand to see what it waits for")  # fmt: skip
    if process.returncode != 0:
        code = process.returncode
        got = f"exit code {code}" if code > 0 else f"an end by signal {-code}"
        raise _error(plugin, f"expected a token, got {got}", said=words, fix=plugin.login, hinted=True)
    return _parse(plugin, out)


def _without_secrets(words: str, *, plugin: Plugin) -> str:
    """Return what a plugin says without values of its `env`: some print their environment."""
    for value in sorted(
        (value for _, value in plugin.env if len(value) >= _SECRET_CHARS), key=len, reverse=True
    ):
        words = words.replace(value, "…")
    return words


def _read(process: subprocess.Popen[bytes], *, limit_s: float, group: bool) -> tuple[bytes, bytes, bool]:
    """Return what a process writes, and whether it had to be stopped.

    Threads read, because Windows waits for no pipes (`select` there knows sockets alone). One whose pipe is
    held open by something that the process has left behind goes on alone and closes it in the end.
    """
    ends_s = time.monotonic() + limit_s
    came: queue.SimpleQueue[None] = queue.SimpleQueue()
    readers = [_Reader(stream, came) for stream in (process.stdout, process.stderr) if stream is not None]
    is_late = False
    try:
        while not all(reader.is_done for reader in readers):
            left_s = ends_s - time.monotonic()
            if left_s <= 0 or any(len(reader.text) > _SAID_BYTES for reader in readers):
                is_late = True
                break
            try:
                came.get(timeout=min(left_s, _LOOK_S))
            except queue.Empty:
                if process.poll() is not None:
                    break  # something that it has left behind holds its output open
        if not is_late:
            process.wait(max(0.1, ends_s - time.monotonic()))
    except subprocess.TimeoutExpired:
        is_late = True
    finally:
        if process.poll() is None:
            if group:
                kill_tree(process)
            else:
                process.kill()
                process.wait()
    texts = {reader.stream: bytes(reader.text) for reader in readers}
    out = texts[process.stdout] if process.stdout is not None else b""
    said = texts[process.stderr] if process.stderr is not None else b""
    return out, said, is_late


class _Reader(threading.Thread):
    """Reads a pipe to its end, or until more came than a plugin may say."""

    def __init__(self, stream: IO[bytes], came: queue.SimpleQueue[None]) -> None:
        super().__init__(daemon=True)
        self.stream, self.text, self.is_done = stream, bytearray(), False
        self._came = came
        self.start()

    def run(self) -> None:
        with self.stream, contextlib.suppress(OSError, ValueError):
            while len(self.text) <= _SAID_BYTES and (data := os.read(self.stream.fileno(), 65536)):
                self.text += data
                self._came.put(None)
        self.is_done = True
        self._came.put(None)


def _parse(plugin: Plugin, out: bytes) -> Given:
    try:
        answer = json.loads(out)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict) or answer.get("kind") != "ExecCredential":
        raise _error(plugin, "expected an ExecCredential on its standard output, got something else",
                     fix="run it by hand, or renew it")  # fmt: skip
    if answer.get("apiVersion") != plugin.version:
        raise _error(plugin, f"expected {plugin.version}, got {answer.get('apiVersion')!r:.60}",
                     fix="set `apiVersion` of the kubeconfig's `exec` to that")  # fmt: skip
    status = answer.get("status")
    status = status if isinstance(status, dict) else {}
    token = status.get("token") or ""
    chain, key = status.get("clientCertificateData") or "", status.get("clientKeyData") or ""
    sound = all(isinstance(part, str) for part in (token, chain, key)) and bool(chain) == bool(key)
    if not sound or not (token or chain):
        raise _error(plugin, "expected a token, or a certificate with its key, got neither",
                     fix=plugin.login)  # fmt: skip
    until = status.get("expirationTimestamp")
    certificate = (chain.encode(), key.encode()) if chain else None
    return Given(token=token, certificate=certificate, until_s=_parse_time(plugin, until))


def _parse_time(plugin: Plugin, text: object) -> float | None:
    if text is None:
        return None
    plain = str(text).replace("z", "Z").replace(" ", "T", 1)
    until_s = parse_unix_time(plain)
    if until_s is None:
        until_s = parse_unix_time(f"{plain}Z")  # some write no zone
    if until_s is None:
        raise _error(plugin, f"expected expirationTimestamp as RFC 3339, got {text!r:.60}",
                     fix="renew the plugin")  # fmt: skip
    return until_s


def _error(plugin: Plugin, message: str, *, fix: str, said: str = "", hinted: bool = False) -> PluginError:
    name = Path(plugin.command).name
    words = f" and the words {said!r}" if said else ""
    hint = f"; its installHint: {' '.join(plugin.hint.split())!r:.{_SHOWN}}" if hinted and plugin.hint else ""
    return PluginError(
        f"{message}{words}", where=f"{plugin.where}: credential plugin {name!r}", fix=f"{fix}{hint}",
        command=plugin.command, said=said, hint=plugin.hint if hinted else "",
    )  # fmt: skip
