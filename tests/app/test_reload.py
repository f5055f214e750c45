"""The policy in force: where a new one comes from, and what happens to a bad one."""

import asyncio
import gc
import logging
import os
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.app.policy_source import SourceError, is_open_to_all, read_source
from proxy.app.reload import Loaded, PolicyKeeper, Tempo
from proxy.policy.compile import load_policy
from proxy.policy.document import MAX_DOCUMENT_BYTES
from proxy.policy.policy import Policy
from proxy.telemetry.redact import Redactor
from tests.fakes.clock import FakeClock
from tests.fakes.nobody import unprivileged

GOOD = "tools: {allowlist: [a], catalog: {a: {match: [{host: a.example}]}}}\n"
OTHER = "tools: {allowlist: [b], catalog: {b: {match: [{host: b.example}]}}}\n"
BAD = "tools: {allowlist: [a], nonsense: 1}\nbudgets: {max_tokens: -1}\n"
_FAST = Tempo(look_every_s=0.005, settle_s=0.002)


class Booth:
    """A file, a keeper over it, and what it did: `adopted`, `audited`, `told`."""

    def __init__(self, folder: Path, env: dict[str, str] | None = None) -> None:
        self.path = folder / "policy.yaml"
        self.path.write_text(GOOD)
        self.adopted: list[Policy] = []
        self.audited: list[dict[str, object]] = []
        self.told: list[dict[str, object]] = []
        env = env or {}
        policy = load_policy(GOOD, env=env)
        self.keeper = PolicyKeeper(
            self.path,
            env,
            Loaded(policy, Redactor(policy.observability.redact), GOOD.encode()),
            redactor_of=lambda one: Redactor(one.observability.redact),
            adopt=lambda one, _: self.adopted.append(one),
            clock=FakeClock(),
            audit=self.audited.append,
            tempo=_FAST,
        )
        self.keeper.subscribe(self.told.append)

    @property
    def version(self) -> str:
        return self.keeper.state.policy.version

    @property
    def trouble(self) -> str:
        failure = self.keeper.state.last_error
        return "" if failure is None else failure.detail

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        watching = asyncio.ensure_future(self.keeper.watch())
        try:
            yield
        finally:
            watching.cancel()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0.001)


@pytest.fixture
def booth(tmp_path: Path) -> Booth:
    return Booth(tmp_path)


async def test_a_changed_file_is_loaded(booth: Booth) -> None:
    """By itself, whole, once; the audit and the subscribers hear of it."""
    async with booth.watched():
        booth.path.write_text(OTHER)
        await booth.until(lambda: bool(booth.adopted))
        await asyncio.sleep(0.03)  # further looks find nothing new
    assert [list(policy.tools) for policy in booth.adopted] == [["b"]]
    state = booth.keeper.state
    assert (state.policy, state.text, state.source) == (booth.adopted[0], OTHER, "file")
    assert booth.keeper.results == {"ok": 1, "unchanged": 0, "failed": 0}
    assert [(e["action"], e["actor"], e["role"]) for e in booth.audited] == [
        ("policy.load", "file", "process")
    ]
    assert [(e["action"], e["version"]) for e in booth.told] == [("loaded", booth.version)]


async def test_a_bad_file_leaves_the_last_good_policy(booth: Booth) -> None:
    """Every error is shown, once for each content, until there is a good one again."""
    before = booth.version
    async with booth.watched():
        booth.path.write_text(BAD)
        await booth.until(lambda: bool(booth.trouble))
        await asyncio.sleep(0.03)
        assert booth.keeper.results["failed"] == 1, "the same content is not tried again"
        assert (booth.version, booth.adopted) == (before, [])
        failure = booth.keeper.state.last_error
        assert failure is not None
        assert [error.path for error in failure.errors] == ["tools.nonsense", "budgets.max_tokens"]
        booth.path.write_text(OTHER)
        await booth.until(lambda: bool(booth.adopted))
    assert booth.trouble == ""
    assert [event["action"] for event in booth.told] == ["failed", "loaded"]
    assert [(e["action"], e["outcome"]) for e in booth.audited] == [
        ("policy.load", "failed"), ("policy.load", "done"),
    ]  # fmt: skip
    assert booth.audited[1]["previous"] == before


