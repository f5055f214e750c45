import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.report.quantities import byte_text, count_text, ms_text, usd_text


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (count_text(0), "0"), (count_text(99_999), "99999"), (count_text(100_000), "100k"),
        (count_text(999_499), "999k"), (count_text(999_600), "1M"),
        (count_text(1_234_567), "1.23M"),
        (byte_text(0), "0 B"), (byte_text(999), "999 B"), (byte_text(1500), "1.5 kB"),
        (byte_text(999_999), "1 MB"), (byte_text(2_000_000_000), "2 GB"),
        (byte_text(10**15), "1000 TB"),
        (ms_text(None), "-"), (ms_text(0.04), "0.0ms"), (ms_text(0.96), "1.0ms"),
        (ms_text(12.4), "12ms"), (ms_text(999.4), "999ms"), (ms_text(999.6), "1.0s"),
        (ms_text(59_999), "60.0s"), (ms_text(99_960), "1m40s"), (ms_text(500_000), "8m20s"),
        (ms_text(7_200_000), "2h00m"),
        (usd_text(0), "0"), (usd_text(0.0012), "0.0012"), (usd_text(0.0000001), "0"),
        (usd_text(0.01), "0.01"), (usd_text(1.255), "1.25"), (usd_text(1234.5), "1234.50"),
        (usd_text(12_345), "12.3k"),
    ],
)  # fmt: skip
def test_quantities_in_few_characters(shown: str, text: str) -> None:
    assert shown == text


@given(st.integers(0, 10**14))
def test_no_count_takes_more_than_five_characters(count: int) -> None:
    assert len(count_text(count)) <= 5
