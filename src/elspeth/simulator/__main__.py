"""`python -m elspeth.simulator`."""

import sys

from elspeth.simulator.cli import main

if __name__ == "__main__":
    sys.exit(main())
