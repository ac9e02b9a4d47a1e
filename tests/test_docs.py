"""The documentation tells the truth: its code runs, its configurations load, its links lead somewhere, its tables are current."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import importlib.util
import inspect
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import llmgate
from llmgate.config.loading import load_yaml
from llmgate.config.settings import Settings, settings_from

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]

BLOCK = re.compile(
    r"^(?P<mark><!-- (?:no-run|needs: (?P<needs>\w+)) -->\n)?```(?P<language>\w*)\n(?P<code>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<to>[^)\s]+)\)")
HEADING = re.compile(r"^#+ (?P<title>.+)$", re.MULTILINE)
PROMISED = re.compile(r"`llmgate\.(?P<name>[A-Z]\w*)")

# Where a page names a real provider without a key of its own, a simulated one answers for it.
REAL = re.compile(r'"(openai|anthropic|groq|mistral)": \{\}')
PRETENDED = r'"\1": {"kind": "simulated"}'


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


@dataclass
class Block:
    """
    A block of code in a page.

    Attributes:
        run: Whether the test of its page runs it.
        prints: The `text` block right behind it, if there is one.
        needs: The package without which it cannot run; another test runs it if that is there.
    """

    language: str
    code: str
    line: int
    run: bool
    prints: str | None = None
    needs: str | None = None


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text()
    found: list[Block] = []
    end = 0
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("code")) + 1
        if match["language"] == "text" and found and not text[end : match.start()].strip():
            found[-1].prints = match["code"]
        found.append(Block(match["language"], match["code"], line, match["mark"] is None, needs=match["needs"]))
        end = match.end()
    return found


# Code.


@every_page
def test_code_runs_and_prints_what_the_page_says(page: Path, tmp_path: Path) -> None:
    """
    The Python blocks of a page run one after the other, and print what stands behind them.
    """
    names: dict[str, Any] = {"__name__": "page"}
    (tmp_path / "llmgate.yaml").write_text((ROOT / "examples" / "llmgate.yaml").read_text())

    with contextlib.chdir(tmp_path):
        for block in blocks_of(page):
            if block.language != "python" or not block.run:
                continue
            printed = run(block, page, names)
            if block.prints is not None:
                assert like(block.prints).fullmatch(printed), f"{name_of(page)}:{block.line} prints\n{printed}"
        for value in names.values():
            if isinstance(value, llmgate.Gateway):
                value.close()


def run(block: Block, page: Path, names: dict[str, Any]) -> str:
    """Run a block, which may await something, and tell what it printed."""
    source = "\n" * (block.line - 1) + REAL.sub(PRETENDED, block.code)
    code = compile(source, name_of(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        if code.co_flags & inspect.CO_COROUTINE:
            asyncio.run(eval(code, names))
        else:
            exec(code, names)
    return printed.getvalue()


def like(expected: str) -> re.Pattern[str]:
    """What a page says is printed; `…` stands for anything, and a missing end of line for none."""
    parts = (re.escape(part) for part in expected.removesuffix("\n").split("…"))
    return re.compile(".*".join(parts) + r"\n?", re.DOTALL)


def test_the_check_of_what_is_printed_sees_a_difference() -> None:
    """
    A page that says something else is found out; three dots stand for anything.
    """
    assert like("one … three\n").fullmatch("one two three\n")
    assert not like("one two\n").fullmatch("one three\n")
    assert not like("one\n").fullmatch("one\ntwo\n")


# Configurations.


class AnyVariable(dict[str, str]):
    """An environment in which everything is set."""

    def get(self, name: str, default: Any = None) -> str:
        return "sk-not-a-key"


def configurations() -> Iterator[Any]:
    for page in PAGES:
        for block in blocks_of(page):
            if block.language == "yaml" and block.run:
                yield pytest.param(block.code, id=f"{name_of(page)}:{block.line}")


@pytest.mark.parametrize("text", [*configurations()])
def test_configurations_load(text: str) -> None:
    """
    Every YAML block is a configuration, whole or in part, and is accepted.
    """
    raw = load_yaml(text)

    assert set(raw) <= set(Settings.model_fields)
    assert isinstance(settings_from(raw, AnyVariable()), Settings)


# Links, names, tables.


def slug(title: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {slug(match["title"]) for match in HEADING.finditer(page.read_text())}


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    """
    A link to another page finds the page, and the heading in it.
    """
    lost = []
    for match in LINK.finditer(BLOCK.sub("", page.read_text())):
        place, _, anchor = match["to"].partition("#")
        if place.startswith(("https://", "http://")):
            continue
        target = (page.parent / place).resolve() if place else page
        if not (target.exists() and (not anchor or anchor in anchors(target))):
            lost.append(match["to"])

    assert [] == lost


def test_every_page_is_found_from_the_first() -> None:
    """
    The index links to every page.
    """
    linked = {
        (DOCS / match["to"].partition("#")[0]).resolve() for match in LINK.finditer((DOCS / "index.md").read_text())
    }

    assert [] == [name_of(page) for page in DOCS.rglob("*.md") if page not in linked and page.name != "index.md"]


@every_page
def test_names_are_promised_names(page: Path) -> None:
    """
    A page that writes `llmgate.Name` writes a name that is there.
    """
    assert [] == [name for name in PROMISED.findall(page.read_text()) if name not in llmgate.__all__]


def generator() -> Any:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_parts_are_current() -> None:
    """
    What is written from the code is what the code says now; if not, `python docs/generate.py` writes it.
    """
    generate = generator()

    assert [] == [
        name_of(page) for page in generate.pages() if generate.generated(page.read_text()) != page.read_text()
    ]


CARD = ["What it does", "Options", "Raises", "Notes", "Where it stands and why", "State it keeps"]


def cards() -> list[str]:
    found = (getattr(llmgate, name) for name in llmgate.__all__)
    middleware = llmgate.Middleware
    return [
        cls.__name__ for cls in found if isinstance(cls, type) and issubclass(cls, middleware) and cls is not middleware
    ]


@pytest.mark.parametrize("name", cards())
def test_every_middleware_has_its_card(name: str) -> None:
    """
    Each built-in middleware has a page with the same headings and a table of all its options.
    """
    text = (DOCS / "middleware" / f"{re.sub('(?<=[a-z])(?=[A-Z])', '_', name).lower()}.md").read_text()

    assert CARD == [match["title"] for match in HEADING.finditer(text) if match[0].startswith("## ")]
    assert f"<!-- generated: options {name} -->" in text


# The README.


README = ROOT / "README.md"
COMMANDS = re.compile(r"^python3 -m venv .*$", re.MULTILINE)


def test_the_first_call_is_short() -> None:
    """
    The first call of the README has at most twelve lines; that it runs is tested with the other pages.
    """
    first = next(block for block in blocks_of(README) if block.language == "python")

    assert first.code.count("\n") <= 12


def test_the_readme_tests_as_continuous_integration_does() -> None:
    """
    The command that installs and tests is, apart from paths and quietness, what runs before anything lands.
    """
    _, second = COMMANDS.findall(README.read_text())
    steps = [
        step.removeprefix(".venv/bin/").replace("pip install -q", "python -m pip install --quiet")
        for step in second.split(" && ")
    ]
    ci = (ROOT / ".ci" / "run").read_text().splitlines()

    assert ["python3 -m venv .venv", *(step for step in steps[1:] if step in ci)] == steps


def test_the_readme_runs_the_quickstart() -> None:
    """
    The command for the curious runs an example that is there.
    """
    first, _ = COMMANDS.findall(README.read_text())

    assert first.endswith(".venv/bin/python examples/quickstart.py")
    assert (ROOT / "examples" / "quickstart.py").exists()
