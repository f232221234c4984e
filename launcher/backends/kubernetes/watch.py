"""Rings when something happens to a job or its pods, so that nobody has to ask every moment.

Two watches, of the job and of its pods, each in a thread. What happened is not looked at: whoever is woken
asks how the job stands. Where watching is not possible (no rule for the verb `watch`, a proxy that holds
answers back) there is no bell, and the caller polls.
"""

from __future__ import annotations

import threading
import time

from launcher.errors import LaunchError
from launcher.kinds.base import JobKind
from launcher.kinds.registry import DEFAULT
from launcher.kube.api import KubeApi
from launcher.kube.errors import CredentialsError, ExpiredError, NoAnswerError
from launcher.kube.watch import BOOKMARK
from launcher.objects import PODS, Resource
from launcher.plan.handle import Handle

HEARTBEAT_S = 10.0
"""Asked at least so often: for the progress, and because a dead connection does not ring."""
PAUSE_S = 2.0


class JobWatch:
    """Two watches of one job. A `PollTimer` of `launcher.backends.poll_timer`."""

    def __init__(
        self, api: KubeApi, handle: Handle, *, kind: JobKind = DEFAULT, heartbeat_s: float = HEARTBEAT_S
    ) -> None:
        """Begin to watch."""
        self._api, self._handle = api, handle
        self._heartbeat_s = heartbeat_s
        self._changed = threading.Event()
        self._is_refused = False
        watches = (
            (kind.resource, "", f"metadata.name={handle.job}"),
            (PODS, kind.pod_selector(handle.job), ""),
        )
        for watch in watches:
            threading.Thread(target=self._listen, args=watch, daemon=True).start()

    def wait(self, least_s: float, *, most_s: float) -> None:
        """Return when something has happened, but not before `least_s`; at once after it where deaf."""
        time.sleep(least_s)
        if not self._is_refused:
            self._changed.wait(max(0.0, min(self._heartbeat_s, most_s) - least_s))
        self._changed.clear()

    def _listen(self, resource: Resource, labels: str, fields: str) -> None:
        version = ""
        while not self._is_refused:
            try:
                for change in self._api.watch(
                    resource,
                    namespace=self._handle.namespace,
                    labels=labels,
                    fields=fields,
                    version=version,
                ):
                    version = change.version
                    if change.kind != BOOKMARK:
                        self._changed.set()
            except ExpiredError:
                version = ""
            except (NoAnswerError, CredentialsError):  # whoever is woken finds out, and logs in anew
                self._changed.set()
                time.sleep(PAUSE_S)
            except LaunchError:
                self._is_refused = True
                self._changed.set()
