"""Which runs are shown with their bodies.

The verdict depends on the run alone, so a sampled run is sampled whole and reads as a story, on
every replica and after a restart. Sampling is for observation, not control: an agent that picks
its own run ids can work out which are not sampled. The record itself is never sampled away.
"""

import zlib
from typing import Final

_SPACE: Final = 1 << 32
_SPREAD_HIGH: Final = 0x9E37  # of 0x9E3779B1
_SPREAD_LOW: Final = 0x79B1


def is_sampled(run_id: str, rate: float) -> bool:
    """Does this run belong to the sampled share `rate` (0 never, 1 always, in between: CRC-32 of
    the run id, spread once more, below that share of its range)?

    A run sampled at one rate is sampled at every higher one. CRC-32 because it costs a tenth of a
    cryptographic digest; the multiplication spreads ids that differ only in their last digits.
    """
    if rate >= 1.0:
        return True
    if not rate > 0.0:  # also NaN
        return False
    crc = zlib.crc32(run_id.encode("utf-8", "backslashreplace"))
    # The product modulo 2**32 in halves: larger factors are no machine's but the interpreter's.
    high, low = crc >> 16, crc & 0xFFFF
    crossed = (high * _SPREAD_LOW + low * _SPREAD_HIGH) & 0xFFFF
    spread = ((crossed << 16) + low * _SPREAD_LOW) & 0xFFFFFFFF
    return spread < rate * _SPACE
