"""Bytes to values and back.

Sans-I/O and pure: the same bytes give the same answer, however they were split on the way.
"""
