"""A process that keeps a certificate, and may be killed at any step: FOLDER CERTIFICATE CA."""

import sys
from pathlib import Path

from edge.identity.keys import FileKeyStore
from tests.edge.identity.stores import SIGNERS

FileKeyStore(Path(sys.argv[1])).keep(
    Path(sys.argv[2]).read_text(), Path(sys.argv[3]).read_text(), SIGNERS
)
