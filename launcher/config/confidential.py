"""What looks like a secret and must not stand in a config, which travels in a ConfigMap.

A config travels as the bytes of its file, so it is these that are searched, comments and replaced values
too, and besides them what `-o`, the environment and settings files put in. Three marks give a secret away:

- the name of a variable: a whole word of it between `_`, so that MAX_TOKENS is none. A switch is none either,
  nor is the path of a mounted file, and `Launch.not_secret` names what only sounds like one;
- the form of a value: tokens whose issuers document it, URLs with credentials, private keys;
- a word before a value: `password=…`, `Authorization: Bearer …`.

What carries none of them (`X: hunter2`) cannot be known.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from trainer.config.document import Document
from trainer.config.problems import KeyPath, Problem

# Whole words, some also at the end of longer ones (DBPASSWORD). AUTH, PASS and SESSION count where they are
# the last word: PASS_ID is no password. A number may follow, as with a second key: API_KEY2, TOKEN_2.
_WORD = re.compile(
    r"(^|_)(KEY|TOKEN|SECRETS?|PASSWORDS?|PASSWD|PWD|PASSPHRASE|CREDENTIALS?|CREDS|BEARER|COOKIES?"
    r"|AUTHORIZATION)[0-9]*(_|$)"
    r"|(PASSWORDS?|PASSWD|PASSPHRASE|SECRET|(API|ACCESS|AUTH|SECRET|PRIVATE|SIGNING)_?KEYS?|[A-Z0-9]TOKEN)"
    r"[0-9]*(_|$)"
    r"|(^|_)(AUTH|PASS|PGPASS|PAT|SESSION|JWT)[0-9]*(_[0-9]+)?$",
    re.IGNORECASE,
)
_SWITCH = re.compile(r"|true|false|yes|no|on|off|none|[0-9]{1,5}", re.IGNORECASE)
_IS_PLACE = re.compile(r"(_|^)(FILE|PATH|DIR|FOLDER)$", re.IGNORECASE)
# without a run of the scheme's letters and of colons, which would take the square of a long text's length
_CREDENTIALS = re.compile(r"(?<=[a-z0-9+.-])://[^/\s@:'\"]*:[^/\s@'\"]+@", re.IGNORECASE)
_USER = re.compile(r"(?<![a-z0-9+.-])([a-z][a-z0-9+.-]{0,30})://[^/\s@:'\"]+@", re.IGNORECASE)
# Where the part before `@` is a login or a container: GitHub's ssh, Azure's storage, Hadoop.
_HARMLESS_USERS = frozenset(
    {"ssh", "git", "git+ssh", "sftp", "rsync", "hdfs", "viewfs", "abfs", "abfss", "wasb", "wasbs", "mailto"}
)
# Forms that issuers document so that leaks can be found: GitHub, GitLab, Hugging Face, AWS, Slack, Google,
# OpenAI, Anthropic, PyPI, npm, Docker, DigitalOcean, SendGrid, Stripe; JSON web tokens, private keys.
_VALUE = re.compile(
    r"(?<![A-Za-z0-9])(gh[pousr]_[A-Za-z0-9]{20}|github_pat_[A-Za-z0-9_]{20}|glpat-[A-Za-z0-9_-]{20}"
    r"|hf_[A-Za-z0-9]{20}|(AKIA|ASIA)[0-9A-Z]{16}|xox[abeoprs]-[A-Za-z0-9-]{10}|AIza[A-Za-z0-9_-]{35}"
    r"|sk-(proj|ant|svcacct)-[A-Za-z0-9_-]{20}|sk-[A-Za-z0-9]{40}|pypi-[A-Za-z0-9_-]{50}|npm_[A-Za-z0-9]{36}"
    r"|dckr_pat_[A-Za-z0-9_-]{20}|do[opr]_v1_[a-f0-9]{40}|SG\.[A-Za-z0-9_-]{20,24}\.[A-Za-z0-9_-]{30}"
    r"|[sr]k_live_[A-Za-z0-9]{20})"
    r"|(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,2000}\.eyJ[A-Za-z0-9_-]{4,4000}\.[A-Za-z0-9_-]"
    r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----"
)
_TOKEN_TO_ITS_END = re.compile(rf"({_VALUE.pattern})[A-Za-z0-9._~+/=-]*")
_INTRODUCED = re.compile(
    r"(?<![a-z])(password|passwd|passphrase|api[_-]?key|secret[_-]?key|access[_-]?token|client[_-]?secret)"
    r"\s?[=:]\s?[^\s,;$/][^\s,;]{3}"
    r"|authorization\s?:\s?(bearer|basic|token)\s|(?<![a-z])bearer [A-Za-z0-9._~+/-]{6}",
    re.IGNORECASE,
)
_INTRODUCED_TO_ITS_END = re.compile(rf"({_INTRODUCED.pattern})[^\s,;]*", re.IGNORECASE)
_PUBLIC = "which anyone can read who may read ConfigMaps"
_ANNOUNCED = ("annotations", "env", "labels", "pod_patch")


def is_secret_name(name: str) -> bool:
    """Say whether a variable's name promises a secret."""
    return _WORD.search(name) is not None and _IS_PLACE.search(name) is None


def is_secret_value(text: str) -> bool:
    """Say whether a text holds a URL with credentials or a well-known kind of token."""
    return _find_token(text) is not None


