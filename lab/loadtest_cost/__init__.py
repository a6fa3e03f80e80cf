"""What the load test itself costs: its checks, its memory, and judging a long history."""
