"""The certificate of the demo's HTTPS tool, and the CA that vouches for it."""

import ssl
from pathlib import Path

from proxy.ca.certificates import mint_ca, mint_leaf, new_leaf_key
from proxy.ca.names import constraints_for
from proxy.model.clock import SystemClock


def certify(host: str, folder: Path) -> tuple[Path, ssl.SSLContext]:
    """The CA's certificate as a file in `folder`, and a server's context for `host`."""
    now_s = SystemClock().wall()
    ca = mint_ca(constraints_for([host]), now_s)
    trusted, served = folder / "upstream-ca.pem", folder / "upstream.pem"
    trusted.write_bytes(ca.pem)
    served.touch(mode=0o600)
    served.write_bytes(mint_leaf(ca, new_leaf_key(), host, now_s))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(served)
    return trusted, context