def hide_secrets(problem: Problem) -> Problem:
    """Return a problem that shows none: others may be wrong with the same value, or have it as a key."""
    path = tuple(hide(part) if isinstance(part, str) else part for part in problem.path)
    return replace(problem, file=hide(problem.file), path=path, message=hide(problem.message))


def hide(text: str) -> str:
    """Return a text without what is, or is announced as, a secret, each to its end."""
    for pattern in (_CREDENTIALS, _USER, _INTRODUCED_TO_ITS_END):
        text = pattern.sub("[…]", text)
    return _TOKEN_TO_ITS_END.sub("[…]", text)


def secrets_line(name: str) -> str:
    """Return the line of a config that brings a secret to the pod as a file."""
    return f"secrets: [{{name: SECRET, key: KEY, mount: /secrets/{name.lower()}}}]"


def find_secrets(document: Document, *, not_secret: Collection[str] = ()) -> list[Problem]:
    """Return a problem for every value, and every variable by its name, that holds a secret.

    Args:
        document: The config's values.
        not_secret: Names of variables that only sound like one.
    """
    problems = []
    mounts = tuple(_mounts(document.values.get("Launch")))
    for path, text in _texts(document.values, ()):
        name = str(path[-1])
        announced = path[:1] == ("Launch",) and path[1:2] != () and path[1] in _ANNOUNCED
        if is_secret_value(text) or (announced and _INTRODUCED.search(text)):
            problems.append(
                document.problem(
                    path,
                    f"expected no credentials in a config, {_PUBLIC}; deliver them as a file: "
                    f"`{secrets_line(name)}`",
                )
            )
        elif (
            path[:2] == ("Launch", "env")
            and len(path) == 3
            and name not in not_secret
            and _promises(name, text, mounts)
        ):
            problems.append(
                document.problem(
                    path,
                    f"expected no secret in a config, {_PUBLIC}; write `{secrets_line(name)}` and read the "
                    f"file, or `not_secret: [{name}]` where it holds none",
                )
            )
    return problems + _find_patched(document, not_secret, mounts)


def find_secrets_in_bytes(content: bytes, *, name: str, found: Sequence[Problem] = ()) -> list[Problem]:
    """Return a problem for every line of a config file that holds a secret, wherever in the line.

    Args:
        content: The file's bytes, as they are sent.
        name: What messages call the file.
        found: What was found in its values; lines of these are not said twice.
    """
    said = {problem.line for problem in found if problem.file == name}
    problems = []
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), start=1):
        at = None if number in said else _find_token(line)
        if at is not None:
            message = (
                f"expected no credentials in a config, {_PUBLIC}: the file is sent as it is, comments and "
                "values that something replaces included; take them out"
            )
            problems.append(Problem(file=name, line=number, column=at + 1, message=message))
    return problems


def find_typed_secrets(overrides: Sequence[str]) -> list[Problem]:
    """Return a problem for every `-o` that holds a secret: all of them stand in the pod's command."""
    message = f"expected no credentials in an argument, {_PUBLIC}"
    return [
        Problem(file=f"-o {text.partition('=')[0]}", message=message)
        for text in overrides
        if is_secret_value(text)
    ]


def _promises(name: str, value: str, mounts: tuple[str, ...]) -> bool:
    """Say whether a variable promises a secret. A switch is none, nor is the path of a mounted file."""
    if not is_secret_name(name) or _SWITCH.fullmatch(value):
        return False
    return not any(value == mount or value.startswith(f"{mount}/") for mount in mounts)


def _mounts(launch: object) -> Iterator[str]:
    """Yield where volumes and secrets lie in the pod, before anything is checked."""
    if isinstance(launch, dict):
        for part in ("volumes", "secrets"):
            items = launch.get(part)
            for item in items if isinstance(items, list) else ():
                mount = item.get("mount") if isinstance(item, dict) else None
                if isinstance(mount, str) and mount.strip("/"):
                    yield mount.rstrip("/")


def _find_token(text: str) -> int | None:
    """Return where the first credentials of a text begin; `$(NAME)` in a URL is put in by a pod."""
    at = [match.start() for match in _CREDENTIALS.finditer(text) if "$(" not in match[0]]
    at += [
        match.start()
        for match in _USER.finditer(text)
        if match[1].lower() not in _HARMLESS_USERS and "$(" not in match[0]
    ]
    at += [match.start() for match in _VALUE.finditer(text)]
    return min(at, default=None)


def _find_patched(document: Document, not_secret: Collection[str], mounts: tuple[str, ...]) -> list[Problem]:
    """Return a problem for every variable of `Launch.pod_patch` that promises a secret and has a value."""
    launch = document.values.get("Launch")
    patch = launch.get("pod_patch") if isinstance(launch, dict) else None
    return [
        document.problem(
            path,
            f"expected no secret in a config; write `{secrets_line(name)}` and read the file, or valueFrom",
        )
        for path, name, value in _variables(patch, ("Launch", "pod_patch"))
        if name not in not_secret and _promises(name, value, mounts)
    ]


def _variables(value: object, path: KeyPath) -> Iterator[tuple[KeyPath, str, str]]:
    if isinstance(value, dict):
        if isinstance(value.get("name"), str) and value.get("value"):
            yield path, value["name"], str(value["value"])
        for key, item in value.items():
            yield from _variables(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _variables(item, (*path, index))


def _texts(value: object, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, str | int | float):
        yield path, str(value)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))
