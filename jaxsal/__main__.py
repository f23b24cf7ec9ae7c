"""`python -m jaxsal`: the `jaxsal` command."""

import sys

from jaxsal.cli import main

sys.exit(main())
