"""Files that mean what they seem to mean, and files that are refused with their line."""

from __future__ import annotations

import datetime
import math
from pathlib import Path
from typing import Any

import pytest

from llmgate.config.loading import load_file, load_json, load_toml, load_yaml
from llmgate.errors import ConfigError


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("2026-11-20", "2026-11-20"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("007", "007"),
        ("0", 0),
        ("-12", -12),
        ("+5", 5),
        ("0o17", 15),
        ("0x1F", 31),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("2.", 2.0),
        ("-.inf", -math.inf),
        ("1.2.3", "1.2.3"),
        ("'true'", "true"),
        ('"1"', "1"),
        ("|\n  one\n  two\n", "one\ntwo\n"),
        ("[a, {b: 1}, []]", ["a", {"b": 1}, []]),
        ("60/min", "60/min"),
        ("$25", "$25"),
    ],
)
def test_a_yaml_value_is_what_it_looks_like(written: str, value: Any) -> None:
    """
    Only true and false are booleans, only digits are numbers; dates, times and countries stay texts.
    """
    loaded = load_yaml(f"key: {written}")

    assert {"key": value} == loaded
    assert type(value) is type(loaded["key"])


def test_a_key_is_the_text_it_is_written_as() -> None:
    """
    `on`, `1`, `null` and `true` name sections like any other word.
    """
    assert {"on": 1, "1": 2, "null": 3, "true": 4, "": 5} == load_yaml("on: 1\n1: 2\nnull: 3\ntrue: 4\n'': 5")


@pytest.mark.parametrize("written", ["", "# nothing yet\n", "---\n", "~"])
def test_an_empty_file_is_an_empty_configuration(written: str) -> None:
    """
    Nothing written means the defaults.
    """
    assert {} == load_yaml(written)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("a: &one 1\nb: *one", "t, line 2: aliases (*name) are refused; write the value out"),
        ("a: {b: 1}\n<<: {c: 2}", "t, line 2: merge keys (<<) are refused; write the keys out"),
        ("a: 1\nb: 2\na: 3", 't, line 3: the key "a" stands already in line 1'),
        ("a:\n  b: {c: 1, c: 2}", 't, line 2: the key "c" stands already in line 2'),
        ("a: !!python/name:os.system ''", "t, line 1: tags (!name) are refused; put a text in quotes instead"),
        ("a: ! 1", "t, line 1: tags (!name) are refused; put a text in quotes instead"),
        ("a: !!str 1", "t, line 1: tags (!name) are refused; put a text in quotes instead"),
        ("? [a]\n: b", "t, line 1: a key must be a plain text"),
        ("a: 1\n---\nb: 2", "t, line 2: a second document begins; keep one in a file"),
        ("- a\n- b", "t holds a list; write sections like `providers:` at its top level"),
        ("hello", "t holds a single value; write sections like `providers:` at its top level"),
        ("a: b: c", "t, line 1, column 5: mapping values are not allowed in this context"),
        ("a: '\x01'", "t holds a character that YAML does not allow"),
        ("a: " + "[" * 65, "t, line 1: nested deeper than 64 levels"),
        ("[" * 100_000, "t, line 1: nested deeper than 64 levels"),
        ("# " + "x" * 2**20, "t is larger than 1 MiB; that is no configuration"),
        (b"a: 1\nb: \xff", "t, line 2: not UTF-8; save the file as UTF-8"),
    ],
)
def test_doubtful_yaml_is_refused_with_its_line(written: str | bytes, text: str) -> None:
    """
    Aliases, tags, duplicate keys, second documents, bombs and broken texts are refused.
    """
    with pytest.raises(ConfigError) as caught:
        load_yaml(written, "t")

    assert text == str(caught.value)


def test_a_broken_file_shows_none_of_its_keys() -> None:
    """
    A syntax error behind a key does not carry the key into the message.
    """
    with pytest.raises(ConfigError) as caught:
        load_yaml("api_key: sk-very-secret: [")

    assert "secret" not in str(caught.value)


def test_a_byte_order_mark_is_no_part_of_the_first_key() -> None:
    """
    A file saved by Windows Notepad loads.
    """
    assert {"a": 1} == load_yaml(b"\xef\xbb\xbfa: 1")
    assert {"a": 1} == load_json(b'\xef\xbb\xbf{"a": 1}')
    assert {"a": 1} == load_toml(b"\xef\xbb\xbfa = 1")


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ('{"a": 1, "a": 2}', 't: the key "a" stands twice in one object'),
        ('{"a": NaN}', "t: NaN is not JSON"),
        ('{"a" 1}', "t, line 1, column 6: Expecting ':' delimiter"),
        ('{"a": ' + "1" * 5000 + "}", "t holds a number of more than 4300 digits"),
        ("[" * 100_000, "t is nested too deeply"),
        ("[1]", "t holds a list; write sections like `providers:` at its top level"),
    ],
)
def test_doubtful_json_is_refused(written: str, text: str) -> None:
    """
    JSON is held to the same strictness as YAML.
    """
    with pytest.raises(ConfigError) as caught:
        load_json(written, "t")

    assert text == str(caught.value)


def test_toml_is_read_by_the_standard_library() -> None:
    """
    TOML loads, and its errors name the place.
    """
    assert {"retry": {"max_attempts": 3}} == load_toml("[retry]\nmax_attempts = 3")
    with pytest.raises(ConfigError, match="Invalid value"):
        load_toml("a = ")


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("gate.yaml", "retry: {max_attempts: 3}"),
        ("gate.YML", "retry:\n  max_attempts: 3"),
        ("gate.json", '{"retry": {"max_attempts": 3}}'),
        ("gate.toml", "retry = {max_attempts = 3}"),
    ],
)
def test_the_ending_tells_the_language(tmp_path: Path, name: str, written: str) -> None:
    """
    One configuration reads the same from YAML, JSON and TOML.
    """
    (tmp_path / name).write_text(written)

    assert {"retry": {"max_attempts": 3}} == load_file(tmp_path / name)


def test_a_file_that_cannot_be_read_is_a_configuration_error(tmp_path: Path) -> None:
    """
    A missing file, an unknown ending and an oversized file are refused with the name of the file.
    """
    (tmp_path / "large.yaml").write_text("#" * (2**20 + 1))

    with pytest.raises(ConfigError, match=r"missing\.yaml cannot be read: No such file"):
        load_file(tmp_path / "missing.yaml")
    with pytest.raises(ConfigError, match=r"its name ends in \.yaml"):
        load_file("gate.ini")
    with pytest.raises(ConfigError, match=r"large\.yaml is larger than 1 MiB"):
        load_file(str(tmp_path / "large.yaml"))


def test_a_version_that_looks_like_a_date_stays_a_text() -> None:
    """
    `api_version: 2024-10-21` reaches Azure as it was written.
    """
    loaded = load_yaml("api_version: 2024-10-21")

    assert not isinstance(loaded["api_version"], datetime.date)
    assert "2024-10-21" == loaded["api_version"]