async def test_a_policy_of_the_api_waits_for_its_audit(booth: Booth) -> None:
    """What may still say no is asked last, with the policy that would come into force."""
    asked: list[tuple[str, str]] = []

    async def refuse(policy: Policy) -> None:
        asked.append((policy.version, booth.version))
        raise RuntimeError

    before = booth.version
    with pytest.raises(RuntimeError):
        await booth.keeper.put(OTHER.encode(), lambda _: True, refuse)
    assert (booth.version, booth.adopted) == (before, [])
    assert asked == [(load_policy(OTHER).version, before)]
    assert booth.keeper.state.last_error is None


def _remove(path: Path) -> None:
    path.unlink()


def _make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _truncate(path: Path) -> None:
    path.write_text(" \n")


def _open_to_all(path: Path) -> None:
    path.write_text(OTHER)
    path.chmod(0o646)


def _grow(path: Path) -> None:
    path.write_text(GOOD + "#" * MAX_DOCUMENT_BYTES)


_SPOILED = [
    pytest.param(_remove, "no such file", id="a file that is gone"),
    pytest.param(_make_folder, "directory", id="a folder in its place"),
    pytest.param(_make_pipe, "not a regular file", id="a pipe in its place"),
    pytest.param(_truncate, "empty", id="an empty file"),
    pytest.param(_open_to_all, "every user", id="a file that anybody may write"),
    pytest.param(_grow, "1 MiB", id="a file too large"),
]


@pytest.mark.parametrize(("spoil", "word"), _SPOILED)
async def test_a_spoiled_file_is_not_loaded(
    booth: Booth, spoil: Callable[[Path], None], word: str
) -> None:
    """The last good policy stays, the reason is told once, and forgotten when all is well."""
    async with booth.watched():
        spoil(booth.path)
        await booth.until(lambda: bool(booth.trouble))
        await asyncio.sleep(0.03)
        assert word in booth.trouble
        assert booth.keeper.results == {"ok": 0, "unchanged": 0, "failed": 1}
        if booth.path.is_dir():
            booth.path.rmdir()
        elif booth.path.exists():
            booth.path.unlink()
        booth.path.write_text(GOOD)
        await booth.until(lambda: not booth.trouble)
    assert booth.adopted == []


@pytest.mark.parametrize(("spoil", "word"), _SPOILED)
def test_what_is_wrong_with_a_file_is_one_sentence(
    tmp_path: Path, spoil: Callable[[Path], None], word: str
) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(GOOD)
    assert read_source(path) == GOOD.encode()
    spoil(path)
    with pytest.raises(SourceError, match=word):
        read_source(path)
    assert is_open_to_all(path) == (spoil is _open_to_all)


