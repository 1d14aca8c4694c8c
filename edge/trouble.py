"""What went wrong on a connection, in words that a person beside the vehicle can act on."""

import socket
import ssl

_OURS = {
    "CERTIFICATE_EXPIRED": "it has expired",
    "CERTIFICATE_REVOKED": "it is revoked",
    "UNKNOWN_CA": "it is of another authority",
    "BAD_CERTIFICATE": "it is not made for this",
    "UNSUPPORTED_CERTIFICATE": "it is not made for this",
    "CERTIFICATE_UNKNOWN": "it is not known there",
    "CERTIFICATE_REQUIRED": "we showed none",
    "ACCESS_DENIED": "it may not come in",
}
_NOT_YET_VALID, _EXPIRED = 9, 10


def refusal_of_ours(error: BaseException) -> str | None:
    """Return why the other end refused our certificate (its TLS alert); None for other trouble."""
    reason = error.reason if isinstance(error, ssl.SSLError) else None
    if not reason or "ALERT" not in reason:
        return None
    alert = reason.partition("ALERT_")[2]
    return next((words for name, words in _OURS.items() if alert.endswith(name)), None)


def network_trouble(error: OSError) -> str:
    """Return what happened in words instead of numbers."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _distrust(error)
    if (why := refusal_of_ours(error)) is not None:
        return f"it refuses our certificate: {why}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS with it ({(error.reason or str(error)).lower().replace('_', ' ')})"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused, nothing listens there"
    if isinstance(error, socket.gaierror):
        return "there is no host of that name"
    return (error.strerror or str(error) or "no answer in time").lower()


def _distrust(error: ssl.SSLCertVerificationError) -> str:
    said = error.verify_message.rstrip(".")
    if error.verify_code in (_NOT_YET_VALID, _EXPIRED):
        return f"we do not trust its certificate ({said}); is this vehicle's clock right?"
    return f"we do not trust its certificate ({said}); is it our cloud, and [identity] ca right?"
