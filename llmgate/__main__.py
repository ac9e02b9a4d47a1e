"""`python -m llmgate`: see `llmgate.surfaces.cli`."""

import sys

from .surfaces.cli import main

if __name__ == "__main__":
    sys.exit(main())
