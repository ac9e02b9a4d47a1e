"""Forms: what is written is read, by others, too; and what others wrote."""

from __future__ import annotations

import json
from email import message_from_bytes, policy
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from llmgate.dialects.multipart import _free, _marks, read_form, write_form
from llmgate.errors import BadRequest
from llmgate.types.uploads import upload

from . import corpus

WAV = upload(b"RIFF\0\0\0\0WAVEfmt \r\n--\r\n\xff", "a.wav")

# A form has no name without letters, and no line break that is not its own.
names = st.from_regex(r"[a-z_]{1,8}", fullmatch=True).filter(lambda name: name not in ("true", "false"))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(lambda text: not is_plain(text))
numbers = st.integers(-(10**9), 10**9) | st.booleans()
files = st.builds(
    upload, st.binary(max_size=200), st.from_regex(r'[\w "é]{1,12}\.wav', fullmatch=True), st.just("audio/wav")
)
values = texts | numbers | files
forms = st.dictionaries(
    names, values | st.lists(values, min_size=1, max_size=3) | st.dictionaries(names, texts, min_size=1, max_size=2),
    max_size=5,
)  # fmt: skip


def is_plain(text: str) -> bool:
    """Whether a form could not tell the text from a number or a truth."""
    try:
        return text.strip() != text or isinstance(json.loads(text), int | float)
    except ValueError:
        return False


def parsed(content_type: str, body: bytes) -> list[tuple[str, str | None, str, bytes]]:
    """The parts of a form as Python's own reader of mails finds them: name, file name, media type, content."""
    head = f"MIME-Version: 1.0\r\nContent-Type: {content_type}\r\n\r\n".encode()
    message = message_from_bytes(head + body, policy=policy.HTTP)
    found = []
    for part in message.iter_parts():
        said = dict(part.get_params(header="content-disposition") or [])
        content: Any = part.get_payload(decode=True)
        found.append((said["name"], said.get("filename"), part.get_content_type(), content))
    return found


@settings(max_examples=150, deadline=None)
@given(forms)
def test_what_is_written_is_read(form: dict[str, Any]) -> None:
    """
    Every form comes back as it was: texts, numbers, truths, files, lists and objects of them.
    """
    assert form == read_form(*write_form(form.items()))


def test_somebody_else_reads_it() -> None:
    """
    Python's reader of mails finds the same parts, in order, with their names, file names, media types and bytes.
    """
    form = {
        "model": "whisper-1",
        "file": WAV,
        "temperature": 0.5,
        "stream": False,
        "include": ["a", "b"],
        "x": {"y": "z"},
    }

    assert [
        ("model", None, "text/plain", b"whisper-1"),
        ("file", "a.wav", "audio/wav", b"RIFF\0\0\0\0WAVEfmt \r\n--\r\n\xff"),
        ("temperature", None, "text/plain", b"0.5"),
        ("stream", None, "text/plain", b"false"),
        ("include[]", None, "text/plain", b"a"),
        ("include[]", None, "text/plain", b"b"),
        ("x[y]", None, "text/plain", b"z"),
    ] == parsed(*write_form(form.items()))


def test_the_same_form_is_the_same_bytes() -> None:
    """
    The boundary is made of the form: the same again for the same, another one for another.
    """
    one, again = write_form([("a", "b"), ("file", WAV)]), write_form([("a", "b"), ("file", WAV)])

    assert one == again
    assert one[0] != write_form([("a", "c"), ("file", WAV)])[0]


def test_a_form_that_holds_its_boundary_gets_another() -> None:
    """
    Of all boundaries that are made of a form, the first that stands in no part of it; so no content can end its part.
    """
    marks = list(islice(_marks([b"x"]), 3))

    assert 3 == len(set(marks))
    assert marks[0] == _free(marks, [b"a", b"b"])
    assert marks[2] == _free(marks, [b"a" + marks[0].encode(), marks[1].encode() + b"b"])


def test_what_is_none_is_left_out() -> None:
    """
    A parameter that says nothing is no part.
    """
    assert {"a": 1} == read_form(*write_form([("a", 1), ("b", None)]))


def test_names_break_out_of_nothing() -> None:
    """
    Quotes and line breaks in a name or a file name are escaped as browsers escape them.
    """
    evil = 'a"; filename="b\r\nX-Evil: 1'
    content_type, body = write_form([(evil, "v"), ("file", upload(b"x", evil, 'text/plain"\r\nX: 1'))])

    assert b"X-Evil: 1\r\n" not in body
    assert b"\r\nX: 1" not in body
    assert b'filename="a%22; filename=%22b%0D%0AX-Evil: 1"' in body
    assert evil == read_form(content_type, body)["file"]["filename"]


def test_texts_stay_texts_where_the_format_knows_them() -> None:
    """
    A prompt of digits is a prompt; a temperature is a number.
    """
    form = read_form(*write_form([("prompt", "42"), ("input", "true"), ("temperature", "0.2"), ("n", "2")]))

    assert {"prompt": "42", "input": "true", "temperature": 0.2, "n": 2} == form


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b"--x--\r\n"),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\nbody\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\nbody\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="a"\r\n--x--\r\n'),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb' * 1002 + b"\r\n--x--",
        ),
    ],
)
def test_what_is_no_form_is_refused(content_type: str, body: bytes) -> None:
    """
    A body without a boundary, without an end, with a part without a name, or with far too many of them is no form.
    """
    with pytest.raises(BadRequest):
        read_form(content_type, body.replace(b"\r\nb--x", b"\r\nb\r\n--x"))


def test_data_that_is_no_base64_is_refused() -> None:
    """
    A file that came as something else is the caller's mistake, and is said to be one.
    """
    with pytest.raises(BadRequest, match="file"):
        write_form([("file", {"filename": "a", "media_type": "b/c", "data": "!"})])


RECORDED = [
    record
    for provider in corpus.files()
    for record in corpus.lines(provider)
    if record["kind"] == "audio" and str(record["request_body"]).startswith("--")
]


@corpus.needed
@pytest.mark.parametrize("record", corpus.params(RECORDED))
def test_recorded_forms_are_read(record: corpus.Record) -> None:
    """
    Forms that others sent have their fields and one file. Its bytes alone are not as they were: the records hold text.
    """
    content_type = next(value for name, value in record["request_headers"].items() if name.lower() == "content-type")
    form = read_form(content_type, record["request_body"].encode())
    file = form.pop("file")

    assert {"model"} <= form.keys() <= {"model", "language"}
    assert all(isinstance(value, str) for value in form.values())
    assert file["filename"].endswith(".wav") and file["media_type"] in ("audio/wav", "audio/x-wav")
    assert form | {"file": file} == read_form(*write_form({**form, "file": file}.items()))


@corpus.needed
def test_there_are_recorded_forms() -> None:
    """
    The test above has something to hold.
    """
    assert 4 <= len(RECORDED)
