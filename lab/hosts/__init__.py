"""Several hosts on one machine: what an operator would set up on eight of them, with wires that can be cut."""
