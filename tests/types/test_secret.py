"""A key shows itself to nobody who does not ask for it by name."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import json
import logging
import pickle
import pprint
import sys
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from llmgate.errors import ConfigError
from llmgate.types.secret import Credential, Secret

KEY = "sk-proj-0123456789abcdef"
ORIGIN = "https://api.example:443"


class Holder(BaseModel):
    key: Secret
    more: list[Secret] = []


@dataclasses.dataclass
class Plain:
    secret: Secret
    credential: Credential


def logged(secret: Secret) -> str:
    record = logging.LogRecord("test", logging.INFO, __file__, 1, "key %s %r", (secret, secret), None)
    return logging.Formatter().format(record)


def thrown(secret: Secret) -> str:
    """A traceback with the locals of every frame."""
    credential = Credential(secret, ORIGIN)
    try:
        raise ValueError(f"refused {secret} of {credential}")
    except ValueError as error:
        return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


SHOWN: dict[str, Callable[[Secret], object]] = {
    "repr": repr,
    "str": str,
    "format": lambda secret: format(secret, ">80"),
    "f-string": lambda secret: f"{secret} {secret!r} {secret!s} {secret!a} {secret:>80}",
    "percent": lambda secret: "%s %r" % (secret, secret),  # noqa: UP031 - an old hand's way to show it
    "str.format": lambda secret: "{} {0}".replace("{0}", "").format(secret),
    "in a list": lambda secret: repr([secret, {"key": secret}, (secret,)]),
    "pprint": pprint.pformat,
    "log": logged,
    "traceback with locals": thrown,
    "fingerprint": lambda secret: secret.fingerprint,
    "credential": lambda secret: repr(Credential(secret, ORIGIN)),
    "scope": lambda secret: Credential(secret, ORIGIN).scope,
    "asdict": lambda secret: repr(dataclasses.asdict(Plain(secret, Credential(secret, ORIGIN)))),
    "pydantic repr": lambda secret: repr(Holder(key=secret)),
    "pydantic dump": lambda secret: repr(Holder(key=secret, more=[secret]).model_dump()),
    "pydantic json": lambda secret: Holder(key=secret, more=[secret]).model_dump_json(),
    "pydantic schema": lambda secret: json.dumps(Holder.model_json_schema()),
    "hash": hash,
}


@pytest.mark.parametrize("show", SHOWN.values(), ids=SHOWN)
def test_a_key_is_not_shown(show):
    """
    No way of printing, logging, dumping or hashing shows a key or a part of it.
    """
    text = str(show(Secret(KEY)))

    assert text
    assert not [at for at in range(len(KEY) - 7) if KEY[at : at + 8] in text]


REFUSED: dict[str, Callable[[Secret], object]] = {
    "vars": vars,
    "iter": iter,
    "list": list,
    "len": len,
    "bytes": bytes,
    "index": lambda secret: secret[0],
    "add": lambda secret: "Bearer " + secret,
    "join": lambda secret: "".join([secret]),
    "json": json.dumps,
    "pickle": pickle.dumps,
    "pickle 0": lambda secret: pickle.dumps(secret, 0),
    "pickle of a credential": lambda secret: pickle.dumps(Credential(secret, ORIGIN)),
    "getstate": lambda secret: secret.__getstate__(),
    "reduce": lambda secret: secret.__reduce_ex__(4),
}


@pytest.mark.parametrize("open_up", REFUSED.values(), ids=REFUSED)
def test_a_key_is_not_handed_out(open_up):
    """
    Iterating, joining, pickling and looking into it fail, and the error does not show the key either.
    """
    with pytest.raises(TypeError) as caught:
        open_up(Secret(KEY))

    assert KEY not in str(caught.value)


def test_a_key_is_there_for_whoever_asks():
    """
    `reveal` gives the value back, and a Secret of a Secret is the same key.
    """
    assert KEY == Secret(KEY).reveal() == Secret(Secret(KEY)).reveal()
    assert Secret(KEY)


def test_copies_are_the_key_itself():
    """
    Copying copies nothing, so whatever holds a key can be copied, and no second text comes to be.
    """
    secret = Secret(KEY)
    holder = Holder(key=secret)

    assert secret is copy.copy(secret) is copy.deepcopy(secret)
    assert secret is copy.deepcopy(Credential(secret, ORIGIN)).secret
    assert secret is holder.model_copy(deep=True).key


@given(st.text("ab", min_size=1, max_size=7), st.text("ab", min_size=1, max_size=7))
@example("sk-proj-1", "sk-proj-2")
def test_keys_are_equal_when_their_texts_are(one, other):
    """
    Equality, hash and fingerprint agree about which two keys are the same.
    """
    assert Secret(one) == Secret(one)
    assert hash(Secret(one)) == hash(Secret(one))
    assert Secret(one).fingerprint == Secret(one).fingerprint
    assert (one == other) == (Secret(one) == Secret(other)) == (Secret(one).fingerprint == Secret(other).fingerprint)
    assert Secret(one) != one


def test_a_fingerprint_is_the_same_everywhere():
    """
    The fingerprint is part of cache keys on disk, so it hangs on the key alone and never changes.
    """
    assert "0172dc96ab99af0a" == Secret("abc").fingerprint
    assert "Secret(sha256:0172dc)" == repr(Secret("abc"))


NOT_KEYS = {
    "empty": "",
    "blank": "  ",
    "line feed": KEY + "\n",
    "carriage return": KEY + "\r",
    "inside": KEY + "\nx-evil: 1",
    "nul": "\0" + KEY,
    "other control": KEY + "\x7f",
    "tab": KEY + "\t" + KEY,
    "not ascii": KEY + "é",
    "ellipsis": KEY[:8] + "…",
    "space before": " " + KEY,
    "space behind": KEY + " ",
    "bytes": KEY.encode(),
    "number": 123456789,
    "none": None,
}


@pytest.mark.parametrize("value", NOT_KEYS.values(), ids=NOT_KEYS)
def test_what_cannot_stand_in_a_header_is_refused_and_not_shown(value: Any) -> None:
    """
    A key with a slip in it is refused when it is configured; neither the error nor the locals of our frames show it.
    """
    with pytest.raises(ConfigError) as caught:
        Secret(value)

    trace = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    frames = [frame for frame in trace.stack if frame.filename == inspect.getfile(Secret)]
    assert frames
    assert "key" in str(caught.value)
    assert KEY not in str(caught.value)
    assert not [frame for frame in frames if KEY in str(frame.locals)]
    assert KEY.encode() not in pickle.dumps(caught.value)


@pytest.mark.parametrize("value", [value for value in NOT_KEYS.values() if value is not None])
def test_pydantic_says_why_and_not_what(value: Any) -> None:
    """
    A field of a model refuses the same values; its error tells why, and shows the key neither as text nor as data.
    """
    with pytest.raises(ValidationError) as caught:
        Holder(key=value, more=[value])

    error = caught.value
    assert [("key",), ("more", 0)] == [found["loc"] for found in error.errors()]
    for text in (str(error), repr(error), repr(error.errors()), error.json()):
        assert "key" in text
        assert KEY not in text


def test_a_field_takes_a_text_or_a_key():
    """
    A model's field is a Secret, made of a text or taken as it is.
    """
    secret = Secret(KEY)

    assert secret is TypeAdapter(Secret).validate_python(secret)
    assert secret == TypeAdapter(Secret).validate_json(json.dumps(KEY))
    assert {"type": "string"} == TypeAdapter(Secret).json_schema()


def test_a_credential_compares_by_all_it_holds():
    """
    Two credentials are one when key, place and header are, and its scope is the key's fingerprint.
    """
    credential = Credential(Secret(KEY), ORIGIN)

    assert credential == Credential(Secret(KEY), ORIGIN)
    assert credential != Credential(Secret(KEY), "https://other.example:443")
    assert credential.scope == Secret(KEY).fingerprint
    assert ORIGIN in repr(credential)


def test_an_unhandled_error_shows_no_key(capsys):
    """
    What the interpreter prints about an exception that nobody caught does not show the key that was refused.
    """
    try:
        Secret(NOT_KEYS["line feed"])
    except ConfigError:
        sys.excepthook(*sys.exc_info())

    printed = capsys.readouterr().err
    assert "the key holds a line break" in printed
    assert KEY not in printed
