"""Which build runs: the data path compiled to C, or the same source interpreted."""

from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec


def is_compiled() -> bool:
    """Whether the walk of a call comes from an extension. Looks, and imports nothing heavy."""
    found = find_spec("proxy.pipeline.handle")
    return found is not None and (found.origin or "").endswith(tuple(EXTENSION_SUFFIXES))


def build_name() -> str:
    """In one word, for people."""
    return "compiled" if is_compiled() else "interpreted"
