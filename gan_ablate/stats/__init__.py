"""Statistics as pure functions over numpy arrays. No torch, no files.

| question | module |
| --- | --- |
| is this arm better than its control, and by how much | `paired`: `compare`, `compare_family` |
| the same without a distribution, exact at any size | `exact` |
| is it as good as; is a mean near a number | `equivalence` |
| what could we have missed, how many seeds do we need | `power` |
| many tests | `corrections` |
| one arm's mean, a proportion | `intervals` |
| failure rates | `failures` |
| over several tasks; best of k runs | `aggregate` |
| main effects and interactions | `factorial` |
| does a sign announce failure; do losses follow FID | `association` |
| is one side more spread out | `spread` |
| time to a given FID | `curves` |

Everywhere `None` is a run that failed without a score: it ranks worst and is never dropped.
"""
