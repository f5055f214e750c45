"""What RFC 9110, 9111 and 9112 ask of an intermediary, over raw sockets; see `checklist.py`."""
