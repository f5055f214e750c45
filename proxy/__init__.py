"""Toolbooth: a tool-call sidecar proxy.

Every outbound call of an agent stops here, shows what it is, pays from its run's budget, and is
let through or told why not. Start reading at `proxy/pipeline/handle.py`: it is the whole walk of
a call, top to bottom.
"""

__version__ = "0.1.0"
