"""Submits that were cut off before they could write how they ended: made whole, or collected."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from launcher.backends.base import Backend
from launcher.errors import LaunchError, NotFoundError
from launcher.plan.capabilities import CAPABILITIES
from launcher.runs.record import RunRecord, Stage
from launcher.runs.store import RunStore
from launcher.times import STALE_S


def reconcile(record: RunRecord, *, backend: Backend, store: RunStore) -> None:
    """Bring a record that says `submitting` to what is so: its job is there, or it never was."""
    if record.stage is not Stage.SUBMITTING:
        return
    try:
        status = backend.negotiate(record.api).status(record.handle)
    except NotFoundError:
        store.remove(record.handle.job)
        return
    # a namesake of another run says nothing of ours, whose request may still be on its way
    if status.run_id == record.run_id:
        store.finish(record)


def stale_records(store: RunStore, *, namespace: str, context: str | None, now_s: float) -> list[RunRecord]:
    """Return the records of submits to a cluster's namespace that were cut off more than an hour ago."""
    return [
        record
        for record in store.submitting()
        if CAPABILITIES[record.handle.backend].is_cluster
        and (record.handle.namespace, record.context or None) == (namespace, context or None)
        and now_s - record.created_s >= STALE_S
    ]


def collect(
    records: list[RunRecord],
    *,
    backend: Backend,
    store: RunStore,
    now: Callable[[], float] = time.time,
) -> list[str]:
    """Remove what interrupted submits have left on the cluster, and return the names of their jobs.

    Asks nothing where there is no such record. A courtesy: what does not work is left for the next time.
    """
    collected = []
    for record in records:
        with contextlib.suppress(LaunchError), store.lock(record.handle.job):
            # another process may have gone on with it since the records were read
            if store.load(record.handle.job) != record:
                continue
            of_kind = backend.negotiate(record.api)
            if of_kind.collect_orphans(record.handle, run_id=record.run_id, now_s=now()):
                collected.append(record.handle.job)
            reconcile(record, backend=backend, store=store)
    return collected
