"""Experiments on the stack: each answers one question with one report. `python -m lab` lists them."""
