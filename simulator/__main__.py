"""`python -m simulator` is `mobility-sim`."""

import sys

from simulator.cli import main

sys.exit(main())
