"""The sidecar of the demo: the real program, in a process of its own, on free ports."""

import re
import subprocess
import sys
from pathlib import Path

_PORT = re.compile(r"toolbooth: (proxy|control|health) on 127\.0\.0\.1:(\d+)")


class DemoSidecar:
    """`toolbooth run` with `config/demo.yaml`. `ports` by listener name."""

    def __init__(self, policy: Path, log: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "proxy", "run", "--policy", str(policy)],
            env={
                **environment,
                "TOOLBOOTH_PROXY_LISTEN": "127.0.0.1:0",
                "TOOLBOOTH_CONTROL_LISTEN": "127.0.0.1:0",
                "TOOLBOOTH_HEALTH_LISTEN": "127.0.0.1:0",
                "TOOLBOOTH_LOG": str(log),
                "TOOLBOOTH_DRAIN_SECONDS": "1",
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        self.ports: dict[str, int] = {}
        said: list[str] = []
        assert self._process.stderr is not None
        for line in self._process.stderr:
            said.append(line)
            found = _PORT.match(line)
            if found:
                self.ports[found[1]] = int(found[2])
            if line.strip() == "toolbooth: ready":
                return
        raise RuntimeError("the sidecar did not start:\n" + "".join(said))

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def wait(self) -> None:
        """Until it ends by itself."""
        self._process.wait()

    def stop(self) -> None:
        """End it as an orchestrator would."""
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()
