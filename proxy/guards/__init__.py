"""One protection a file.

Each takes a rule, its own state and a clock, and returns a `Refusal` or what it granted. They
decide and remember; they never log, count or open anything.
"""
