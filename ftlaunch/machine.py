"""This machine and the cluster that it reaches: versions, checks, and which folders' settings count."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from ftlaunch.boundary import api
from ftlaunch.job import known_backend
from launcher.plan.handle import BackendKind

if TYPE_CHECKING:
    from launcher.jobs.examination import Examination

__version__ = metadata.version("ftlaunch")


@api
def versions() -> dict[str, str | None]:
    """Return the versions of ftlaunch, the Kubernetes client and Python; None for what is not installed."""
    return {name: _version(name) for name in ("ftlaunch", "kubernetes")} | {
        "python": platform.python_version()
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@api
def doctor(
    *,
    on: BackendKind | None = None,
    namespace: str | None = None,
    context: str | None = None,
    runtime: str | None = None,
) -> Examination:
    """Look at all that a job needs, everything at once, and change nothing.

    Args:
        on: What to look at; None for where jobs run by default.
        namespace: Of Kubernetes; None for what settings or the context say.
        context: Of the kubeconfig; None for what settings say, else its current one.
        runtime: Container engine, by name or path; None for the first that is there.

    Raises:
        UsageError: There is no such kind of backend.
    """
    from launcher.jobs.examination import examine

    return examine(on=known_backend(on), namespace=namespace, context=context, runtime=runtime)


@api
def trust(folder: str | Path = ".", *, forget: bool = False) -> tuple[Path, ...]:
    """Have the settings and templates of a folder count, as they are now; return their files.

    Look at them first: they decide what a job runs, and a folder may come from somebody else.

    Args:
        folder: With a .ftlaunch.yaml or .ftlaunch/templates of yours.
        forget: Trust nothing in the folder and below it any more, instead.

    Raises:
        UsageError: There are no such files.
    """
    from launcher.jobs.trust import trust_folder
    from launcher.runs.trusted import TrustedFiles

    return tuple(map(Path, TrustedFiles().forget(Path(folder)) if forget else trust_folder(Path(folder))))
