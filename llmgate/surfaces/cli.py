"""`python -m llmgate`: look at a configuration before production does."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from .. import __version__
from ..config.json_schema import json_schema
from ..config.loading import load_file
from ..config.settings import settings_from
from ..errors import GatewayError

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run one command.

    Returns:
        0 if all is well, 1 if the configuration has errors, 2 if the command was wrong.
    """
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments)  # type: ignore[no-any-return]
    except GatewayError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="llmgate", description="An LLM gateway that lives inside your program.")
    parser.add_argument("--version", action="version", version=f"llmgate {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    check = commands.add_parser("check", help="find what is wrong with a configuration, and its worst case")
    check.add_argument("file", help="YAML, JSON or TOML")
    check.add_argument("--tokens", type=int, default=1000, help="length of the prompt for the worst case (1000)")
    check.add_argument("--json", action="store_true", help="print JSON")
    check.set_defaults(run=_check)

    explain = commands.add_parser("explain", help="tell what will happen to a call, step by step")
    explain.add_argument("file", help="YAML, JSON or TOML")
    explain.add_argument("--route", help="one route, or provider/model; by default every route")
    explain.add_argument("--stream", action="store_true", help="for a streamed answer")
    explain.set_defaults(run=_explain)

    schema = commands.add_parser("schema", help="print the JSON Schema of a configuration, for editors")
    schema.set_defaults(run=_schema)
    return parser


def _check(arguments: argparse.Namespace) -> int:
    from .check import checked

    report = checked(settings_from(load_file(arguments.file)), tokens=arguments.tokens)
    if arguments.json:
        print(json.dumps(asdict(report), indent=2, default=str))
    else:
        print("\n".join(report.lines()))
    return 1 if report.errors else 0


def _explain(arguments: argparse.Namespace) -> int:
    from .check import lenient
    from .explain import told

    pipeline, _ = lenient(settings_from(load_file(arguments.file)))
    names = [arguments.route] if arguments.route else list(pipeline.settings.routes)
    for at, name in enumerate(names):
        print("\n" * (at > 0) + f"{name}")
        print("\n".join(f"  {step}" for step in told(pipeline, name, stream=arguments.stream)))
    return 0


def _schema(arguments: argparse.Namespace) -> int:
    print(json.dumps(json_schema(), indent=2))
    return 0
