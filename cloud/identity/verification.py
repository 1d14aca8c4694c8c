"""The tokens of links in mail: each says which sign-up or letter; only this cloud makes them.

A token is made anew from the id whenever it is needed, so that no table, event or backup holds one.
"""

import base64
import binascii
import hashlib
import hmac
from uuid import UUID

_SIGN_UP = b"mobilitycorp identity sign-up 1"
_RESET = b"mobilitycorp identity password reset 1"
_ID_BYTES = 16


class LinkTokens:
    """Makes the tokens of one kind of link and reads them back.

    Args:
        key: what signs access tokens; these have a key of their own that is derived from it.
        purpose: the kind of link; no token is good for another one.
    """

    def __init__(self, key: str, purpose: bytes) -> None:
        self._key = hmac.digest(key.encode(), purpose, "sha256")

    def issue(self, of: UUID) -> str:
        """Return the token of a sign-up or a letter, always the same."""
        name = of.bytes
        return base64.urlsafe_b64encode(name + self._mac(name)).decode().rstrip("=")

    def read(self, token: str) -> UUID | None:
        """Return what a token is of; None when it is not ours, or changed, or for another link."""
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


class VerificationTokens(LinkTokens):
    """The tokens of sign-ups' links; `resets` are those of links to a new password.

    Args:
        key: what signs access tokens.
    """

    def __init__(self, key: str) -> None:
        super().__init__(key, _SIGN_UP)
        self.resets = LinkTokens(key, _RESET)
