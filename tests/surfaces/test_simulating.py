"""`python -m llmgate simulate`: what it prints and writes."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from llmgate.simulation import Report
from llmgate.surfaces.cli import main

GOOD = """
providers:
  a: {kind: openai}
  b: {kind: simulated}
routes: {fast: [a/m, b/m]}
prices:
  a/*: {input: 1, output: 4}
  b/*: {input: 2, output: 5}
"""
SCENARIO = """
about: A minute of trouble.
duration: 2m
events:
  - {at: 1m, for: 30s, where: first, down: true}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "trouble.yaml").write_text(SCENARIO)
    (tmp_path / "alone.yaml").write_text(GOOD.replace("[a/m, b/m]", "[a/m]"))
    (tmp_path / "llmgate.yaml").write_text(GOOD)
    return str(tmp_path / "llmgate.yaml")


class Page(HTMLParser):
    """What a page consists of, and what it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [name for name, _ in attrs if name in ("src", "href", "onload", "onclick")]
        if tag not in ("meta", "line", "path"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("line", "path"):
            assert tag == self.open.pop()


def test_a_report(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A configuration without its keys is played; the tables tell of calls, upstreams and what happened over time.
    """
    assert 0 == main(["simulate", file, "--scenario", file.replace("llmgate.", "trouble."), "--seed", "3"])
    out, err = capsys.readouterr()

    assert "" == err
    assert out.startswith("trouble: A minute of trouble.\n")
    lines = out.splitlines()
    assert "calls in 2m, seed 3, trace " in lines[1]
    assert ["calls", "success", "p50", "p90", "p99"] == lines[3].split()[:5]
    assert lines[4].startswith("all calls")
    (first,) = [line for line in lines if line.startswith("a/m ") and "opened" in line]
    assert "at 1m" in first and "connection_failed" in first
    (drawn,) = [line for line in lines if line.startswith("a/m circuit")]
    assert "█" in drawn


def test_json_and_a_page(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    The JSON reads back as the report; the page is whole, holds its plots, and loads and runs nothing.
    """
    written, page = tmp_path / "out.json", tmp_path / "out.html"
    scenario = file.replace("llmgate.", "trouble.")
    assert 0 == main(["simulate", file, "--scenario", scenario, "--json", str(written), "--html", str(page)])
    capsys.readouterr()
    assert 0 == main(["simulate", file, "--scenario", scenario, "--json", "-"])

    told = json.loads(written.read_text())
    assert told == json.loads(capsys.readouterr().out)
    report = Report.model_validate(told)
    assert report.total.calls == sum(report.timeline.calls)
    assert set(told) == set(Report.model_json_schema(mode="serialization")["properties"])
    found = Page(page.read_text())
    assert ([], []) == (found.loads, found.open)
    assert 7 == found.tags.count("svg") and "script" not in found.tags
    assert "prefers-color-scheme: dark" in page.read_text()


def test_two_side_by_side(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    --against plays the same calls with both, and says what differs.
    """
    page, other = tmp_path / "both.html", file.replace("llmgate.", "alone.")
    scenario = file.replace("llmgate.", "trouble.")
    assert 0 == main(["simulate", file, "--scenario", scenario, "--against", other, "--html", str(page)])
    lines = capsys.readouterr().out.splitlines()

    assert ["difference"] == lines[3].split()[-1:]
    (calls,) = [line.split() for line in lines if line.startswith("calls ") and line.endswith("same")]
    assert calls[1] == calls[2]
    (success,) = [line.split() for line in lines if line.startswith("success %")]
    assert float(success[-1]) < -10
    assert 9 == Page(page.read_text()).tags.count("svg")


def test_the_list_and_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    """
    --list names the scenarios that come along; `schema --scenario` prints what one may say.
    """
    assert 0 == main(["simulate", "--list"])
    assert "outage             The first provider is gone for five minutes.\n" in capsys.readouterr().out

    assert 0 == main(["schema", "--scenario"])
    assert "llmgate scenario" == json.loads(capsys.readouterr().out)["title"]


def test_mistakes(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Mistakes are told in one line, with the exit codes of the other commands.
    """
    assert 1 == main(["simulate", file, "--scenario", "outag"])
    assert 'error: there is no scenario "outag"; did you mean "outage"?\n' == capsys.readouterr().err
    assert 2 == main(["simulate"])
    assert capsys.readouterr().err.startswith("error: name a configuration")
    assert 1 == main(["simulate", file, "--html", str(tmp_path / "nowhere" / "x.html")])
    assert "cannot be written: No such file" in capsys.readouterr().err
