"""Writes every generated page: `python -m tests.repo.write_docs`, from anywhere."""

from proxy.policy.reference import reference_text
from proxy.telemetry.metric_names import metrics_page
from tests.conformance.checklist import conformance_page
from tests.faults.faultlist import faults_page
from tests.repo.error_page import error_page
from tests.repo.redaction_page import with_scores
from tests.repo.tree import ROOT, with_tree
from tests.scenarios.matrix import with_matrix

DOCS = ROOT / "docs"


def write_docs() -> None:
    """The tests beside this file say whether it was needed."""
    architecture, clients = DOCS / "architecture.md", DOCS / "clients.md"
    redaction = DOCS / "redaction.md"
    pages = {
        DOCS / "policy.md": reference_text(),
        DOCS / "metrics.md": metrics_page(),
        DOCS / "errors.md": error_page(),
        redaction: with_scores(redaction.read_text(encoding="utf-8")),
        DOCS / "conformance.md": conformance_page(),
        DOCS / "faults.md": faults_page(),
        clients: with_matrix(clients.read_text(encoding="utf-8")),
        architecture: with_tree(architecture.read_text(encoding="utf-8")),
    }
    for path, text in pages.items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_docs()
