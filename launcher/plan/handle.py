"""A job's handle: where it runs and what it is called, as one line of text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from launcher.errors import UsageError
from launcher.names import is_dns_label

BackendKind = Literal["kubernetes", "docker", "local"]
BACKENDS: tuple[BackendKind, ...] = get_args(BackendKind)
_NAMESPACED: frozenset[str] = frozenset({"kubernetes"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Handle:
    """`kubernetes://<namespace>/<job>`, `docker:///<job>` or `local:///<job>`.

    Attributes:
        namespace: Empty but for kubernetes.
    """

    backend: BackendKind
    namespace: str = ""
    job: str

    def __str__(self) -> str:
        return f"{self.backend}://{self.namespace}/{self.job}"


def parse_handle(text: str) -> Handle:
    """Read a handle.

    Raises:
        UsageError: It is not one.
    """
    scheme, separator, rest = text.partition("://")
    namespace, slash, job = rest.partition("/")
    wants_namespace = scheme in _NAMESPACED
    if (
        not separator or not slash or scheme not in BACKENDS or not is_dns_label(job)
        or bool(namespace) is not wants_namespace
    ):  # fmt: skip
        raise UsageError(
            where="handle",
            expected="kubernetes://NAMESPACE/JOB, docker:///JOB or local:///JOB",
            got=f"{text!r}",
        )
    return Handle(backend=scheme, namespace=namespace, job=job)
