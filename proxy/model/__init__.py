"""Vocabulary: the words every other package speaks. Standard library only, no I/O, no clock reads
outside `clock.py`."""
