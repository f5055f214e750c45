"""`toolbooth health`: the health check of a container that has no curl."""

import argparse
import contextlib
import http.client
import json

from proxy.cli.client import open_connection
from proxy.cli.exit_codes import DONE, FAILED
from proxy.cli.tables import cut, shown
from proxy.settings import ListenAddress

_TIMEOUT_S = 3.0
_LONGEST_WORD = 100


def health(address: ListenAddress, arguments: argparse.Namespace) -> int:
    """Ask `/readyz`: done if the sidecar takes calls, failed if it does not or is not there."""
    is_ready, word = _ask(address)
    if arguments.json:
        print(json.dumps({"ready": is_ready, "detail": word}))
    else:
        print(shown(word))
    return DONE if is_ready else FAILED


def _ask(address: ListenAddress) -> tuple[bool, str]:
    connection = open_connection(address, _TIMEOUT_S)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/readyz")
            response = connection.getresponse()
            word = response.read(_LONGEST_WORD + 1).decode("utf-8", "replace").strip()
        except (OSError, http.client.HTTPException):
            return False, f"nothing answers at {address}"
    return response.status == 200, cut(word, _LONGEST_WORD)
