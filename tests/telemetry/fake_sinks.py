"""Sinks that do as they are told."""


class ScriptedSink:
    """Takes as many bytes as the script says for each write, or raises what it says; beyond the
    script it takes everything. A string in the script means: the file was rotated."""

    def __init__(self, *script: int | OSError | str) -> None:
        self.generation = 0
        self.closed = False
        self.files = [bytearray()]
        self._script = list(script)

    @property
    def content(self) -> bytes:
        return b"".join(self.files)

    def write(self, data: memoryview, wait_s: float) -> int:
        step = self._script.pop(0) if self._script else len(data)
        if isinstance(step, OSError):
            raise step
        if isinstance(step, str):
            self.generation += 1
            self.files.append(bytearray())
            return 0
        taken = min(step, len(data))
        self.files[-1] += data[:taken]
        return taken

    def close(self) -> None:
        self.closed = True
