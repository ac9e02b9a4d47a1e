"""
Writes the parts of the documentation that the code knows better: `python docs/generate.py [--check]`.

A generated part stands between `<!-- generated: KIND ARGUMENTS -->` and `<!-- end -->`; everything around it is written
by hand. With `--check` nothing is written, and the exit code is 1 if anything is out of date.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from inspect import getdoc
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

import llmgate
from llmgate import errors
from llmgate.config.server import KeySettings, ServerSettings
from llmgate.config.settings import CallDefaults, HTTPSettings, PriceSettings, RouteSettings, Settings, Target
from llmgate.middleware.cache import MemoryTier, SqliteTier
from llmgate.providers.base import ModelInfo
from llmgate.providers.catalog import ROWS, Row
from llmgate.providers.http import HTTPProvider
from llmgate.simulation.scenario import Behaviour, Scenario, Traffic
from llmgate.types.units import format_duration, format_money, format_size

DOCS = Path(__file__).parent
ROOT = DOCS.parent
CORPUS: dict[str, Any] = json.loads((DOCS / "corpus.json").read_text())
"""What the test of recorded traffic found when it ran last."""
SDKS: dict[str, Any] = json.loads((DOCS / "sdks.json").read_text())
"""What the test of SDKs and frameworks found when it was last told to write."""
ROOMS_ARE_IN = ROOT / "tests" / "test_architecture.py"

PART = re.compile(r"(<!-- generated: (?P<said>[^>]+) -->\n)(?P<body>.*?)(<!-- end -->)", re.DOTALL)

MODELS: dict[str, type[BaseModel]] = {
    cls.__name__: cls
    for cls in (
        llmgate.Cache, llmgate.CircuitBreaker, llmgate.LoadBalance, llmgate.RateLimit, llmgate.Retry,
        llmgate.SingleFlight, llmgate.Timeouts, llmgate.Simulated, CallDefaults, HTTPProvider, HTTPSettings, MemoryTier,
        KeySettings, ModelInfo, PriceSettings, RouteSettings, ServerSettings, Settings, SqliteTier, Target,
        Behaviour, Scenario, Traffic,
    )
}  # fmt: skip
PYTHON_ONLY = {"name", "http_client", "async_http_client"}  # of a provider: not for configuration files


# Tables of options.


def options(name: str) -> Iterator[str]:
    """One row an option: name, what may be written there, default, meaning."""
    cls = MODELS[name]
    yield from table(
        ("option", "written", "default", "what it is"),
        (
            (f"`{field.alias or key}`", written(field), default(field), sentence(field.description))
            for key, field in cls.model_fields.items()
            if not (issubclass(cls, llmgate.Provider) and key in PYTHON_ONLY) and key != "kind"
        ),
    )


def sections() -> Iterator[str]:
    """One row a section of a configuration."""
    yield from table(
        ("section", "what it says"),
        ((f"`{key}`", sentence(field.description)) for key, field in Settings.model_fields.items()),
    )


UNITS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "duration": ("duration", format_duration),
    "size": ("size", format_size),
    "money": ("dollars", format_money),
}


def unit_of(field: FieldInfo) -> str | None:
    """Whether numbers of this field are seconds, bytes or dollars; what reads them is named for it."""
    said = repr(field.metadata) + repr(field.annotation)
    return next((unit for unit in UNITS if f"format_{unit}" in said), None)


def written(field: FieldInfo) -> str:
    unit = unit_of(field)
    return UNITS[unit][0] if unit else kind_of(field.annotation)


WORDS: dict[Any, str] = {
    bool: "true, false", int: "whole number", float: "number", str: "text", dict: "mapping", list: "list", tuple: "list",
    frozenset: "list",
}  # fmt: skip


def kind_of(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in inner)
    if hasattr(annotation, "__metadata__"):
        return kind_of(inner[0])
    if origin in (dict, list, tuple, frozenset):
        return WORDS[origin]
    if inner:
        kinds = (kind_of(choice) for choice in inner if choice is not NoneType)
        return " or ".join(dict.fromkeys(kinds))
    if annotation in WORDS:
        return WORDS[annotation]
    named = {"Secret": "text", "Rate": "rate", "Durations": "spread of durations", "Amount": "spread of numbers"}
    return named.get(getattr(annotation, "__name__", ""), "options")


def default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "-"
    unit = unit_of(field)
    if unit:
        return f"`{UNITS[unit][1](value)}`"
    match value:
        case "" | () | {} | []:
            return "-"
        case bool():
            return f"`{str(value).lower()}`"
        case frozenset():
            return ", ".join(f"`{item}`" for item in sorted(value))
        case tuple() if all(isinstance(item, str) for item in value):
            return ", ".join(f"`{item}`" for item in value)
        case tuple():
            return ", ".join(f"`{getattr(item, 'kind', '{}')}`" for item in value)
        case _:
            return f"`{value}`"


# The other tables.


def error_table() -> Iterator[str]:
    """One row a class of `llmgate.errors`, as its marks say."""

    def mark(value: bool) -> str:
        return "yes" if value else "-"

    yield from table(
        ("class", "`kind`", "`status`", "again", "elsewhere", "blame", "what happened"),
        (
            (f"`{'· ' * depth}{cls.__name__}`", f"`{cls.kind}`", str(cls.status), mark(cls.again), mark(cls.elsewhere),
             mark(cls.blame), first_line(cls))
            for depth, cls in error_tree(errors.GatewayError)
        ),
    )  # fmt: skip


def error_tree(cls: type[errors.GatewayError], depth: int = 0) -> Iterator[tuple[int, type[errors.GatewayError]]]:
    yield depth, cls
    for child in cls.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from error_tree(child, depth + 1)


ALIASES = {"Handler": "Everything that can answer a call: `Callable[[Call], Awaitable[Reply]]`."}


def names() -> Iterator[str]:
    """One row a name that `llmgate` promises."""
    yield from table(
        ("name", "what it is"),
        (
            (f"`llmgate.{name}`", ALIASES[name] if name in ALIASES else first_line(getattr(llmgate, name)))
            for name in llmgate.__all__
        ),
    )


def verbs(cls_name: str) -> Iterator[str]:
    """One row a public method or property."""
    cls = getattr(llmgate, cls_name)
    found = {name: member for base in reversed(cls.__mro__) for name, member in vars(base).items()}
    yield from table(
        ("name", "what it does"),
        (
            (f"`.{name}`", first_line(member.__func__ if isinstance(member, classmethod) else member))
            for name, member in found.items()
            if not name.startswith("_") and (callable(member) or isinstance(member, classmethod | property))
        ),
    )


def providers() -> Iterator[str]:
    """One row an upstream of the catalog."""
    yield from table(
        ("kind", "also written", "address", "key", "format", "read from", "checked"),
        (
            (
                f"`{row.name}`",
                ", ".join(f"`{alias}`" for alias in row.aliases) or "-",
                f"`{row.base_url}`" if row.base_url else "yours",
                " or ".join(f"`{name}`" for name in row.key_env) or "if yours wants one",
                f"`{row.dialect}`",
                f"[docs]({row.source})",
                row.checked,
            )
            for row in ROWS
        ),
    )


def abilities() -> Iterator[str]:
    """One row an upstream, one column a capability: recorded, documented, or not there."""
    seen = {kind: can.split() for kind, can in CORPUS["seen"].items()}

    def cell(row: Row, able: str) -> str:
        if row.capabilities is None:
            return "?"
        return "●" if able in seen.get(row.name, ()) else "○" if able in row.capabilities else ""

    yield from table(
        ("kind", *(f"`{able}`" for able in llmgate.ProviderCapability)),
        ((f"`{row.name}`", *(cell(row, able) for able in llmgate.ProviderCapability)) for row in ROWS),
    )


def capabilities() -> Iterator[str]:
    """One row a capability, with its name in code and its word in configurations."""
    yield from table(
        ("`llmgate.ProviderCapability`", "word"),
        ((f"`{able.name}`", f"`{able.value}`") for able in llmgate.ProviderCapability),
    )


def recorded() -> Iterator[str]:
    """One row a provider: of so many records of each kind so many are read and written as they should."""
    figures: dict[str, dict[str, str]] = CORPUS["figures"]
    pairs = [pair.split(" / ") for kinds in figures.values() for pair in kinds.values()]
    passed, found = (sum(int(pair[part]) for pair in pairs) for part in (0, 1))
    rows = [
        (provider, ", ".join(f"{kind} {pair}" for kind, pair in kinds.items())) for provider, kinds in figures.items()
    ]
    yield from table(("provider", "kind, as expected / records"), [*rows, ("**all**", f"**{passed} / {found}**")])


def sdks() -> Iterator[str]:
    """One row a package and those who answer it alike, one column for what was tried."""
    tried = list(next(iter(SDKS.values()))["answered"]["its own"])

    def cell(colours: str) -> str:
        return "●" if " " in colours else colours or "-"

    rows = []
    for name, one in SDKS.items():
        alike: dict[tuple[str, ...], list[str]] = {}
        for upstream, cells in one["answered"].items():
            alike.setdefault(tuple(cell(cells[what]) for what in tried), []).append(upstream)
        why = "; ".join(dict.fromkeys(one["lacks"].values())) or "-"
        rows += [(f"`{name}`", one["version"], ", ".join(by), *cells, why) for cells, by in alike.items()]
    yield from table(("package", "version", "answered by", *tried, "why not"), rows)


def departures() -> Iterator[str]:
    """One row a reason, with the records to which it applies."""
    reasons: dict[str, list[str]] = {}
    for id, reason in CORPUS["departures"].items():
        reasons.setdefault(reason, []).append(f"`{id}`")
    yield from table(("why", "records"), ((reason, ", ".join(ids)) for reason, ids in reasons.items()))


def room_names() -> list[str]:
    """The rooms in their order, from the test that holds them to it."""
    tree = ast.parse(ROOMS_ARE_IN.read_text())
    assigned = (node for node in tree.body if isinstance(node, ast.Assign))
    return list(next(ast.literal_eval(node.value) for node in assigned if ast.unparse(node.targets[0]) == "ROOMS"))


def rooms() -> Iterator[str]:
    """The order in which the rooms may import one another."""
    yield "```text"
    yield " ◂ ".join(room_names())
    yield "```"


def modules() -> Iterator[str]:
    """One row a module, by the first sentence of its docstring."""
    package = ROOT / "llmgate"
    files = sorted(package.rglob("*.py"), key=lambda path: path.relative_to(package).parts)
    order = [*room_names(), "testing"]

    def room(path: Path) -> str:
        return path.relative_to(package).parts[0].removesuffix(".py")

    yield from table(
        ("module", "what it is"),
        (
            (f"`{path.relative_to(package)}`", first_sentence(said))
            for name in order
            for path in files
            if room(path) == name and (said := ast.get_docstring(ast.parse(path.read_text())))
        ),
    )


# How it is put together.


KINDS: dict[str, Callable[..., Iterator[str]]] = {
    "options": options, "sections": sections, "errors": error_table, "names": names, "verbs": verbs,
    "providers": providers, "abilities": abilities, "capabilities": capabilities, "recorded": recorded, "sdks": sdks,
    "departures": departures, "rooms": rooms, "modules": modules,
}  # fmt: skip


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def sentence(text: str | None) -> str:
    return text or ""


def first_line(thing: Any) -> str:
    """The first paragraph of a docstring, on one line."""
    said = getdoc(thing) or ""
    return " ".join(said.partition("\n\n")[0].split())


def first_sentence(text: str) -> str:
    """The same, up to the first full stop."""
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return re.split(r"(?<=\.)\s", paragraph)[0].rstrip(".")


def generated(text: str) -> str:
    """The page with every generated part written anew."""

    def part(match: re.Match[str]) -> str:
        kind, *arguments = match["said"].split()
        return f"{match[1]}\n" + "\n".join(KINDS[kind](*arguments)) + f"\n\n{match[4]}"

    return PART.sub(part, text)


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the generated parts of the documentation.")
    parser.add_argument("--check", action="store_true", help="write nothing; say what is out of date")
    check = parser.parse_args(argv).check
    stale = [page for page in pages() if generated(page.read_text()) != page.read_text()]
    for page in stale:
        print(("out of date: " if check else "written: ") + str(page.relative_to(ROOT)))
        if not check:
            page.write_text(generated(page.read_text()))
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
