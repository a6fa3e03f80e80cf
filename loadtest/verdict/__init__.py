"""From a finished run to a verdict: counts, spread, latency, limits, and one sentence."""
