"""From results to verdicts per arm: what report, claims and status all show. No torch."""
