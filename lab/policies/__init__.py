"""`make compare`: the same requests under five balancing policies, measured and simulated.

It knows the stack through HTTP only: one address a policy, all before the same workers.
"""
