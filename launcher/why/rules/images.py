"""Why a node does not have the image. Pure.

The reasons are the kubelet's (kubernetes v1.34.7, pkg/kubelet/images/types.go); the words below them are
those of containerd 1.7 to 2.1 (core/remotes/docker, core/images), of CRI-O, and of registries (OCI
distribution-spec, error codes; Docker Hub's `toomanyrequests`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from launcher import objects
from launcher.backends.kubernetes.pods import PULL_TROUBLES
from launcher.objects import KubeObject
from launcher.why.queries import events_of, not_started, quote, template_of, waiting_of, who
from launcher.why.snapshot import Snapshot
from launcher.why.verdict import Resolves, Verdict, evidence

_WORDS: tuple[tuple[str, str, str, str], ...] = (
    (
        r"InvalidImageName|invalid reference format|couldn't parse image",
        "image-name-invalid",
        "the image's name cannot be read",
        "correct Launch.image",
    ),
    (
        r"ErrImageNeverPull|pull policy of Never",
        "image-never-pulled",
        "the node lacks the image and may not pull it",
        "load it onto the nodes, or take image_pull_policy: Never out",
    ),
    (
        r"toomanyrequests|429 Too Many Requests|rate limit",
        "image-rate-limited",
        "the registry serves no more for now",
        "set Launch.image_pull_secrets, or use a mirror of the registry",
    ),
    (
        r"no match for platform|no matching manifest|image operating system|does not match the specified"
        r" platform"
        r"|exec format error",
        "image-wrong-platform",
        "the image is not made for this kind of node",
        "build it for the node's platform, or set Launch.node_selector",
    ),
    (
        r"no space left on device|disk quota exceeded",
        "image-no-space",
        "the node has no room for the image",
        "have the node cleaned: kubectl describe node {node}",
    ),
    (
        r"401 Unauthorized|403 Forbidden|pull access denied|insufficient_scope|authorization failed|no basic"
        r" auth"
        r"|unauthorized|denied: ",
        "image-denied",
        "the registry does not let the node in, or does not have the image",
        "check Launch.image, and set Launch.image_pull_secrets",
    ),
    (
        r"not found|manifest unknown|name unknown|does not exist|NotFound",
        "image-not-found",
        "the registry does not have the image",
        "correct Launch.image, or push it",
    ),
    (
        r"no such host|i/o timeout|connection refused|network is unreachable|TLS handshake|x509|failed to do"
        r" request"
        r"|dial tcp|server gave HTTP response|EOF|deadline exceeded|RegistryUnavailable|no route to host",
        "registry-unreachable",
        "the node cannot reach the registry",
        "correct Launch.image, or load the image onto the nodes",
    ),
)
_PASSING = ("image-rate-limited", "registry-unreachable", "image-pull-failed")
_NAMES = ("image-denied", "image-not-found", "registry-unreachable", "image-pull-failed")
"""What a name with a mistake in it leads to as well."""
_UNSURE = "goes on by itself if the registry was only away; a name with a mistake in it stays so"
_NETWORK_FIRST = re.compile(r"no such host|dial tcp|i/o timeout|connection refused")


def explain_image(snapshot: Snapshot) -> Iterator[Verdict]:
    """Say why pods wait for their image."""
    waiting = [pod for pod in not_started(snapshot) if waiting_of(pod)[0] in PULL_TROUBLES]
    if not waiting:
        return
    pod = waiting[0]
    reason, message = waiting_of(pod)
    notes = [note for note in events_of(snapshot, pod, "Failed") if "image" in note.message.lower()]
    words = "\n".join([reason, message, *(note.message for note in notes)])
    code, head, fix = _classify(words)
    image = _image_of(snapshot, pod)
    secrets = events_of(snapshot, pod, "FailedToRetrieveImagePullSecret")
    if code == "image-denied" and secrets:
        fix = "create the Secret that Launch.image_pull_secrets names"
    if code in _NAMES and is_bare(image):
        fix += f"; {image!r} names no registry, and so docker.io is asked"
    yield Verdict(
        code=code,
        sentence=f"{who(snapshot, waiting)} cannot get {image}: {head}",
        evidence=evidence(
            f"{objects.name_of(pod)}: {reason}: {message}",
            *(quote(note) for note in [*notes[:1], *secrets[:1]]),
        ),
        fix=fix.format(node=objects.host_of(pod)),
        resolves=Resolves.LATER if code in _PASSING else Resolves.BY_CHANGE,
        prospect=_UNSURE if code in _NAMES and code in _PASSING else "",
    )


def is_bare(image: str) -> bool:
    """Whether an image's name has no registry in front (distribution/reference, `splitDockerDomain`)."""
    host, slash, _ = image.partition("/")
    return not slash or not ("." in host or ":" in host or host == "localhost" or host != host.lower())


def _classify(words: str) -> tuple[str, str, str]:
    # a name that does not resolve is "not found" in other words only
    table = (
        sorted(_WORDS, key=lambda row: row[1] != "registry-unreachable")
        if _NETWORK_FIRST.search(words)
        else _WORDS
    )
    for pattern, code, head, fix in table:
        if re.search(pattern, words):
            return code, head, fix
    return "image-pull-failed", "its runtime says no more than that it failed", "look at `ftlaunch events`"


def _image_of(snapshot: Snapshot, pod: KubeObject) -> str:
    containers = pod["spec"].get("containers") or template_of(snapshot).get("containers") or []
    own = next((item for item in containers if item.get("name") == snapshot.kind.container), containers[0])
    return str(own.get("image"))
