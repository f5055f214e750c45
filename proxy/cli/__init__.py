"""The command line: `toolbooth run`, `check`, `explain`, `kill` and their like.

Its verbs that talk to a running sidecar need the standard library alone, so that a kill is quick
and works where the rest of the installation does not.
"""

from proxy.cli.command_line import main

__all__ = ["main"]
