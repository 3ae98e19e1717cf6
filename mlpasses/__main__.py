"""`python -m mlpasses` is the command line."""

import sys

from mlpasses.cli.main import main

sys.exit(main())
