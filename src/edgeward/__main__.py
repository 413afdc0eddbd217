"""`python -m edgeward` is the `edgeward` command."""

import sys

from edgeward.cli import main

if __name__ == "__main__":
    sys.exit(main())
