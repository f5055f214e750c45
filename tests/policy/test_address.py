from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.address import (
    Address,
    NumericSpelling,
    address_class,
    judge_address,
    judge_literal,
    literal_address,
)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("0.0.0.0", "unspecified"),
        ("0.0.0.1", "this_network"),
        ("0.255.255.255", "this_network"),
        ("1.0.0.0", "public"),
        ("9.255.255.255", "public"),
        ("10.0.0.0", "private"),
        ("10.255.255.255", "private"),
        ("11.0.0.0", "public"),
        ("100.63.255.255", "public"),
        ("100.64.0.0", "cgnat"),
        ("100.100.100.200", "metadata"),
        ("100.100.100.201", "cgnat"),
        ("100.127.255.255", "cgnat"),
        ("100.128.0.0", "public"),
        ("126.255.255.255", "public"),
        ("127.0.0.0", "loopback"),
        ("127.255.255.255", "loopback"),
        ("128.0.0.0", "public"),
        ("168.63.129.15", "public"),
        ("168.63.129.16", "metadata"),
        ("168.63.129.17", "public"),
        ("169.253.255.255", "public"),
        ("169.254.0.0", "link_local"),
        ("169.254.169.253", "link_local"),
        ("169.254.169.254", "metadata"),
        ("169.254.170.2", "metadata"),
        ("169.254.255.255", "link_local"),
        ("169.255.0.0", "public"),
        ("172.15.255.255", "public"),
        ("172.16.0.0", "private"),
        ("172.31.255.255", "private"),
        ("172.32.0.0", "public"),
        ("191.255.255.255", "public"),
        ("192.0.0.0", "reserved"),
        ("192.0.0.192", "metadata"),
        ("192.0.0.255", "reserved"),
        ("192.0.1.0", "public"),
        ("192.0.2.0", "documentation"),
        ("192.0.3.0", "public"),
        ("192.88.98.255", "public"),
        ("192.88.99.1", "reserved"),
        ("192.88.100.0", "public"),
        ("192.167.255.255", "public"),
        ("192.168.0.0", "private"),
        ("192.168.255.255", "private"),
        ("192.169.0.0", "public"),
        ("198.17.255.255", "public"),
        ("198.18.0.0", "benchmarking"),
        ("198.19.255.255", "benchmarking"),
        ("198.20.0.0", "public"),
        ("198.51.99.255", "public"),
        ("198.51.100.0", "documentation"),
        ("198.51.101.0", "public"),
        ("203.0.112.255", "public"),
        ("203.0.113.255", "documentation"),
        ("203.0.114.0", "public"),
        ("223.255.255.255", "public"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("240.0.0.0", "reserved"),
        ("255.255.255.254", "reserved"),
        ("255.255.255.255", "broadcast"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::2", "ipv4_compatible:this_network"),
        ("::127.0.0.1", "ipv4_compatible:loopback"),
        ("::8.8.8.8", "ipv4_compatible"),
        ("::ffff:8.8.8.8", "public"),
        ("::ffff:127.0.0.1", "ipv4_mapped:loopback"),
        ("::ffff:169.254.169.254", "ipv4_mapped:metadata"),
        ("::ffff:0:127.0.0.1", "ipv4_translated:loopback"),
        ("::ffff:0:8.8.8.8", "ipv4_translated"),
        ("64:ff9b::8.8.8.8", "public"),
        ("64:ff9b::10.0.0.1", "nat64:private"),
        ("64:ff9b::1:a00:1", "reserved"),
        ("64:ff9b:1::8.8.8.8", "nat64_local:unspecified"),
        ("64:ff9b:1::127.0.0.1", "nat64_local:loopback"),
        ("64:ff9b:1:a00:0:100::", "nat64_local:unspecified"),
        ("64:ff9b:1:808:8:800:808:808", "nat64_local"),
        ("64:ff9b:2::1", "reserved"),
        ("100::1", "reserved"),
        ("1fff:ffff::", "reserved"),
        ("2000::", "public"),
        ("2001::1", "teredo:reserved"),
        ("2001:0:808:808::f7f7:f7f7", "teredo"),
        ("2001:0:808:808::80ff:fffe", "teredo:loopback"),
        ("2001:1::1", "reserved"),
        ("2001:1ff:ffff::", "reserved"),
        ("2001:200::", "public"),
        ("2001:db7:ffff::", "public"),
        ("2001:db8::1", "documentation"),
        ("2001:db9::", "public"),
        ("2002:7f00:1::", "6to4:loopback"),
        ("2002:808:808::1", "6to4"),
        ("2003::", "public"),
        ("2600::5efe:10.0.0.1", "isatap:private"),
        ("2600::200:5efe:10.0.0.1", "isatap:private"),
        ("2600::5efe:8.8.8.8", "public"),
        ("2606:4700::1111", "public"),
        ("3ffe:ffff::", "public"),
        ("3fff::1", "documentation"),
        ("3fff:1000::", "public"),
        ("4000::", "reserved"),
        ("5f00::1", "reserved"),
        ("fbff:ffff::", "reserved"),
        ("fc00::", "private"),
        ("fd00:ec1::254", "private"),
        ("fd00:ec2::254", "metadata"),
        ("fd00:ec3::254", "private"),
        ("fd20:ce::254", "metadata"),
        ("fdff::1", "private"),
        ("fe00::", "reserved"),
        ("fe80::1", "link_local"),
        ("fe80::1%eth0", "link_local"),
        ("febf:ffff::", "link_local"),
        ("fec0::1", "private"),
        ("ff02::1", "multicast"),
    ],
)
def test_class_of_an_address(text: str, kind: str) -> None:
    address = ip_address(text)
    assert address_class(address) == kind
    assert judge_address(address, ()) == (None if kind == "public" else kind)


