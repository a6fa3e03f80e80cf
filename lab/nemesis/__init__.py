"""`make nemesis`: faults on purpose, one after the other under load, and what visitors notice of each."""
