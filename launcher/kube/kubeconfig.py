"""Kubeconfigs: files in, one context out, checked, with what is wrong named by file and entry.

As client-go reads them (k8s.io/client-go/tools/clientcmd, loader.go and validation.go; kubernetes.io,
"Organizing Cluster Access Using kubeconfig Files"): of several files in KUBECONFIG the first that names a
cluster, user or context counts, and its whole entry; paths are relative to the file that they stand in; a
name twice in one file, and two ways of saying who one is, are refused.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.kube.errors import KubeconfigError
from launcher.kube.remarks import remark

_FILE_BYTES = 16 << 20
_KINDS = {"clusters": "cluster", "users": "user", "contexts": "context"}
_KNOWN = {
    "clusters": {
        "server", "tls-server-name", "insecure-skip-tls-verify", "certificate-authority",
        "certificate-authority-data", "proxy-url", "disable-compression", "extensions",
    },
    "users": {
        "client-certificate", "client-certificate-data", "client-key", "client-key-data", "token",
        "tokenFile", "as", "as-uid", "as-groups", "as-user-extra", "username", "password", "auth-provider",
        "exec", "extensions",
    },
    "contexts": {"cluster", "user", "namespace", "extensions"},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """A cluster, user or context, with access to its fields that knows where they stand.

    Attributes:
        where: Begins messages: `/home/ann/.kube/config: user 'ann'`.
        folder: Of its file; paths are relative to it.
        name: Its name.
        fields: As they stand there; never shown, since they may be secret.
    """

    where: str
    folder: Path
    name: str
    fields: Mapping[str, object]

    def refuse(self, key: str, expected: str, *, got: str = "", fix: str = "") -> KubeconfigError:
        """Return the error of a field."""
        found = got or _kind_of(self.fields.get(key))
        return KubeconfigError(
            where=f"{self.where}: {key}", expected=expected, got=found, fix=fix or "mend it there"
        )

    def text(self, key: str) -> str:
        """Return a field's text, or empty."""
        value = self.fields.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.refuse(key, "text", fix="put it in quotes")
        return value

    def flag(self, key: str) -> bool:
        """Return a field that is true or false."""
        value = self.fields.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.refuse(key, "true or false")
        return bool(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a field that lists text."""
        value = self.fields.get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.refuse(key, "a list of text")
        return tuple(value)

    def mapping(self, key: str) -> Mapping[str, object] | None:
        """Return a field that has fields itself, or None."""
        value = self.fields.get(key)
        if value is None:
            return None
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
            raise self.refuse(key, "a mapping")
        return value

    def within(self, key: str) -> Entry | None:
        """Return a field that has fields itself as an entry of its own."""
        value = self.mapping(key)
        return None if value is None else Entry(f"{self.where}: {key}", self.folder, self.name, value)

    def path(self, key: str) -> Path | None:
        """Return a file that a field names."""
        text = self.text(key)
        return self.folder / text if text else None

    def content(self, key: str) -> bytes | None:
        """Return what `<key>-data` holds, else the file that `<key>` names; None where neither is there."""
        if data := self.text(f"{key}-data"):
            try:
                return base64.b64decode("".join(data.split()), validate=True)
            except (binascii.Error, ValueError) as error:
                raise self.refuse(f"{key}-data", "base64", got=f"other text ({error})") from error
        path = self.path(key)
        return None if path is None else self.read(path, key=key)

    def read(self, path: Path, *, key: str) -> bytes:
        """Return a file's content; `key` is the field that names it."""
        try:
            with path.open("rb") as file:
                content = file.read(_FILE_BYTES + 1)
        except (OSError, ValueError) as error:
            raise self.refuse(
                key, "a file that can be read", got=f"{str(path)!r} ({_reason(error)})", fix="mend the path"
            ) from error
        if len(content) > _FILE_BYTES:
            raise self.refuse(key, "a file of at most 16 MiB", got=f"{str(path)!r}", fix="mend the path")
        return content


@dataclass(frozen=True, kw_only=True, slots=True)
class Kubeconfig:
    """A context of one or several files.

    Attributes:
        context: With its namespace.
        cluster: That it names.
        user: That it names, or None where it names none.
        ignored: Fields that have no effect, with their place.
    """

    context: Entry
    cluster: Entry
    user: Entry | None
    ignored: tuple[str, ...]


def read_kubeconfig(places: Sequence[Path], *, context: str | None) -> Kubeconfig | None:
    """Read files and choose a context.

    Args:
        places: The first that names something counts; those that are not there are passed over.
        context: Its name; None for the current one.

    Returns:
        None where no file is there.

    Raises:
        KubeconfigError: Something cannot be read or used, or no context is chosen.
    """
    documents = {}
    for path in places:
        document = _load(path)
        if document is not None:
            documents[path] = document
    if not documents:
        return None
    for path in places:
        if path not in documents:
            remark(f"{path}: there is no such kubeconfig; the others of KUBECONFIG are used")
    shown = os.pathsep.join(map(str, documents))
    tables = {kind: _merge(documents, kind) for kind in _KINDS}
    name = context or next(filter(None, (_current(path, found) for path, found in documents.items())), "")
    there = ", ".join(map(repr, sorted(tables["contexts"])))
    if not there:
        raise KubeconfigError(
            where=shown,
            expected="contexts",
            got="none",
            fix="get a kubeconfig of your cluster, or make one with `kubectl config set-context`",
        )
    if not name:
        raise KubeconfigError(
            where=shown,
            expected="a current-context",
            got="none",
            fix=(f"name one with --context, or run `kubectl config use-context NAME`; there are: {there}"),
        )
    chosen = tables["contexts"].get(name)
    if chosen is None:
        said = "--context" if context else "current-context"
        raise KubeconfigError(
            where=f"{shown}: {said}",
            expected="a context that is there",
            got=f"{name!r:.200}",
            fix=f"name another one with --context; there are: {there}",
        )
    cluster = _follow(chosen, tables["clusters"], "cluster", shown)
    if cluster is None:
        raise chosen.refuse("cluster", "the name of a cluster", got="none")
    user = _follow(chosen, tables["users"], "user", shown)
    ignored = [
        f"{entry.where}: {key!r:.60} is no field that is known, and has no effect"
        for kind, entry in (("contexts", chosen), ("clusters", cluster), ("users", user)) if entry is not None
        for key in sorted(set(map(str, entry.fields)) - _KNOWN[kind])
    ]  # fmt: skip
    return Kubeconfig(context=chosen, cluster=cluster, user=user, ignored=tuple(ignored))


def _follow(chosen: Entry, table: Mapping[str, Entry], key: str, shown: str) -> Entry | None:
    name = chosen.text(key)
    if not name:
        return None
    if name not in table:
        there = ", ".join(map(repr, sorted(table))) or "none"
        raise chosen.refuse(key, f"a {key} that {shown} has", got=repr(name), fix=f"there are: {there}")
    return table[name]


def _load(path: Path) -> Mapping[str, object] | None:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_BYTES + 1)
        if len(content) > _FILE_BYTES:
            raise KubeconfigError(
                where=path, expected="a kubeconfig", got="more than 16 MiB", fix="name another file"
            )
        document = yaml.load(content, Loader=loader)  # noqa: S506  # both are safe
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KubeconfigError(
            where=path, expected="a kubeconfig that can be read", got=_reason(error), fix="mend its rights"
        ) from error
    except yaml.MarkedYAMLError as error:  # its own words would repeat the line, which may hold a token
        mark = error.problem_mark
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark is not None else str(path)
        raise KubeconfigError(
            where=place,
            expected="YAML",
            got=error.problem or "something else",
            fix="see `kubectl config view`",
        ) from None
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError, OverflowError):
        raise KubeconfigError(
            where=path, expected="YAML", got="something else", fix="see `kubectl config view`"
        ) from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise KubeconfigError(
            where=path,
            expected="a kubeconfig",
            got=f"another document ({_kind_of(document)})",
            fix="name another file",
        )
    return document


