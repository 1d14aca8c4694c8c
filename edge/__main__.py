"""`python -m edge` is `mobility-edge`."""

import sys

from edge.cli import main

sys.exit(main())
