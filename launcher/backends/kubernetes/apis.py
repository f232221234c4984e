"""Which kind of job object a job is sent as: what a cluster serves, and what may be made there.

`auto` takes the first kind of the registry's order that the cluster serves, that the user may create with
all that is made beside it, that can do what the config asks for, and that the queue which is asked for looks
after. Whatever cannot be found out does not stand in the way: the job's own request finds out.

The questions are few, and as many for every cluster: one for each API group until the first that is served,
one for the user's rules, which the look before a submit needs too and is handed, and with a queue one dry
run.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from launcher.backends.kubernetes.kueue import holds_sample
from launcher.errors import LaunchError
from launcher.kinds.base import JobKind
from launcher.kinds.registry import KINDS, kind_named
from launcher.kube.api import KubeApi
from launcher.kube.errors import DeniedError, NoAnswerError, NotAdmittedError, UnservedError
from launcher.kube.rules import ask_for_access, ask_for_rules, grants, is_allowed, is_whole, rules_in
from launcher.names import KindName
from launcher.objects import RULES_REVIEWS, KubeObject


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The kind that a job is sent as.

    Attributes:
        why: For people; empty where a kind was named.
        rules: The review of what the user may do, where it was asked for.
    """

    kind: JobKind
    why: str = ""
    rules: KubeObject | None = None


def choose_kind(
    api: KubeApi,
    *,
    wanted: Literal["auto"] | KindName,
    namespace: str = "",
    asks: Collection[tuple[str, ...]] = (),
    queue: str = "",
) -> Choice:
    """Return the kind of job to send: the one that is named, else the first that will do.

    Args:
        api: Of the cluster.
        wanted: `Launch.api`.
        namespace: Where the job is to go.
        asks: Keys of `Launch` that the config gives, which a kind may not be able to do.
        queue: Of Kueue, which the job is to wait in; empty for none.

    Raises:
        UnservedError: The cluster does not serve the one that is named.
        DeniedError: There is none that the user may create.
        NoAnswerError: It does not answer.
    """
    if wanted != "auto":
        kind = kind_named(wanted)
        require_served(api, kind)
        return Choice(kind=kind)
    return _Search(api, namespace=namespace, asks=asks, queue=queue).find()


def require_served(api: KubeApi, kind: JobKind) -> None:
    """Refuse a cluster that does not serve a kind. One that does not tell is taken to serve it.

    Raises:
        UnservedError: It does not.
        NoAnswerError: It does not answer.
    """
    if serves(api, kind):
        return
    controller = kind.controller
    assert controller is not None
    raise UnservedError(
        expected=f"a cluster that serves {kind.resource.plural} of {kind.resource.api_version}",
        got="one without",
        fix=f"have its administrator install the {controller.title}: {controller.install}; "
        "or leave Launch.api out, and --api with it",
    )


def serves(api: KubeApi, kind: JobKind) -> bool:
    """Say whether a cluster serves a kind, as far as it tells.

    Raises:
        NoAnswerError: It does not answer.
    """
    if kind.is_built_in:
        return True
    try:
        return api.serves(kind.resource)
    except NoAnswerError:
        raise
    except LaunchError:  # discovery is not open to us
        return True


class _Search:
    """Looks for the first kind that will do, and keeps why each before it would not."""

    def __init__(
        self, api: KubeApi, *, namespace: str, asks: Collection[tuple[str, ...]], queue: str
    ) -> None:
        self._api, self._namespace, self._asks, self._queue = api, namespace, asks, queue
        self._rules: KubeObject | None = None
        self._passed: list[str] = []
        self._unserved: list[JobKind] = []

    def find(self) -> Choice:
        unasked: Choice | None = None
        for kind in KINDS:
            if not serves(self._api, kind):
                self._unserved.append(kind)
                continue
            reason = self._reason_against(kind)
            try:
                if not reason and self._is_left_alone(kind):
                    # where no queue looks after any kind, the look before a submit says so of the first
                    reason = f"queue {self._queue!r} does not look after {kind.resource.kind}s"
                    unasked = unasked or self._choose(kind)
            except NotAdmittedError:
                reason = f"the webhook of {kind.resource.kind}s does not answer"
            if not reason:
                return self._choose(kind)
            self._passed.append(reason)
        if unasked is not None:
            return unasked
        wanted = " or ".join(f"a {kind.resource.kind}" for kind in KINDS)
        raise DeniedError(
            expected=f"to be allowed to create {wanted} in namespace {self._namespace!r}",
            got="; ".join(self._passed),
            fix=(
                f"ask for k8s/rbac/user.yaml in namespace {self._namespace!r}, or correct its name: it may "
                "not exist; a Job needs no operator"
            ),
        )

    def _choose(self, kind: JobKind) -> Choice:
        unserved = [f"{each.resource.kind}s" for each in self._unserved]
        passed = [f"{' and '.join(unserved)} are not served", *self._passed] if unserved else self._passed
        grounds = "; ".join(passed) or "the first kind that is served here and that you may create"
        return Choice(kind=kind, why=f"as a {kind.title} (api auto: {grounds})", rules=self._rules)

    def _reason_against(self, kind: JobKind) -> str:
        name = kind.resource.kind
        if unable := [key for key in kind.cannot if key in self._asks]:
            return f"a {name} cannot do Launch.{'.'.join(unable[0])}"
        needs = ((grant.group, grant.resource) for grant in kind.grants if "create" in grant.verbs)
        denied = next((resource for group, resource in needs if not self._may_create(group, resource)), "")
        return f"you may not create {denied}" if denied else ""

    def _may_create(self, group: str, resource: str) -> bool:
        try:
            if self._rules is None:
                self._rules = self._api.create(RULES_REVIEWS, ask_for_rules(self._namespace), namespace="")
            if grants(rules_in(self._rules), group=group, resource=resource, verb="create"):
                return True
            if is_whole(self._rules):
                return False
            question = ask_for_access(self._namespace, group=group, resource=resource, verb="create")
            return is_allowed(self._api, question)
        except NoAnswerError:
            raise
        except LaunchError:  # reviews are not open to us
            return True

    def _is_left_alone(self, kind: JobKind) -> bool:
        """Say whether Kueue would let a job of this kind start at once, whatever its queue."""
        if not self._queue:
            return False
        held = holds_sample(self._api, kind, namespace=self._namespace, queue=self._queue)
        if (
            held is None
        ):  # of a kind that cannot be tried another is better that shows that it is looked after
            return kind.sample("any", labels={}) is None
        return not held
