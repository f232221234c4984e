"""What a failed TLS handshake means: the ssl module's error -> our error with what to do. Pure.

Reasons as OpenSSL words them (`X509_verify_cert_error_string(3)`; alerts: RFC 8446, 6.2).
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator

from launcher.kube.errors import CertificateError

_OTHER_PROTOCOL = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}
)
_ABOUT_OURS = frozenset({"CERTIFICATE", "UNKNOWN_CA", "HANDSHAKE_FAILURE", "ACCESS_DENIED"})


def read_distrust(error: BaseException, *, where: str, server: str, access: str) -> CertificateError | None:
    """Return what a connection's failure says about certificates; None where it is about something else.

    Args:
        error: Perhaps with the ssl module's one among its causes and arguments.
        where: Begins the sentence.
        server: As the user names it, such as `https://10.0.0.1:6443`.
        access: How the user names the way in: `context 'prod'`.
    """
    for found in unfold(error):
        if isinstance(found, ssl.SSLCertVerificationError):
            return CertificateError(f"{where}: {_judge_theirs(found, server=server, access=access)}")
        if isinstance(found, ssl.SSLError):
            reason = str(found.reason or "")
            if reason in _OTHER_PROTOCOL:
                return CertificateError(
                    f"{where}: expected TLS from {server}, got another protocol; "
                    f"mend `server` of the kubeconfig's cluster: its port, or http for https ({access})"
                )
            if "ALERT" in reason and any(word in reason for word in _ABOUT_OURS):
                return CertificateError(
                    f"{where}: expected {server} to take our client certificate, got {reason}; "
                    f"log in again, or renew client-certificate of the kubeconfig's user ({access})"
                )
    return None


def _judge_theirs(error: ssl.SSLCertVerificationError, *, server: str, access: str) -> str:
    got = error.verify_message or str(error)
    if "mismatch" in got:
        return (
            f"expected a certificate for the name in {server}, got: {got.rstrip('.')}; name the server as "
            f"its certificate does, or set tls-server-name of the kubeconfig's cluster ({access})"
        )
    if "expired" in got or "not yet valid" in got:
        return (
            f"expected a certificate of {server} that is valid now, got: {got}; "
            f"renew the API server's certificate, or set this machine's clock ({access})"
        )
    return (
        f"expected a certificate of {server} that the kubeconfig's CA has signed, got: {got}; check that "
        f"this is your cluster, then renew certificate-authority-data of the kubeconfig's cluster ({access})"
    )


def unfold(error: BaseException) -> Iterator[BaseException]:
    """Give an error, what it was made of and what caused it; libraries wrap in either way."""
    waiting, seen = [error], set()
    while waiting:
        found = waiting.pop()
        if id(found) not in seen:
            seen.add(id(found))
            yield found
            waiting += [
                part
                for part in (*found.args, found.__cause__, found.__context__)
                if isinstance(part, BaseException)
            ]
