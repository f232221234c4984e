"""Names that a job needs in an engine, and who has them now."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.backends.docker.engine import Engine
from launcher.errors import Issue, TakenError
from launcher.names import RUN_ID_LABEL

_LISTS = {
    "container": ("ps", "--all", "--format", "{{.Names}}"),
    "network": ("network", "ls", "--format", "{{.Name}}"),
}


def refuse_conflicts(engine: Engine, *, job: str, pods: Sequence[str], run_id: str) -> None:
    """Look whether the names of a job's containers and of its network are free, or its own.

    Args:
        engine: Asked; nothing is changed.
        job: Name of the job, and so of its network.
        pods: Names of its pods, and so of its containers.
        run_id: Whose containers and networks are its own.

    Raises:
        TakenError: Something else has some of them; names all.
    """
    taken = [
        Issue(
            where=f"{kind} {name!r}",
            expected="a free name",
            got="one that is not this run's",
            fix=f"remove it (`{engine.name} {kind} rm`), or choose another name with --name",
        )
        for kind, names in (("container", pods), ("network", (job,)))
        for name in sorted(set(names) & _others(engine, kind, run_id=run_id))
    ]
    if taken:
        raise TakenError(problems=taken)


def _others(engine: Engine, kind: str, *, run_id: str) -> set[str]:
    everything = _LISTS[kind]
    ours = engine.run(*everything, "--filter", f"label={RUN_ID_LABEL}={run_id}").split()
    return set(engine.run(*everything).split()) - set(ours)
