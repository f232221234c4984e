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
            return _distrust_theirs(found, where=where, server=server, access=access)
        if isinstance(found, ssl.SSLError):
            reason = str(found.reason or "")
            if reason in _OTHER_PROTOCOL:
                return CertificateError(
                    where=where,
                    expected=f"TLS from {server}",
                    got="another protocol",
                    fix=f"mend `server` of the kubeconfig's cluster: its port, or http for https ({access})",
                )
            if "ALERT" in reason and any(word in reason for word in _ABOUT_OURS):
                return CertificateError(
                    where=where,
                    expected=f"{server} to take our client certificate",
                    got=reason,
                    fix=f"log in again, or renew client-certificate of the kubeconfig's user ({access})",
                )
    return None


def _distrust_theirs(
    error: ssl.SSLCertVerificationError, *, where: str, server: str, access: str
) -> CertificateError:
    said = error.verify_message or f"{error}"
    if "mismatch" in said:
        expected = f"a certificate for the name in {server}"
        fix = "name the server as its certificate does, or set tls-server-name of the kubeconfig's cluster"
    elif "expired" in said or "not yet valid" in said:
        expected = f"a certificate of {server} that is valid now"
        fix = "renew the API server's certificate, or set this machine's clock"
    else:
        expected = f"a certificate of {server} that the kubeconfig's CA has signed"
        renew = "renew certificate-authority-data of the kubeconfig's cluster"
        fix = f"check that this is your cluster, then {renew}"
    return CertificateError(where=where, expected=expected, said=said.rstrip("."), fix=f"{fix} ({access})")


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
