"""`python -m gan_ablate.report ROOT [ROOT ...] [--out DIR]`."""

import sys

from gan_ablate.cli import main

sys.exit(main(["report", *sys.argv[1:]]))
