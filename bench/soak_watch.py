"""What is seen of the sidecar in a soak: its process every second, and every record it writes."""

import json
import os
import re
import threading
from collections import Counter
from pathlib import Path
from statistics import median
from typing import IO

_PAGE = os.sysconf("SC_PAGE_SIZE")
_SAMPLE = re.compile(rb"^(toolbooth_\w+)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


class Records:
    """Counts the records on a pipe by code, in a thread of its own."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self.codes: Counter[str] = Counter()
        self.broken = 0
        self._pipe = pipe
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._pipe:
            try:
                self.codes[json.loads(line)["code"]] += 1
            except (ValueError, KeyError):
                self.broken += 1

    @property
    def count(self) -> int:
        return self.codes.total()

    def wait_for_end(self) -> None:
        """Until the pipe is closed."""
        self._thread.join(30)


def process_sample(pid: int) -> dict[str, float]:
    """Memory, open files and threads."""
    home = Path("/proc") / str(pid)
    return {
        "rss_mib": int((home / "statm").read_text().split()[1]) * _PAGE / 2**20,
        "fds": len(os.listdir(home / "fd")),  # noqa: PTH208 - the names do not matter
        "threads": len(os.listdir(home / "task")),  # noqa: PTH208
    }


def metric_sums(page: bytes) -> Counter[str]:
    """Every metric, added up over its labels."""
    sums: Counter[str] = Counter()
    for name, value in _SAMPLE.findall(page):
        sums[name.decode()] += float(value)  # type: ignore[assignment]
    return sums


def slope_per_hour(times_s: list[float], values: list[float]) -> float:
    """Of the straight line through them (least squares)."""
    if len(times_s) < 2:
        return 0.0
    mean_t, mean_v = sum(times_s) / len(times_s), sum(values) / len(values)
    spread = sum((t - mean_t) ** 2 for t in times_s)
    together = sum((t - mean_t) * (v - mean_v) for t, v in zip(times_s, values, strict=True))
    return 3600 * together / spread


def memory_verdict(samples: list[dict[str, float]]) -> dict[str, float]:
    """Is memory flat? The plateau is the second quarter, the end the last tenth."""
    rss = [sample["rss_mib"] for sample in samples]
    half = samples[len(samples) // 2 :]
    plateau = median(rss[len(rss) // 4 : len(rss) // 2] or rss)
    end = median(rss[-max(1, len(rss) // 10) :])
    slope = slope_per_hour([s["at_s"] for s in half], [s["rss_mib"] for s in half])
    return {
        "first_mib": round(rss[0], 1),
        "plateau_mib": round(plateau, 1),
        "end_mib": round(end, 1),
        "highest_mib": round(max(rss), 1),
        "end_to_plateau": round(end / plateau, 3),
        "last_half_mib_per_hour": round(slope, 2),
    }
