"""The token of a verification link: it says which sign-up, and only this cloud can make it.

It is made anew from the sign-up's id whenever it is needed, so that no table, event or backup
holds one.
"""

import base64
import binascii
import hashlib
import hmac
from uuid import UUID

_PURPOSE = b"mobilitycorp identity sign-up 1"
_ID_BYTES = 16


class VerificationTokens:
    """Makes the tokens of verification links and reads them back.

    Args:
        key: what signs access tokens; these have a key of their own that is derived from it.
    """

    def __init__(self, key: str) -> None:
        self._key = hmac.digest(key.encode(), _PURPOSE, "sha256")

    def issue(self, sign_up_id: UUID) -> str:
        """Return the token of a sign-up, always the same."""
        name = sign_up_id.bytes
        return base64.urlsafe_b64encode(name + self._mac(name)).decode().rstrip("=")

    def read(self, token: str) -> UUID | None:
        """Return which sign-up a token is of; None when it is not ours, or changed."""
        try:
            found = base64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        name, mac = found[:_ID_BYTES], found[_ID_BYTES:]
        if len(name) != _ID_BYTES or not hmac.compare_digest(mac, self._mac(name)):
            return None
        return UUID(bytes=name)

    def _mac(self, name: bytes) -> bytes:
        return hmac.digest(self._key, name, hashlib.sha256)
