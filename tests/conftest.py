"""What holds for the whole session."""

import gc


def pytest_collection_finish() -> None:
    """What collecting made stays to the end: whole libraries, and thousands of tests. Walking it
    again and again would stop a test, and the sidecar in it, for a quarter of a second at any
    time, which is longer than some limits that are tested."""
    gc.collect()
    gc.freeze()
