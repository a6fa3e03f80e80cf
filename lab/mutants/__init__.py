"""Stacks that are broken on purpose: the load test has to notice each."""
