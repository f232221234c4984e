"""What everybody has on a cluster."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from ftlaunch.boundary import api

if TYPE_CHECKING:
    from launcher.jobs.team import TeamTop
    from launcher.team.gather import Team


@api
def team_jobs(
    *,
    namespace: str | None = None,
    all_namespaces: bool = False,
    context: str | None = None,
    users: Collection[str] = (),
    states: Collection[str] = (),
    limit: int | None = None,
) -> Team:
    """Return everybody's jobs of a cluster that this user may see, as `ftlaunch list --all` shows them.

    Args:
        namespace: Where to look; None for what settings or the context say.
        all_namespaces: Look everywhere; where that is not allowed, in `namespace`, and `skipped` tells it.
        context: Of the kubeconfig; None for what settings say, else its current one.
        users: Only those of these users.
        states: Only those that stand so, such as `running`.
        limit: At most so many, the newest.

    Raises:
        UnreachableError: The cluster does not answer, or shows no job at all.
    """
    from launcher.jobs.team import list_team

    return list_team(
        namespace=namespace,
        all_namespaces=all_namespaces,
        context=context,
        users=users,
        states=tuple(state.lower() for state in states),
        limit=limit,
    )


@api
def top(*, namespace: str | None = None, all_namespaces: bool = True, context: str | None = None) -> TeamTop:
    """Return who holds which GPUs of a cluster, what is free and what is idle, as `ftlaunch top` shows it.

    Args:
        namespace: Whose jobs to look at where not those of all namespaces.
        all_namespaces: Look at jobs of all namespaces; where that is not allowed, `team.skipped` tells it.
        context: Of the kubeconfig; None for what settings say, else its current one.

    Raises:
        UnreachableError: The cluster does not answer, or shows no job at all.
    """
    from launcher.jobs.team import read_top

    return read_top(namespace=namespace, all_namespaces=all_namespaces, context=context)
