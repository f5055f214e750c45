"""The same requests as `load.py`, sent by wrk: a load generator that is nobody's here.

Reads the proxy's CPU around wrk's whole run and prints one JSON object, as `load.py` does. wrk
speaks to an origin, not to a proxy; a script of its own gives it the requests byte by byte.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import debian
from cpu import read_cpu
from workload import WORKLOADS

_SCRIPT = """\
local requests = {%s}
local number = 0
request = function()
  number = number %% #requests + 1
  return requests[number]
end
done = function(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  local form = '{"completed":%%d,"wall_us":%%d,"failures":%%d,"p50_us":%%d,"p99_us":%%d}\\n'
  io.write(string.format(form, summary.requests, summary.duration, failed,
    latency:percentile(50), latency:percentile(99)))
end
"""


def main() -> int:
    options = _options()
    requests = WORKLOADS[options.workload].requests(options.authority, options.runs)
    with tempfile.TemporaryDirectory(prefix="wrk-") as folder:
        script = Path(folder) / "requests.lua"
        script.write_text(_SCRIPT % ",\n".join(_quoted(each) for each in requests))
        command = [debian.program("wrk"), "-t1", "-s", str(script)]
        command += [f"-c{options.connections}", f"-d{options.seconds}s"]
        command.append(f"http://127.0.0.1:{options.port}")
        environment = {"PATH": os.defpath, **debian.ENVIRONMENT}
        before, started_at = read_cpu(options.pid, options.core), time.perf_counter()
        ended = subprocess.run(command, capture_output=True, text=True, env=environment)
        after, took_s = read_cpu(options.pid, options.core), time.perf_counter() - started_at
    said = [line for line in ended.stdout.splitlines() if line.startswith("{")]
    if ended.returncode != 0 or not said:
        sys.stderr.write(ended.stdout + ended.stderr)
        return 1
    seen = json.loads(said[0])
    seen["proxy_cpu_us"] = after.tree_us - before.tree_us
    seen["core_percent"] = 100 * seen["proxy_cpu_us"] / (took_s * 1e6)
    print(json.dumps(seen))
    return 0


def _quoted(raw: bytes) -> str:
    """As a string of Lua."""
    return '"' + "".join(f"\\{byte:03d}" for byte in raw) + '"'


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--workload", choices=WORKLOADS, default="get")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--authority", required=True)
    parser.add_argument("--pid", type=int, help="of the proxy")
    parser.add_argument("--core", type=int, default=1, help="of the proxy")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
