"""`python -m cloud` is `mobility-cloud`."""

import sys

from cloud.cli import main

sys.exit(main())
