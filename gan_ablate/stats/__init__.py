"""Statistics as pure functions over numpy arrays. No torch, no files.

| question | module |
| --- | --- |
| is this arm better than its control, by how much; is it the same | `two_part`: `weigh`, `decide`; `parts` |
| how many more seeds would decide it | `more_seeds` |
| the same of another figure than FID | `paired`: `compare` |
| its variance with the help of all arms', two means of unequal variance | `moderated` |
| its standard error, whether seeds are paired, power | `t_test` |
| the same by ranks, exact at any size | `ranks` |
| is a mean near a number | `paired`: `margin_p` |
| many tests | `corrections` |
| one arm's mean, a proportion, a quotient of ratios; is one side more spread out | `intervals` |
| failure rates; does a sign announce failure | `failures` |
| over several tasks; best of k runs; time to a given FID | `aggregate` |
| main effects and interactions | `factorial` |

Everywhere `None` is a run that failed without a score: it ranks worst and is never dropped.
"""
