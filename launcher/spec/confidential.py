"""What looks like a secret and must not stand in a config, which travels in a ConfigMap."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trainer.config.document import Document
from trainer.config.problems import KeyPath, Problem

_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
# without a run of the scheme's letters and of colons, which would take the square of a long text's length
_CREDENTIALS = re.compile(r"(?<=[a-z0-9+.-])://[^/\s@:]*:[^/\s@]+@", re.IGNORECASE)
# Prefixes that their issuers document so that leaks can be found: GitHub, GitLab, Hugging Face, AWS, Slack.
_VALUE = re.compile(
    r"(ghp|gho|ghs|ghu)_[A-Za-z0-9]{20}|github_pat_[A-Za-z0-9_]{20}|glpat-[A-Za-z0-9_-]{20}|hf_[A-Za-z0-9]{20}"
    r"|AKIA[0-9A-Z]{16}|xox[abp]-[A-Za-z0-9-]{10}|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)


def is_secret_name(name: str) -> bool:
    """Say whether a variable's name promises a secret."""
    return _NAME.search(name) is not None


def is_secret_value(text: str) -> bool:
    """Say whether a text holds a URL with credentials or a well-known kind of token."""
    return _CREDENTIALS.search(text) is not None or _VALUE.search(text) is not None


def secrets_line(name: str) -> str:
    """Return the line of a config that brings a secret to the pod as a file."""
    return f"secrets: [{{name: SECRET, key: KEY, mount: /secrets/{name.lower()}}}]"


def find_secrets(document: Document) -> list[Problem]:
    """Return a problem for every text outside `Launch.env`, which has its own check, that holds a secret."""
    return [
        document.problem(
            path,
            "expected no credentials in a config, which anyone can read who may read ConfigMaps; "
            f"deliver them as a file: `{secrets_line(str(path[-1]))}`",
        )
        for path, text in _texts(document.values, ())
        if path[:2] != ("Launch", "env") and is_secret_value(text)
    ]


def find_patched_secrets(document: Document) -> list[Problem]:
    """Return a problem for every variable of `Launch.pod_patch` that promises a secret and has a value."""
    launch = document.values.get("Launch")
    patch = launch.get("pod_patch") if isinstance(launch, dict) else None
    return [
        document.problem(
            path,
            f"expected no secret in a config; write `{secrets_line(name)}` and read the file, or valueFrom",
        )
        for path, name in _variables(patch, ("Launch", "pod_patch"))
        if is_secret_name(name)
    ]


def _variables(value: object, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, dict):
        if isinstance(value.get("name"), str) and value.get("value"):
            yield path, value["name"]
        for key, item in value.items():
            yield from _variables(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _variables(item, (*path, index))


def _texts(value: object, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))
