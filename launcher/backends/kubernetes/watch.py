"""Tells when something has happened to a job or its pods, so that nobody has to ask every moment.

Two watches, of the job and of its pods, each in a thread, which set one event and read nothing. What
happened is not taken from the watch, though it is all in there: state is then read by the same requests as
by any other command, so that there is one way from objects to a state, and a watch that was cut, fell
behind or missed something costs an unnecessary question and never a wrong answer. That is also why lost
events need no care here:

- Too old a version (410, `ExpiredError`): begin anew without one, which the server answers with what there
  is now.
- No answer, or credentials that have run out: say that something happened; the question that follows finds
  out, logs in anew, and the watch goes on after a pause.
- Any other refusal (no rule for the verb `watch`, a proxy that holds answers back): the watch ends for
  good, and `wait` returns after its least time, so that the caller polls.

A dead connection says nothing at all. Hence the heartbeat, after which is asked in any case.
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
"""Asked at least so often: for the progress, and because a dead connection says nothing."""
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
        """Return when something has happened, but not before `least_s`; at once after it where refused."""
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
