"""What can go wrong between us and a cluster, one class for each thing that a caller does differently."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from launcher.errors import NotAllowedError, NotFoundError, TakenError, UnreachableError, UsageError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from launcher.errors import Fields


class KubeconfigError(UnreachableError):
    """No cluster is configured, or its configuration cannot be read."""


class CredentialsError(NotAllowedError):
    """The cluster does not know us (401): log in again."""


class CertificateError(UnreachableError):
    """We do not trust the server's certificate, or it does not trust ours: nothing was sent."""


class DeniedError(NotAllowedError):
    """The cluster knows us and an RBAC rule is missing (403)."""


class NoAnswerError(UnreachableError):
    """No usable answer came: whether the cluster has acted on the request is not known.

    Attributes:
        retry_after_s: When the server wants to be asked again; 0 where it has not said.
    """

    def __init__(self, message: str = "", *, retry_after_s: float = 0.0, **fields: Unpack[Fields]) -> None:
        """Keep when to ask again beside the parts of the sentence."""
        super().__init__(message, **fields)
        self.retry_after_s = retry_after_s


class NotAdmittedError(NoAnswerError):
    """An admission webhook gave no answer, for want of which the API server has stored nothing.

    It may be asked again, as after any lost answer; but here it is known that nothing was made.
    """


class UnservedError(NotAllowedError):
    """The cluster has no PaddleJob that this release can follow."""


class AbsentError(NotFoundError):
    """The object, its namespace or its kind is not there (404)."""


class ConflictError(TakenError):
    """The name is taken, or the object is no longer the one that was meant (409)."""


class ExpiredError(NoAnswerError):
    """What the request goes on from is too old (410): begin again."""


class OrphanError(UnreachableError):
    """Something was refused half-way, and what had been made could not be taken back."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that a cluster finds wrong with an object.

    Attributes:
        field: Where in the object, such as `spec.paddleReplicaSpecs.Worker.replicas`; empty where not said.
        message: The server's words.
    """

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class InvalidError(UsageError):
    """The cluster refuses what it was sent (400, 422, or an admission check's 403).

    Attributes:
        causes: The server's list of faults; empty where it gave none.
        words: The server's sentence.
    """

    def __init__(
        self, message: str = "", *, causes: Sequence[Cause] = (), words: str = "", **fields: Unpack[Fields]
    ) -> None:
        """Keep the faults beside the parts of the sentence."""
        super().__init__(message, **fields)
        self.causes = tuple(causes)
        self.words = words
