"""Image references, as the container runtimes of a cluster read them.

The grammar is that of github.com/distribution/reference v0.6, regexp.go and normalize.go: a first part with a
`.`, a `:` or a capital, or `localhost`, is a registry; everything after it is lower case. The kubelet answers
a name that does not follow it with InvalidImageName, for ever.
"""

from __future__ import annotations

import re

_MAX_NAME = 255  # reference.NameTotalLengthMax
_HOST_PART = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_REGISTRY = rf"(?:{_HOST_PART}(?:\.{_HOST_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PATH_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = rf"{_PATH_PART}(?:/{_PATH_PART})*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST_LENGTHS = {
    "sha256": 64,
    "sha384": 96,
    "sha512": 128,
}  # what github.com/opencontainers/go-digest knows
_EXAMPLE = "an image such as registry.example/team/trainer:1.0"


def check_image(text: str) -> str:
    """Return an image reference as it is.

    Raises:
        ValueError: A runtime would refuse it; says which part, and how it is written.
    """
    problem = _find_problem(text)
    if problem is not None:
        raise ValueError(f"expected {problem}, got {text!r:.160}")
    return text


def _find_problem(text: str) -> str | None:
    """Return what was expected instead, or None."""
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text)
    if scheme:
        return f"{_EXAMPLE}, without {scheme[0]}"
    if not text or re.search(r"\s", text):
        return f"{_EXAMPLE}, without spaces"
    name, at, digest = text.partition("@")
    registry, path = _split(name)
    path, colon, tag = path.partition(":")
    too_long = len(name) - len(colon + tag) > _MAX_NAME
    problems = (
        _find_digest_problem(digest) if at else None,
        _find_tag_problem(tag) if colon else None,
        _find_registry_problem(registry) if registry is not None else None,
        _find_path_problem(path, text),
        f"a name of at most {_MAX_NAME} characters" if too_long else None,
    )
    return next(filter(None, problems), None)


def _find_path_problem(path: str, text: str) -> str | None:
    if path != path.lower():
        lower = text.replace(path, path.lower(), 1)
        return f"{_EXAMPLE}, in lower case before the tag, as {lower!r:.160}"
    if re.fullmatch("[0-9a-f]{64}", path):
        return f"{_EXAMPLE}, not an image's id"
    if not re.fullmatch(_PATH, path):
        return f"{_EXAMPLE}, of lower-case letters and digits with single '.', '_' or '-' between them"
    return None


def _find_registry_problem(registry: str) -> str | None:
    if re.fullmatch(_REGISTRY, registry):
        return None
    return "a registry such as registry.example or localhost:5000 before the first '/'"


def _find_tag_problem(tag: str) -> str | None:
    if re.fullmatch(_TAG, tag):
        return None
    return "a tag of at most 128 letters, digits, '_', '.' and '-' after ':'"


def _split(name: str) -> tuple[str | None, str]:
    """Part a registry from the rest, as runtimes do where somebody leaves it out."""
    first, slash, rest = name.partition("/")
    if slash and (first == "localhost" or set(first) & set(".:") or first != first.lower()):
        return first, rest
    return None, name


def _find_digest_problem(digest: str) -> str | None:
    algorithm, _, value = digest.partition(":")
    length = _DIGEST_LENGTHS.get(algorithm)
    if length is None or not re.fullmatch(f"[0-9a-f]{{{length}}}", value):
        return "a digest such as sha256: and 64 hexadecimal digits in lower case after '@'"
    return None
