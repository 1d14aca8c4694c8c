"""The list of everything the agent can read on a serial line. No import magic."""

from edge.drivers.base import Decoder
from edge.drivers.jbd_uart import JbdDecoder

SERIAL_DECODERS: dict[str, type[Decoder]] = {
    "jbd_uart": JbdDecoder,
}


class UnknownProtocolError(ValueError):
    """No driver speaks this protocol: choose one of those the message lists."""


def serial_decoder(name: str) -> type[Decoder]:
    """Return the decoder class of a protocol. Raises UnknownProtocolError."""
    try:
        return SERIAL_DECODERS[name]
    except KeyError:
        known = ", ".join(sorted(SERIAL_DECODERS))
        raise UnknownProtocolError(
            f"No driver for the protocol {name!r}; the known ones are: {known}."
        ) from None
