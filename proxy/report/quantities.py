"""Quantities in few characters, for people (pure)."""

_UNITS = (("T", 10**12), ("G", 10**9), ("M", 10**6), ("k", 10**3))
_IN_FULL = 100_000


def count_text(count: int) -> str:
    """`99999`, then `100k`, `1.23M`."""
    return str(count) if count < _IN_FULL else _scaled(count)


def byte_text(count: int) -> str:
    """`512 B`, `1.5 kB`, `2 GB`: powers of ten."""
    text = _scaled(count)
    return f"{text[:-1]} {text[-1]}B" if text[-1].isalpha() else f"{text} B"


def ms_text(ms: float | None) -> str:
    """`0.4ms`, `12ms`, `3.2s`, `8m20s`; `-` for nothing."""
    if ms is None:
        return "-"
    if ms < 1:
        return f"{ms:.1f}ms"
    if ms < 999.5:
        return f"{ms:.0f}ms"
    seconds = ms / 1000
    if seconds < 99.95:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes < 100 else f"{minutes // 60}h{minutes % 60:02d}m"


def usd_text(usd: float) -> str:
    """`0`, `0.0012`, `1.25`, `1234`: cents, or what is left where there are none."""
    if usd == 0:
        return "0"
    if usd < 0.01:
        return f"{usd:.6f}".rstrip("0").rstrip(".") or "0"
    return f"{usd:.2f}" if usd < 10_000 else _scaled(round(usd))


def _scaled(count: float) -> str:
    for unit, size in _UNITS:
        if count >= 0.9995 * size:  # what would be rounded up to it
            scaled = count / size
            return f"{scaled:.3g}{unit}" if scaled < 999.5 else f"{scaled:.0f}{unit}"
    return f"{count:.0f}"
