"""This package is the wire's front desk: who is calling, what they may ask, and how an error travels.

listener       the two doors of a node: peer port and desk
interceptors   the gate before every method; doorkeeper: who comes in; calls: who is in; roster: who our people are
exchange       what peers may ask; desk: what our own people may; current: the one that serves at the moment
errors         how a call ends that went wrong
metrics        figures for Prometheus; supervisor: what systemd is told
"""
