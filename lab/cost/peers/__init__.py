"""The same session read as `lab/cost/site.py` does it, in what people would use instead (PEERS=1)."""
