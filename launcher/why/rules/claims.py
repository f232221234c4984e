"""Whether a job's PersistentVolumeClaims are there, bound, and mountable on so many nodes. Pure.

Used of a job whose pods wait, and before one is sent. The scheduler's words are those of kubernetes v1.34.7,
pkg/scheduler/framework/plugins/volumebinding; the claims' own stand in events of
pkg/controller/volume/persistentvolume.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from launcher import objects
from launcher.backends.states import JobEvent
from launcher.objects import KubeObject
from launcher.why.queries import MANY, events_of, kubectl, not_started, quote, template_of, who, without_node
from launcher.why.snapshot import Snapshot
from launcher.why.verdict import Resolves, Verdict, evidence

_MISSING = re.compile(r'persistentvolumeclaim "(?P<claim>[^"]+)" not found')
_DEFAULT = "storageclass.kubernetes.io/is-default-class"
_ONE_NODE = {"ReadWriteOnce"}
_ONE_POD = {"ReadWriteOncePod"}


def explain_claims(snapshot: Snapshot) -> Iterator[Verdict]:
    """Say what is wrong with the claims of a job whose pods wait."""
    waiting = (*without_node(snapshot), *not_started(snapshot))
    if not waiting or snapshot.status.state.is_terminal:
        return
    yield from _missing_by_words(snapshot)
    yield from check_claims(snapshot, is_stuck=bool(without_node(snapshot)))


def check_claims(snapshot: Snapshot, *, is_stuck: bool = True) -> Iterator[Verdict]:
    """Hold the claims that a job mounts against those that there are.

    Args:
        snapshot: With `claims`, or nothing is said.
        is_stuck: Also say what may be wrong: pods have no node yet, or have not been made.
    """
    if snapshot.claims is None:
        return
    there = {objects.name_of(claim): claim for claim in snapshot.claims}
    for name, read_only in mounted_claims(snapshot).items():
        claim = there.get(name)
        if claim is None:
            yield _missing(snapshot, name)
        elif objects.is_being_deleted(claim):
            yield Verdict(
                code="claim-being-deleted",
                sentence=f"claim {name!r} is being deleted, so no new pod may use it",
                evidence=evidence(_describe(claim)),
                fix="wait until it is gone and make it again, or name another",
                resolves=Resolves.BY_CHANGE,
            )
        elif is_stuck:
            yield from _explain_claim(snapshot, claim, read_only=read_only)


def mounted_claims(snapshot: Snapshot) -> dict[str, bool]:
    """Return the claims that the job's pods mount, and whether only for reading."""
    spec = template_of(snapshot)
    mounts = [
        mount for container in spec.get("containers") or [] for mount in container.get("volumeMounts") or []
    ]
    written = {mount["name"] for mount in mounts if not mount.get("readOnly")}
    claims: dict[str, bool] = {}
    for volume in spec.get("volumes") or []:
        source = volume.get("persistentVolumeClaim")
        if source:
            read_only = bool(source.get("readOnly")) or volume["name"] not in written
            claims[source["claimName"]] = claims.get(source["claimName"], True) and read_only
    return claims


def _explain_claim(snapshot: Snapshot, claim: KubeObject, *, read_only: bool) -> Iterator[Verdict]:
    phase = str((claim.get("status") or {}).get("phase") or "Pending")
    if phase == "Lost":
        yield Verdict(
            code="claim-lost",
            sentence=f"the volume of claim {objects.name_of(claim)!r} is gone, with its data",
            evidence=evidence(_describe(claim)),
            fix="restore it, or name another claim",
            resolves=Resolves.BY_CHANGE,
        )
    elif phase != "Bound":
        yield from _explain_pending(snapshot, claim)
    yield from _check_modes(snapshot, claim, read_only=read_only)


