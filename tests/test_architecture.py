"""The house keeps to its plan: imports run one way, policies wait for nothing, importing does nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "llmgate"

# Each room may import from itself and from those before it.
ROOMS = (
    "errors", "types", "policies", "dialects", "runtime", "stores", "middleware", "providers", "telemetry",
    "config", "gateway", "surfaces", "simulation",
)  # fmt: skip
LEVEL = {room: level for level, room in enumerate(ROOMS)} | {
    "stores": ROOMS.index("runtime"),
    "simulation": ROOMS.index("surfaces"),
}
# A surface is opened by the gateway's own method, at the moment somebody calls it; never while it is imported.
DOORS = {("gateway", "surfaces")}
OUTSIDE = {"__init__", "__main__", "testing"}  # greets, starts and tests the house; lives in no room of it

MODULES = sorted(PACKAGE.rglob("*.py"))
VENDORS = ("openai", "anthropic", "azure", "groq", "mistral", "gemini", "deepseek", "openrouter")


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> Iterator[tuple[int, str, bool]]:
    """The rooms that a module imports when it runs, and whether at its top; what only type checkers see is no dependency."""
    depth = len(path.relative_to(PACKAGE).parts)
    tree = ast.parse(path.read_text())
    for node in runtime_nodes(tree):
        if isinstance(node, ast.ImportFrom) and node.level and node.level == depth:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            yield from ((node.lineno, name.partition(".")[0], node in tree.body) for name in names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("llmgate"):
            yield node.lineno, node.module.split(".")[1] if "." in node.module else "__init__", node in tree.body


def runtime_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from runtime_nodes(node)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    """
    A room imports only from rooms before it.
    """
    room = room_of(path)
    if room in OUTSIDE:
        return
    wrong = [
        f"line {line}: {room} imports {other}"
        for line, other, at_top in imports_of(path)
        if other in LEVEL and LEVEL[other] > LEVEL[room] and (at_top or (room, other) not in DOORS)
    ]

    assert [] == wrong


@pytest.mark.parametrize("path", [p for p in MODULES if room_of(p) == "policies"], ids=lambda path: path.stem)
def test_policies_never_wait(path: Path) -> None:
    """
    A policy has no coroutine, no clock, no hidden chance and no vendor's name in its code.
    """
    tree = ast.parse(path.read_text())
    nodes = list(ast.walk(tree))
    called = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
    imported = {alias.name.partition(".")[0] for node in nodes if isinstance(node, ast.Import) for alias in node.names}

    assert not [node for node in nodes if isinstance(node, ast.AsyncFunctionDef | ast.Await)]
    assert not called & {"time.monotonic", "time.time", "time.perf_counter", "datetime.now", "random.random", "open"}
    assert not imported & {"asyncio", "socket", "httpx2", "requests"}


@pytest.mark.parametrize("path", [p for p in MODULES if room_of(p) == "middleware"], ids=lambda path: path.stem)
def test_middleware_knows_no_vendor(path: Path) -> None:
    """
    No middleware's code names a vendor.
    """
    names = {node.id.lower() for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
    texts = {
        node.value.lower()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 40
    }

    assert not [(vendor, name) for vendor in VENDORS for name in names | texts if vendor in name]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_keeps_state(path: Path) -> None:
    """
    Nothing that stands at the top of a module is ever written to.
    """
    tree = ast.parse(path.read_text())
    top = {
        name.id
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign) and is_container(node.value)
        for name in names_of(node)
    }
    written = [
        f"line {node.lineno}: {ast.unparse(node)[:60]}"
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(target := written_to(node), ast.Name) and target.id in top
    ]

    assert [] == written
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Global)]


CONTAINERS = {"dict", "list", "set", "deque", "OrderedDict", "defaultdict", "Counter"}


def is_container(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Call):
        return isinstance(value.func, ast.Name) and value.func.id in CONTAINERS
    return isinstance(value, ast.Dict | ast.List | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)


MUTATORS = {"append", "add", "update", "setdefault", "pop", "popitem", "clear", "extend", "insert", "remove", "discard"}


def written_to(node: ast.AST) -> ast.expr | None:
    """What a statement or call changes, if it changes a container."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
        return node.func.value
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
        return node.value
    return None


def names_of(node: ast.Assign | ast.AnnAssign) -> list[ast.Name]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [target for target in targets if isinstance(target, ast.Name)]


def test_importing_does_nothing() -> None:
    """
    Importing llmgate opens no socket, starts no thread or child, and loads nothing heavy.
    """
    code = """
import sys, threading
events = []
sys.addaudithook(lambda name, args: events.append(name) if name.startswith(("socket.", "subprocess", "os.fork")) else None)
import llmgate
heavy = {"httpx2", "httpcore2", "aiohttp", "genai_prices", "yaml", "sqlite3", "tenacity", "asyncio"} & set(sys.modules)
print(events, threading.active_count(), sorted(heavy))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "[] 1 []" == done.stdout.strip()
    assert "" == done.stderr


def test_promised_names_are_there() -> None:
    """
    Every promised name can be imported, and the list is sorted.
    """
    import llmgate

    assert sorted(llmgate.__all__) == llmgate.__all__
    assert all(getattr(llmgate, name) is not None for name in llmgate.__all__)
