"""What the verdicts are worth, by simulation: the tables of docs/statistics.md.

    OMP_NUM_THREADS=1 python -m benchmarks.verdicts [TABLE] [--studies 2000] [--seed 0] [--tables RUNS.csv]
    OMP_NUM_THREADS=1 python -m benchmarks.verdicts errors --base 30 --looks 4 8 16

Without a table: the tests of one arm against its control, 40 arms, log scores normal or Student-t(4) about a mean.
Their sd over seeds is 0.12 in the median arm, and varies between arms with sd 0.5 of its logarithm. `shared` is the
share of the variance that a seed gives to all arms. `--tables` prints those three figures of a `tables/runs.csv`, per
model, over the arms in which every run went well. With a table: the engine that judges arms and claims.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from benchmarks.verdicts.agreement import engine_agrees
from benchmarks.verdicts.engine import BASE_SEEDS, LOOKS, Rule
from benchmarks.verdicts.single_tables import observed, print_coverage, print_errors, print_power
from benchmarks.verdicts.single_tests import agrees
from benchmarks.verdicts.tables import (
    print_collapsed,
    print_early,
    print_engine_errors,
    print_few,
    print_kept,
    print_looks,
    print_stopping,
)
from benchmarks.verdicts.worlds import WORLDS


def main() -> None:
    tables: dict[str, Callable[[np.random.Generator, int], None]] = {
        "errors": lambda rng, n: print_engine_errors(rng, n, rule, args.worlds),
        "early": lambda rng, n: print_early(rng, n, rule, args.worlds),
        "collapsed": print_collapsed,
        "looks": print_looks,
        "stopping": print_stopping,
        "few": print_few, "kept": print_kept,
    }  # fmt: skip
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="?", default="today", choices=["today", *tables])
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    of = "of `errors` and `early`:"
    parser.add_argument("--base", type=int, help=f"{of} seeds of base, with --looks")
    parser.add_argument("--looks", type=int, nargs="+", help=f"{of} seeds of an arm at each look, weights equal")
    parser.add_argument("--worlds", nargs="+", default=(), choices=WORLDS, metavar="WORLD", help=f"{of} some only")
    parser.add_argument("--tables", help="tables/runs.csv of a report: print the spread of its log FID")
    args = parser.parse_args()
    looks = tuple(args.looks or LOOKS)
    rule = Rule(args.base or BASE_SEEDS, looks, (1 / len(looks),) * len(looks))
    rng, n, began = np.random.default_rng(args.seed), args.studies, time.process_time()
    if args.tables:
        observed(args.tables)
        print()
    if args.table == "today":
        print(f"The vectorised tests are those of compare_family and compare: {agrees(rng)}\n")
        print_errors(rng, n)
        print_coverage(rng, n)
        print_power(rng, n)
    else:
        print(f"The vectorised engine says what the engine says: {engine_agrees(rng)}")
        tables[args.table](rng, n)
    print(f"\n{time.process_time() - began:.0f} s of CPU")


if __name__ == "__main__":
    main()
