"""What the records say, summed up: `toolbooth report`.

Reads lines of JSON once, holds sums and never the calls, so a month of records takes the memory of
a day's. Nothing here speaks to a sidecar.
"""
