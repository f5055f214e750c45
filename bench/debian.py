"""Programs out of Debian packages, unpacked below `bench/.peers/`: nothing is installed, so none of
them starts by itself.
"""

import os
import subprocess
import sys
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent / ".peers" / "debian"
ROOT = _FOLDER / "root"
PACKAGES = {
    "squid": ("squid", "squid-common", "libecap3", "libltdl7", "libnetfilter-conntrack3",
              "libnfnetlink0", "libtdb1", "squid-langpack"),
    "tinyproxy": ("tinyproxy-bin",),
    "nginx": ("nginx", "nginx-common"),
    "wrk": ("wrk", "libluajit2-5.1-2", "libluajit-5.1-common"),
    "haproxy": ("haproxy", "liblua5.3-0", "libopentracing1", "libopentracing-c-wrapper0"),
}  # fmt: skip
_LIBRARIES = f"{ROOT}/usr/lib/{os.uname().machine}-linux-gnu"
ENVIRONMENT = {"LD_LIBRARY_PATH": _LIBRARIES}


def program(name: str) -> str:
    """Its path, whether it is there or not."""
    folder = "bin" if name in ("tinyproxy", "wrk") else "sbin"
    return str(ROOT / "usr" / folder / name)


def unpack(name: str) -> bool:
    """Once. False if it cannot be had here; that is said."""
    if Path(program(name)).exists():
        return True
    ROOT.mkdir(parents=True, exist_ok=True)
    print(f"unpacking {name} below {ROOT} ...", file=sys.stderr)
    try:
        _run("apt-get", "update", "-qq")
        _run("apt-get", "download", "-qq", *PACKAGES[name])
        for package in PACKAGES[name]:
            for path in _FOLDER.glob(f"{package}_*.deb"):
                _run("dpkg-deb", "-x", str(path), str(ROOT))
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"{name} is left out: {error}", file=sys.stderr)
        return False
    return Path(program(name)).exists()


def version(name: str) -> str:
    """Debian's, out of the package's name."""
    found = sorted(_FOLDER.glob(f"{PACKAGES[name][0]}_*.deb"))
    return found[-1].name.split("_")[1].replace("%3a", ":") if found else "unknown"


def _run(*command: str) -> None:
    subprocess.run(command, check=True, cwd=_FOLDER, stdout=subprocess.DEVNULL)
