"""`python -m llmgate simulate`: a configuration through a scenario, before production does that to it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ..config.settings import settings_from_file
from ..errors import ConfigError

__all__ = ["add"]


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    parser = commands.add_parser("simulate", help="play a scenario with a configuration, on virtual time")
    parser.add_argument("file", nargs="?", default="", help="YAML, JSON or TOML")
    parser.add_argument("--scenario", default="steady", help="a file, or the name of one that comes along (steady)")
    parser.add_argument("--against", default="", help="another configuration, to be compared with")
    parser.add_argument("--seed", type=int, default=0, help="of all chance (0)")
    parser.add_argument("--json", metavar="FILE", help="write the report as JSON; - prints it")
    parser.add_argument("--html", metavar="FILE", help="write the report as one page with plots")
    parser.add_argument("--list", action="store_true", help="list the scenarios that come along")
    parser.set_defaults(run=_simulate)


def _simulate(arguments: argparse.Namespace) -> int:
    # A door to a neighbour: it is opened when somebody comes.
    from ..simulation import find_scenario, shipped, simulate
    from ..simulation.page import page
    from ..simulation.terminal import compared, lines

    if arguments.list:
        names = shipped()
        width = max(map(len, names))
        print("\n".join(f"{name:<{width}}  {find_scenario(name).about}" for name in names))
        return 0
    if not arguments.file:
        raise ConfigError("name a configuration to simulate, or --list the scenarios")
    scenario = find_scenario(arguments.scenario)
    files = [arguments.file, arguments.against] if arguments.against else [arguments.file]
    reports = [simulate(settings_from_file(file), scenario, arguments.seed) for file in files]
    told: Any = [report.model_dump(mode="json") for report in reports]
    whole = told[0] if len(told) == 1 else {"configuration": told[0], "against": told[1]}
    written = json.dumps(whole, indent=2) + "\n"
    if arguments.json == "-":
        print(written, end="")
    else:
        print(
            "\n".join(
                lines(reports[0]) if len(reports) == 1 else compared(reports[0], reports[1], (files[0], files[1]))
            )
        )
        if arguments.json:
            _write(arguments.json, written)
    if arguments.html:
        _write(arguments.html, page(list(zip(files, reports, strict=True))))
    return 0


def _write(file: str, text: str) -> None:
    try:
        Path(file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror or type(error).__name__}") from None