_PRIVATE_NETWORKS = [
    IPv4Network("10.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv4Network("127.0.0.0/8"),
    IPv4Network("100.64.0.0/10"),
    IPv4Network("169.254.0.0/16"),
    IPv4Network("224.0.0.0/4"),
    IPv4Network("0.0.0.0/8"),
    IPv4Network("168.63.129.16/32"),
]
_EMBEDDINGS = {
    "mapped": lambda v4: 0xFFFF << 32 | v4,
    "translated": lambda v4: 0xFFFF << 48 | v4,
    "compatible": lambda v4: v4,
    "nat64": lambda v4: 0x64FF9B << 96 | v4,
    "nat64 local /96": lambda v4: 0x64FF9B0001 << 80 | v4,
    "nat64 local /48": lambda v4: 0x64FF9B0001 << 80 | v4 >> 16 << 64 | (v4 & 0xFFFF) << 40,
    "6to4": lambda v4: 0x2002 << 112 | v4 << 80 | 1,
    "teredo client": lambda v4: 0x2001 << 112 | 0x08080808 << 64 | v4 ^ 0xFFFFFFFF,
    "teredo server": lambda v4: 0x2001 << 112 | v4 << 64 | 0xF7F7F7F7,
    "isatap": lambda v4: 0x2600 << 112 | 0x5EFE << 32 | v4,
    "isatap unique": lambda v4: 0x2600 << 112 | 0x02005EFE << 32 | v4,
}


@given(
    st.sampled_from(_PRIVATE_NETWORKS).flatmap(
        lambda network: st.integers(int(network.network_address), int(network.broadcast_address))
    ),
    st.sampled_from(sorted(_EMBEDDINGS)),
)
def test_no_embedding_hides_an_address_that_is_not_public(number: int, embedding: str) -> None:
    wrapped = IPv6Address(_EMBEDDINGS[embedding](number))
    assert judge_address(IPv4Address(number), ()) is not None
    assert judge_address(wrapped, ()) is not None


@given(st.ip_addresses(v=6))
def test_outside_global_unicast_only_wrapped_public_ipv4_is_public(address: IPv6Address) -> None:
    if judge_address(address, ()) is None and int(address) >> 125 != 1:
        assert address in ip_network("64:ff9b::/96") or address.ipv4_mapped is not None


@pytest.mark.parametrize(
    ("text", "allow", "verdict"),
    [
        pytest.param("10.1.2.3", "10.1.0.0/16", None, id="a network opens its addresses"),
        pytest.param("10.2.0.0", "10.1.0.0/16", "private", id="and not its neighbour"),
        pytest.param("::ffff:10.1.2.3", "10.1.0.0/16", None, id="also in mapped form"),
        pytest.param("64:ff9b::a01:203", "10.1.0.0/16", "nat64:private", id="not through NAT64"),
        pytest.param("64:ff9b::a01:203", "64:ff9b::/96", None, id="unless that is opened itself"),
        pytest.param("::1", "::1/128", None, id="loopback on purpose"),
        pytest.param("169.254.169.254", "169.254.0.0/16", "metadata", id="metadata stays closed"),
        pytest.param("169.254.169.254", "0.0.0.0/0", "metadata", id="even when all is opened"),
        pytest.param("169.254.169.254", "169.254.169.254/31", "metadata", id="a /31 is not exact"),
        pytest.param("169.254.169.254", "169.254.169.254/32", None, id="its exact address opens"),
        pytest.param(
            "::ffff:169.254.169.254", "169.254.169.254/32", None, id="also in mapped form, exactly"
        ),
        pytest.param(
            "::ffff:169.254.169.254", "::/0", "ipv4_mapped:metadata", id="mapped metadata is closed"
        ),
        pytest.param("fd00:ec2::254", "fd00::/8", "metadata", id="IPv6 metadata stays closed"),
        pytest.param("fd00:ec2::254", "fd00:ec2::254/128", None, id="IPv6 metadata, exactly"),
        pytest.param(
            "64:ff9b::a9fe:a9fe", "64:ff9b::/96", "nat64:metadata", id="metadata through NAT64"
        ),
    ],
)
def test_allow_addresses(text: str, allow: str, verdict: str | None) -> None:
    assert judge_address(ip_address(text), (ip_network(allow, strict=False),)) == verdict


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("example.com", None),
        ("1.example.com", None),
        ("example.c0m", None),
        ("0x.example", None),
        ("127.0.0.1.example", None),
        ("example.0xg", None),
        ("7z", None),
        ("127.0.0.1", IPv4Address("127.0.0.1")),
        ("::1", IPv6Address("::1")),
        ("2130706433", NumericSpelling(IPv4Address("127.0.0.1"))),
        ("0x7f000001", NumericSpelling(IPv4Address("127.0.0.1"))),
        ("0x7f.1", NumericSpelling(IPv4Address("127.0.0.1"))),
        ("0177.0.0.1", NumericSpelling(IPv4Address("127.0.0.1"))),
        ("017700000001", NumericSpelling(IPv4Address("127.0.0.1"))),
        ("127.1", NumericSpelling(IPv4Address("127.0.0.1"))),
        ("10.256", NumericSpelling(IPv4Address("10.0.1.0"))),
        ("127.000.000.001", NumericSpelling(IPv4Address("127.0.0.1"))),
        ("0300.0250.0.1", NumericSpelling(IPv4Address("192.168.0.1"))),
        ("0", NumericSpelling(IPv4Address("0.0.0.0"))),
        ("0x", NumericSpelling(IPv4Address("0.0.0.0"))),
        ("4294967295", NumericSpelling(IPv4Address("255.255.255.255"))),
        ("4294967296", NumericSpelling(None)),
        ("1.2.3.4.5", NumericSpelling(None)),
        ("1.2.3.256", NumericSpelling(None)),
        ("256.1", NumericSpelling(None)),
        ("09.1", NumericSpelling(None)),
        ("a.1", NumericSpelling(None)),
        ("example.123", NumericSpelling(None)),
        ("1..2", NumericSpelling(None)),
        ("9" * 200, NumericSpelling(None)),
        ("fe80::1%eth0", NumericSpelling(None)),
        ("1:2", NumericSpelling(None)),
    ],
)
def test_literals_names_and_numbers_in_disguise(
    host: str, expected: Address | NumericSpelling | None
) -> None:
    assert literal_address(host) == expected


@pytest.mark.parametrize(
    ("host", "verdict"),
    [
        pytest.param("example.com", None, id="a name is judged later"),
        pytest.param("8.8.8.8", None, id="a public address may be dialled"),
        pytest.param("10.0.0.1", "private", id="a private one may not"),
        pytest.param("127.1", "numeric spelling of loopback", id="a spelling is named"),
        pytest.param("134744072", "numeric spelling of public", id="and refused even if public"),
        pytest.param("1.2.3.4.5", "malformed address", id="what is nothing is refused"),
    ],
)
def test_judge_literal(host: str, verdict: str | None) -> None:
    assert judge_literal(host, ()) == verdict


def test_no_opening_helps_a_numeric_spelling() -> None:
    assert judge_literal("127.1", (ip_network("127.0.0.0/8"),)) is not None
