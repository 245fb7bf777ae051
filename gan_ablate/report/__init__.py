"""Reports from result files. No torch: a report builds in seconds.

`load(root)` gives tidy pandas frames for a notebook, `tables` each arm against base, as plain objects;
`gan_ablate.stats` has the statistics that the report uses.
"""

from gan_ablate.findings.tables import tables
from gan_ablate.report.comparison import compare
from gan_ablate.report.write import report
from gan_ablate.results.frames import load

__all__ = ["compare", "load", "report", "tables"]
