"""`toolbooth doctor`: does everything in this container go through the booth?

It runs where the agent runs, needs nothing but the standard library and this environment, and
believes nobody: a client goes through if the sidecar has seen it.
"""
