"""`python -m scdiff_core COMMAND`."""

import sys

from scdiff_core.cli import main

if __name__ == "__main__":
    sys.exit(main())
