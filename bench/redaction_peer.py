"""Another redactor behind a pipe: runs with the Python of its own environment, see `redaction.py`.

A line in is a list of texts; a line out is how long it took, in seconds, and the texts with what
was found replaced.
"""

import json
import sys
import time


def detect_secrets():
    """All plugins and filters that it uses by default, as it scans the lines of a file. (Its scan
    of a single line is eager: it also takes every unquoted word for a string.)"""
    from detect_secrets.core import scan
    from detect_secrets.settings import default_settings

    settings = default_settings()
    settings.__enter__()  # forgotten when the object is

    def masked(text, _settings=settings):
        lines = list(enumerate(text.split("\n"), 1))
        found = scan._process_line_based_plugins(lines, "body.txt")  # noqa: SLF001
        values = {secret.secret_value for secret in found}
        for value in sorted(values, key=len, reverse=True):
            text = text.replace(value, "[redacted]")
        return text

    return masked


def presidio():
    """The recognisers that work by pattern and check digit, each asked for all that it knows.
    Without its language models; findings below 0.3 are those that it wants context for."""
    import tldextract

    # Its list of domain endings would otherwise come from the network.
    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())
    from presidio_analyzer import predefined_recognizers as known

    names = (
        "EmailRecognizer CreditCardRecognizer IbanRecognizer UsSsnRecognizer PhoneRecognizer "
        "EsNifRecognizer EsNieRecognizer ItFiscalCodeRecognizer InAadhaarRecognizer NinoRecognizer"
    )
    recognizers = [getattr(known, name)() for name in names.split() if hasattr(known, name)]

    def masked(text):
        spans = []
        for one in recognizers:
            found = one.analyze(text, one.supported_entities, None)
            spans += [(r.start, r.end) for r in found if r.score >= 0.3]
        result, done = [], 0
        for start, end in sorted(spans):
            if start >= done:
                result += [text[done:start], "[redacted]"]
            done = max(done, end)
        return "".join([*result, text[done:]])

    return masked


def main():
    masked = {"detect-secrets": detect_secrets, "presidio-analyzer": presidio}[sys.argv[1]]()
    for line in sys.stdin:
        texts = json.loads(line)
        start = time.perf_counter()
        result = [masked(text) for text in texts]
        took_s = time.perf_counter() - start
        print(json.dumps([took_s, result]), flush=True)


if __name__ == "__main__":
    main()
