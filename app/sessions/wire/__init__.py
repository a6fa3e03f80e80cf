"""How the bytes of a script call reach Redis: one server, a cluster, or the subscription."""
