"""When the garbage collector looks for cycles."""

import gc
from typing import Final

# Objects more than at the last look. Calls leave next to no cycles behind, while what is kept of
# runs grows with them: the interpreter's 700 has it look through all of that several times a second
# for nothing. Cycles of 10,000 objects are some megabytes.
_LOOK_EVERY: Final = 10_000


def settle() -> None:
    """Call it when all has been loaded that lives as long as the process: that is not looked at
    again, and the rest less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_LOOK_EVERY)
