"""`python -m llmgate`: look at a configuration before production does, play with it, and serve it."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from .. import __version__
from ..config.json_schema import json_schema
from ..config.server import PEPPER, ServerSettings
from ..config.settings import settings_from_file
from ..errors import ConfigError, ModelNotFound
from ..policies.keyring import KEY_BYTES, Keyring, new_key
from . import simulating

__all__ = ["main"]

FINE, WRONG_CONFIGURATION, WRONG_COMMAND = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run one command.

    Returns:
        0 if all is well, 1 if the configuration has errors, 2 if the command was wrong.
    """
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
        return code
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_CONFIGURATION if Path(arguments.file).is_file() else WRONG_COMMAND
    except ModelNotFound as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_COMMAND


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="llmgate", description="An LLM gateway that lives inside your program.")
    parser.add_argument("--version", action="version", version=f"llmgate {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    check = commands.add_parser("check", help="find what is wrong with a configuration, and its worst case")
    check.add_argument("file", help="YAML, JSON or TOML")
    check.add_argument("--tokens", type=_count, default=1000, help="length of the prompt for the worst case (1000)")
    check.add_argument("--json", action="store_true", help="print JSON")
    check.set_defaults(run=_check)

    explain = commands.add_parser("explain", help="tell what will happen to a call, step by step")
    explain.add_argument("file", help="YAML, JSON or TOML")
    explain.add_argument("--route", help="one route, or provider/model; by default every route")
    explain.add_argument("--stream", action="store_true", help="for a streamed answer")
    explain.set_defaults(run=_explain)

    serve = commands.add_parser("serve", help="answer HTTP requests, for other languages")
    serve.add_argument("file", help="YAML, JSON or TOML")
    serve.add_argument("--host", help="address to listen on, in place of server.host")
    serve.add_argument("--port", type=int, help="in place of server.port; 0: any that is free")
    serve.set_defaults(run=_serve)

    key = commands.add_parser("key", help="make a key for callers of the server, and its hash for the configuration")
    key.add_argument("file", nargs="?", default="", help="the configuration, if it holds the pepper")
    key.set_defaults(run=_key)

    simulating.add(commands)

    schema = commands.add_parser("schema", help="print the JSON Schema of a configuration, for editors")
    schema.add_argument("--scenario", action="store_true", help="that of a scenario for simulate")
    schema.set_defaults(run=_schema)
    return parser


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("expected a number above 0")
    return count


def _check(arguments: argparse.Namespace) -> int:
    from .check import checked

    report = checked(settings_from_file(arguments.file), tokens=arguments.tokens)
    if arguments.json:
        print(json.dumps(asdict(report), indent=2, default=str))
    else:
        print("\n".join(report.lines()))
    return WRONG_CONFIGURATION if report.errors else FINE


def _explain(arguments: argparse.Namespace) -> int:
    from .explain import told
    from .imagining import lenient

    pipeline, missing = lenient(settings_from_file(arguments.file))
    names = [arguments.route] if arguments.route else list(pipeline.settings.routes)
    if not names:
        print("there are no routes; name a provider/model with --route")
    for at, name in enumerate(names):
        steps = told(pipeline, name, stream=arguments.stream)
        print("\n" * (at > 0) + name)
        print("\n".join(f"  {step}" for step in steps))
    for provider, text in missing.items():
        print(f"\nproviders.{provider}: {text}", file=sys.stderr)
    return FINE


def _serve(arguments: argparse.Namespace) -> int:
    from ..gateway import Gateway
    from .serving import server

    settings = settings_from_file(arguments.file)
    said = {name: getattr(arguments, name) for name in ("host", "port") if getattr(arguments, name) is not None}
    served = (settings.server or ServerSettings()).model_copy(update=said)
    running = server(Gateway(settings), served, lambda url: print(f"llmgate listens on {url}", flush=True))
    running.run()
    return FINE if running.started else WRONG_CONFIGURATION


def _key(arguments: argparse.Namespace) -> int:
    settings = settings_from_file(arguments.file).server if arguments.file else None
    try:
        pepper = (settings or ServerSettings()).find_pepper().reveal()
    except ConfigError:
        pepper = secrets.token_hex(KEY_BYTES)
        print(f"pepper: {pepper}    (there is none yet; set it as {PEPPER} wherever the server runs)")
    key = new_key(secrets.token_bytes)
    print(f"key:    {key}    (for the caller; it is kept nowhere)")
    print(f"hash:   {Keyring.hash_of(pepper, key)}    (for server.keys)")
    return FINE


def _schema(arguments: argparse.Namespace) -> int:
    if arguments.scenario:
        from ..simulation import scenario_schema

        print(json.dumps(scenario_schema(), indent=2))
    else:
        print(json.dumps(json_schema(), indent=2))
    return FINE
