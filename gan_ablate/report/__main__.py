"""`python -m gan_ablate.report ROOT [ROOT ...] [--out DIR]` is `gan-ablate report`."""

import sys

if __name__ == "__main__":
    from gan_ablate.cli import main

    sys.exit(main(["report", *sys.argv[1:]]))
