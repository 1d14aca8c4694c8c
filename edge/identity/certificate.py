"""What a certificate says of itself, read from its DER (RFC 5280) without a library.

`cryptography.x509` would cost the agent 3 MB for good to learn one date. Nothing here decides
whether a certificate is to be trusted: TLS does, at both ends.
"""

import calendar
import re
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass

_SEQUENCE, _INTEGER, _OID, _VERSION = 0x30, 0x02, 0x06, 0xA0
_TIMES = {0x17: "%y%m%d%H%M%SZ", 0x18: "%Y%m%d%H%M%SZ"}  # UTCTime, GeneralizedTime
_COMMON_NAME = bytes((0x55, 0x04, 0x03))  # 2.5.4.3
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_LONG = 0x80


class CertificateUnreadableError(ValueError):
    """This is no X.509 certificate in PEM."""


@dataclass(frozen=True, slots=True)
class CertificateInfo:
    """One certificate. Times are Unix milliseconds; names are compared as they lie.

    `serial` is lower-case hex, as the cloud's tables name it; `common_name` is "" when there is
    none.
    """

    serial: str
    common_name: str
    not_before_ms: int
    not_after_ms: int
    issuer: bytes
    subject: bytes

    @property
    def renew_from_ms(self) -> int:
        """When two thirds of its life are over."""
        return self.not_before_ms + (self.not_after_ms - self.not_before_ms) * 2 // 3


def read_certificate(pem: str) -> CertificateInfo:
    """Return what the first certificate of a PEM text says; raises CertificateUnreadableError."""
    return read_certificates(pem)[0]


def read_certificates(pem: str) -> list[CertificateInfo]:
    """Return what each certificate of a PEM text says; raises CertificateUnreadableError."""
    found = _PEM.findall(pem)
    if not found:
        raise CertificateUnreadableError("there is no certificate in it")
    try:
        return [_read(ssl.PEM_cert_to_DER_cert(each)) for each in found]
    except (ValueError, IndexError, OverflowError) as trouble:
        raise CertificateUnreadableError("it is no X.509 certificate") from trouble


def _read(der: bytes) -> CertificateInfo:
    fields = list(_items(_first(_first(der))))
    if fields[0][0] == _VERSION:
        del fields[0]
    serial, _, issuer, validity, subject = fields[:5]
    begins, ends = list(_items(_expect(validity, _SEQUENCE)))
    return CertificateInfo(
        serial=f"{int.from_bytes(_expect(serial, _INTEGER), 'big', signed=True):x}",
        common_name=_common_name(_expect(subject, _SEQUENCE)),
        not_before_ms=_unix_ms(begins),
        not_after_ms=_unix_ms(ends),
        issuer=_expect(issuer, _SEQUENCE),
        subject=_expect(subject, _SEQUENCE),
    )


def _items(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of each element; a length beyond the end is an error."""
    at = 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length >= _LONG:
            size = length - _LONG
            length, at = int.from_bytes(der[at : at + size], "big"), at + size
        if at + length > len(der):
            raise ValueError("it is cut off")
        yield tag, der[at : at + length]
        at += length


def _first(der: bytes) -> bytes:
    return _expect(next(_items(der), (0, b"")), _SEQUENCE)


def _expect(item: tuple[int, bytes], tag: int) -> bytes:
    if item[0] != tag:
        raise ValueError(f"tag {item[0]:#x} where {tag:#x} belongs")
    return item[1]


def _common_name(subject: bytes) -> str:
    for _, part in _items(subject):
        for _, pair in _items(part):
            (tag, oid), (_, text) = _items(pair)
            if (tag, oid) == (_OID, _COMMON_NAME):
                return text.decode()
    return ""


def _unix_ms(item: tuple[int, bytes]) -> int:
    tag, text = item
    if tag not in _TIMES:
        raise ValueError(f"tag {tag:#x} is no time")
    return calendar.timegm(time.strptime(text.decode(), _TIMES[tag])) * 1000
