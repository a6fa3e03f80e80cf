"""`make proof-failover`: the store fails over under load, and what that costs is counted."""