def test_a_file_we_may_not_read(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(GOOD)
    path.chmod(0)
    with unprivileged(), pytest.raises(SourceError, match="permission denied"):
        read_source(path)


async def test_a_trouble_that_passes_leaves_the_older_one(booth: Booth) -> None:
    """A bad file that is gone for a moment is still a bad file."""
    async with booth.watched():
        booth.path.write_text(BAD)
        await booth.until(lambda: "2 errors" in booth.trouble)
        booth.path.unlink()
        await booth.until(lambda: "no such file" in booth.trouble)
        booth.path.write_text(BAD)
        await booth.until(lambda: "2 errors" in booth.trouble)


async def test_a_file_that_is_still_being_written_is_waited_for(
    booth: Booth, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each beginning of this file is a policy too; none of them was ever meant."""
    lines = [
        "tools:\n  allowlist: [a]\n",
        "  catalog:\n    a:\n      match: [{host: a.example}]\n",
        "  disabled: [a]\n",
    ]
    looks = ["".join(lines[:count]).encode() for count in (1, 2, 3, 3)]
    monkeypatch.setattr("proxy.app.reload.read_source", lambda _: looks.pop(0))
    await booth.keeper.look()
    assert [policy.disabled for policy in booth.adopted] == [frozenset({"a"})]
    assert looks == []


async def test_a_file_that_never_stands_still_is_left_for_later(
    booth: Booth, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = iter(range(10**6))
    monkeypatch.setattr(
        "proxy.app.reload.read_source", lambda _: (GOOD + f"# {next(numbers)}\n").encode()
    )
    await booth.keeper.look()
    assert booth.keeper.results == {"ok": 0, "unchanged": 0, "failed": 0}


async def test_a_config_map_is_followed_through_its_swap(booth: Booth, tmp_path: Path) -> None:
    """The path is a link to a link that is renamed over; the file's own times may be older."""
    for name, text in (("one", GOOD), ("two", OTHER)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "policy.yaml").write_text(text)
    os.utime(tmp_path / "two" / "policy.yaml", (1, 1))
    (tmp_path / "..data").symlink_to("one")
    booth.path.unlink()
    booth.path.symlink_to("..data/policy.yaml")
    async with booth.watched():
        await asyncio.sleep(0.03)
        assert (booth.adopted, booth.trouble) == ([], "")
        (tmp_path / "..new").symlink_to("two")
        (tmp_path / "..new").rename(tmp_path / "..data")
        await booth.until(lambda: bool(booth.adopted))
    assert list(booth.adopted[0].tools) == ["b"]


async def test_the_same_rules_in_other_words_swap_nothing(booth: Booth) -> None:
    """A comment must not have every idle connection judged again."""
    before = booth.keeper.state.policy
    booth.path.write_text("# a comment\n" + GOOD)
    await booth.keeper.look()
    state = booth.keeper.state
    assert (state.policy, booth.adopted) == (before, [])
    assert state.text.startswith("# a comment")
    assert booth.keeper.results["unchanged"] == 1


async def test_the_environment_wins_over_every_document(tmp_path: Path) -> None:
    booth = Booth(tmp_path, {"AGENT_MAX_STEPS": "7"})
    booth.path.write_text(OTHER + "runtime: {env: {AGENT_MAX_STEPS: 99}}\n")
    await booth.keeper.look()
    policy = await booth.keeper.put(GOOD.encode(), lambda _: True)
    assert [one.budgets.max_steps for one in (*booth.adopted, policy)] == [7, 7, 7]


async def test_what_the_api_put_in_force_stays_until_the_file_changes(booth: Booth) -> None:
    """A look at the same file takes nothing back; a change and SIGHUP do."""
    await booth.keeper.put(OTHER.encode(), lambda _: True)
    assert booth.keeper.state.source == "api"
    await booth.keeper.look()
    assert list(booth.keeper.state.policy.tools) == ["b"]
    await booth.keeper.reload()
    assert (booth.keeper.state.source, list(booth.keeper.state.policy.tools)) == ("file", ["a"])


async def test_many_signals_are_few_reloads(booth: Booth) -> None:
    """However often somebody asks while one is going on."""
    async with booth.watched():
        for number in range(50):
            booth.path.write_text(GOOD.replace("a.example", f"a{number}.example"))
            booth.keeper.ask()
        await booth.until(lambda: "a49" in booth.keeper.state.text)
    assert 1 <= len(booth.adopted) <= 3


async def test_a_bug_in_the_compiler_ends_nothing(
    booth: Booth, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The policy stays, and the file is followed on."""

    def fail(*_: object, **__: object) -> Policy:
        raise RecursionError

    async with booth.watched():
        with monkeypatch.context() as patch:
            patch.setattr("proxy.app.reload.load_policy", fail)
            booth.path.write_text(OTHER)
            await booth.until(lambda: bool(booth.trouble))
        booth.path.write_text(OTHER + "# once more\n")
        await booth.until(lambda: bool(booth.adopted))
    assert booth.trouble == ""


async def test_a_storm_of_reloads_leaves_no_memory_behind(
    booth: Booth, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three hundred, good and bad; what is left over would show as a slope."""
    monkeypatch.setattr(logging.getLogger("toolbooth"), "disabled", True)  # pytest keeps every line

    async def reload(count: int) -> None:
        for number in range(count):
            text = BAD if number % 3 == 2 else GOOD.replace("a.example", f"a{number % 20}.example")
            booth.path.write_text(text)
            await booth.keeper.reload()
            booth.adopted.clear()
            booth.told.clear()
            booth.audited.clear()

    await reload(30)
    gc.collect()
    tracemalloc.start()
    try:
        await reload(30)
        gc.collect()
        first, _ = tracemalloc.get_traced_memory()
        await reload(240)
        gc.collect()
        last, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert last - first < 100_000