def _explain_pending(snapshot: Snapshot, claim: KubeObject) -> Iterator[Verdict]:
    name, class_name = objects.name_of(claim), (claim.get("spec") or {}).get("storageClassName")
    classes = snapshot.storage_classes
    notes = events_of(snapshot, claim)
    seen = evidence(_describe(claim), *(quote(note) for note in notes[:1]))
    look = kubectl(snapshot, f"describe pvc {name}")
    if classes is not None and class_name is None and not any(_is_default(item) for item in classes):
        text = f"claim {name!r} names no storage class, and the cluster has no default one"
        yield Verdict(
            code="claim-class-missing", sentence=text, evidence=seen, fix=look, resolves=Resolves.BY_CHANGE
        )
        return
    own = next((item for item in classes or () if objects.name_of(item) == class_name), None)
    if own is not None and own.get("volumeBindingMode") == "WaitForFirstConsumer" and not _has_failed(notes):
        return  # it is bound once its pod has a node: nothing is wrong with it
    is_unknown = classes is not None and class_name and own is None
    failed = next((note for note in notes if note.is_warning), None)
    if is_unknown and (failed is None or "not found" in failed.message):
        known = ", ".join(objects.name_of(item) for item in classes or ()) or "none"
        text = (
            f"claim {name!r} names storage class {class_name!r}, of which nobody makes volumes, and no free"
            " volume fits"
        )
        fix = f"name one of the cluster's classes ({known}), or make a PersistentVolume for it"
        yield Verdict(
            code="claim-class-missing", sentence=text, evidence=seen, fix=fix, resolves=Resolves.BY_CHANGE
        )
        return
    said = f": {' '.join(failed.message.split())}" if failed is not None else ""
    text = f"claim {name!r} has no volume yet{said}"
    yield Verdict(code="claim-pending", sentence=text, evidence=seen, fix=look, resolves=Resolves.LATER)


def _check_modes(snapshot: Snapshot, claim: KubeObject, *, read_only: bool) -> Iterator[Verdict]:
    replicas = snapshot.kind.replicas_of(snapshot.job)
    modes = set((claim.get("spec") or {}).get("accessModes") or [])
    name = objects.name_of(claim)
    if not modes or (replicas == 1 and (read_only or modes != {"ReadOnlyMany"})):
        return
    shown = ", ".join(sorted(modes))
    if modes == {"ReadOnlyMany"} and not read_only:
        text = f"claim {name!r} can only be read ({shown}), and the job writes to it"
    elif modes <= _ONE_POD:
        text = f"claim {name!r} can be mounted by one pod ({shown}), and the job has {replicas}"
    elif modes <= _ONE_NODE | _ONE_POD:
        text = (
            f"claim {name!r} can be mounted on one node at a time ({shown}), and the job has {replicas} pods"
        )
    else:
        return
    yield Verdict(
        code="claim-access-mode",
        sentence=text,
        evidence=evidence(_describe(claim)),
        fix="use a claim that is ReadWriteMany (or, for data, ReadOnlyMany), or --nodes 1",
        resolves=Resolves.BY_CHANGE,
    )


def _missing_by_words(snapshot: Snapshot) -> Iterator[Verdict]:
    """Yield the claims that the scheduler does not find, where claims may not be looked at."""
    if snapshot.claims is not None:
        return
    for pod in without_node(snapshot)[:MANY]:  # they are all alike
        for note in events_of(snapshot, pod, "FailedScheduling")[:1]:
            match = _MISSING.search(note.message)
            if match:
                verdict = _missing(snapshot, match["claim"])
                yield Verdict(
                    code=verdict.code,
                    sentence=verdict.sentence,
                    evidence=evidence(quote(note)),
                    fix=verdict.fix,
                    resolves=verdict.resolves,
                )
                return


def _missing(snapshot: Snapshot, name: str) -> Verdict:
    known = ", ".join(sorted(objects.name_of(claim) for claim in snapshot.claims or ())[:10])
    pods = without_node(snapshot)
    notes = [note for pod in pods[:MANY] for note in events_of(snapshot, pod, "FailedScheduling")]
    return Verdict(
        code="claim-missing",
        sentence=f"claim {name!r} does not exist in this namespace"
        + (f", so {who(snapshot, pods, 'wait')}" if pods else ""),
        evidence=evidence(
            *(quote(note) for note in notes[:1]),
            f"claims that there are: {known or 'none'}" if snapshot.claims is not None else "",
        ),
        fix="correct Launch.volumes, or create the claim",
        resolves=Resolves.BY_CHANGE,
    )


def _describe(claim: KubeObject) -> str:
    spec, status = claim.get("spec") or {}, claim.get("status") or {}
    modes = ", ".join(spec.get("accessModes") or []) or "no access mode"
    class_name = spec.get("storageClassName")
    kind = "no storage class" if class_name is None else f"class {class_name!r}"
    return f"claim {objects.name_of(claim)}: {status.get('phase', 'Pending')}, {modes}, {kind}"


def _has_failed(notes: Sequence[JobEvent]) -> bool:
    return any(note.is_warning for note in notes)


def _is_default(item: KubeObject) -> bool:
    return (item["metadata"].get("annotations") or {}).get(_DEFAULT) == "true"