def _merge(documents: Mapping[Path, Mapping[str, object]], kind: str) -> dict[str, Entry]:
    merged: dict[str, Entry] = {}
    for path, document in documents.items():
        listed = document.get(kind)
        if listed is None:
            continue
        if not isinstance(listed, list):
            raise KubeconfigError(
                where=f"{path}: {kind}", expected="a list", got=_kind_of(listed), fix="mend it there"
            )
        seen = set()
        for number, item in enumerate(listed):
            name = item.get("name") if isinstance(item, dict) else None
            if not isinstance(item, dict) or not isinstance(name, str) or not name:
                raise KubeconfigError(
                    where=f"{path}: {kind}[{number}]",
                    expected="an entry with a name",
                    got="none",
                    fix="name it, in quotes",
                )
            fields = item.get(_KINDS[kind])
            where = f"{path}: {_KINDS[kind]} {name!r}"
            if fields is not None and not isinstance(fields, dict):
                raise KubeconfigError(
                    where=where, expected="fields", got=_kind_of(fields), fix="mend it there"
                )
            if name in seen:
                raise KubeconfigError(
                    where=where, expected="it once", got="it twice", fix="remove one of them"
                )
            seen.add(name)
            merged.setdefault(name, Entry(where, path.absolute().parent, name, fields or {}))
    return merged


def _current(path: Path, document: Mapping[str, object]) -> str:
    name = document.get("current-context")
    if name is not None and not isinstance(name, str):
        raise KubeconfigError(
            where=f"{path}: current-context", expected="text", got=_kind_of(name), fix="put it in quotes"
        )
    return name or ""


def _kind_of(value: object) -> str:
    """Say what a value is without showing it."""
    kinds = {
        str: "text",
        bool: "true or false",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "a mapping",
    }
    return "nothing" if value is None else kinds.get(type(value), "something else")


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
