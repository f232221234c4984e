"""Which kind of job a cluster serves, and what to do where it serves none that is asked for."""

from __future__ import annotations

from typing import Literal

from launcher.errors import LaunchError
from launcher.kinds.base import JobKind, KindName
from launcher.kinds.registry import DEFAULT, OFFERED, kind_named
from launcher.kube.api import KubeApi
from launcher.kube.errors import NoAnswerError, UnservedError


def choose_kind(api: KubeApi, *, wanted: Literal["auto"] | KindName) -> JobKind:
    """Return the kind of job to send: the one that is named, else the first that is served.

    A cluster that does not tell what it serves is taken to serve what is wanted: the job's own request finds
    out.

    Raises:
        UnservedError: It serves none that is wanted.
        NoAnswerError: It does not answer.
    """
    offered = OFFERED if wanted == "auto" else (kind_named(wanted),)
    try:
        served = next((kind for kind in offered if api.serves(kind.resource)), None)
    except NoAnswerError:
        raise
    except LaunchError:  # discovery is not open to us
        return DEFAULT if wanted == "auto" else offered[0]
    if served is None:
        names = " or ".join(f"{kind.resource.plural} of {kind.resource.api_version}" for kind in offered)
        controller = next(kind.controller for kind in offered if kind.controller is not None)
        raise UnservedError(
            expected=f"a cluster that serves {names}",
            got="one without",
            fix=f"have its administrator install the {controller.title}: {controller.install}",
        )
    return served


def require_served(api: KubeApi, kind: JobKind) -> None:
    """Refuse a cluster that does not serve a kind; see `choose_kind`.

    Raises:
        UnservedError: It does not.
        NoAnswerError: It does not answer.
    """
    choose_kind(api, wanted=kind.name)
