"""Which client goes which way: the cells that `test_matrix` runs, and the table made of the same
data for `docs/clients.md`, so that the page claims nothing that is not run."""

from tests.scenarios.clients import CLIENTS, Client

WAYS = {
    "absolute": "`HTTP_PROXY`, plain HTTP",
    "connect": "`HTTPS_PROXY`, opaque tunnel",
    "intercepted": "`HTTPS_PROXY`, `intercept_tls`",
    "gateway": "`/tools/NAME/`",
}
_UNSEEN = "no tool could be judged inside, so the tunnel is closed"
LEFT_OUT = {
    ("pip download", "gateway"): "an index links to files elsewhere, and answers are not rewritten",
    ("mcp 2.x", "connect"): _UNSEEN,
    ("mcp 1.x", "connect"): _UNSEEN,
}
CELLS = [(client, way) for client in CLIENTS for way in WAYS if (client.name, way) not in LEFT_OUT]
_BEGIN, _END = "<!-- matrix -->\n", "<!-- end of matrix -->\n"


def names_its_run(client: Client, way: str) -> bool:
    """The call counts for the client's run, not for its address."""
    return way == "gateway" or client.names_its_run


def _cell(client: Client, way: str) -> str:
    if (client.name, way) in LEFT_OUT:
        return "-"
    return "yes" if names_its_run(client, way) else "yes, as its address"


def table() -> str:
    """Markdown: a row for each client, a column for each way, and why some cells are empty."""
    lines = [["client", *WAYS.values()], ["---"] * (len(WAYS) + 1)]
    lines += [[client.name, *(_cell(client, way) for way in WAYS)] for client in CLIENTS]
    rows = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    empty = "".join(
        f"- {name}, {WAYS[way]}: {reason}.\n" for (name, way), reason in LEFT_OUT.items()
    )
    return f"{rows}\n{empty}"


def with_matrix(page: str) -> str:
    """The page with the table of now."""
    before, _, rest = page.partition(_BEGIN)
    return f"{before}{_BEGIN}{table()}{_END}{rest.partition(_END)[2]}"
