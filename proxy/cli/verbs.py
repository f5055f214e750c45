"""What every verb of the command line is made of: a parser, the common options, and a way to the
running sidecar."""

import argparse
from collections.abc import Callable
from typing import TypeAlias

from proxy.cli.client import ControlClient
from proxy.cli.exit_codes import BAD_USAGE, CommandError
from proxy.settings import ClientSettings, SettingsError, client_settings

Verb = Callable[[argparse.Namespace], int]
Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001


def add_verb(verbs: Verbs, name: str, verb: Verb, help_text: str) -> argparse.ArgumentParser:
    """The parser of one more verb."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        name, help=help_text, description=help_text, allow_abbrev=False
    )
    parser.set_defaults(verb=verb)
    return parser


def add_json(parser: argparse.ArgumentParser) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_control(parser: argparse.ArgumentParser, *, is_inner: bool = False) -> None:
    """The options of a verb that speaks to the sidecar. `is_inner`: the verb around it has the
    same options, whose values stay if not given here."""
    default = argparse.SUPPRESS if is_inner else None
    parser.add_argument(
        "--json",
        action="store_true",
        default=argparse.SUPPRESS if is_inner else False,
        help="print JSON",
    )
    parser.add_argument(
        "--control",
        metavar="ADDRESS",
        default=default,
        help="HOST:PORT or unix:PATH (TOOLBOOTH_CONTROL_LISTEN)",
    )
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        default=default,
        help="holds the control token (TOOLBOOTH_CONTROL_TOKEN_FILE)",
    )


def client_of(arguments: argparse.Namespace) -> ControlClient:
    """The control port that the arguments name, else the environment."""
    settings = client_settings()
    address, token = settings.control_listen, settings.control_token
    if arguments.control is not None:
        address = _named(
            "--control", {"TOOLBOOTH_CONTROL_LISTEN": arguments.control}
        ).control_listen
    if arguments.token_file is not None:
        given = {"TOOLBOOTH_CONTROL_TOKEN_FILE": arguments.token_file}
        token = _named("--token-file", given).control_token
    return ControlClient(address, token)


def _named(option: str, environ: dict[str, str]) -> ClientSettings:
    """What an option says, read as its variable is."""
    try:
        return client_settings(environ)
    except SettingsError as error:
        message = str(error).replace(next(iter(environ)), option)
        raise CommandError(message, BAD_USAGE) from None
