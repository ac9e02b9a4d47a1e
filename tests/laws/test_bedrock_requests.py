"""A request of Converse, read into OpenAI's shape and written again, is the same request."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings, strategies as st

from llmgate.dialects.base import Quirks
from llmgate.dialects.bedrock import Bedrock

dialect = Bedrock()

TEXT = st.text(min_size=1, max_size=8).filter(lambda text: bool(text.strip()))
NAME = st.text("abcxyz_-019", min_size=1, max_size=8)
DATA = st.sampled_from(["", "eA==", "JVBERg=="])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAME, inner, max_size=2),
    max_leaves=4,
)
OBJECT = st.dictionaries(NAME, JSON, max_size=3)


def only(**fields: Any) -> Any:
    return st.fixed_dictionaries(fields)


POINT = only(cachePoint=st.just({"type": "default"}))
SAID = only(text=TEXT)
IMAGE = only(image=only(format=st.sampled_from(["png", "jpeg"]), source=only(bytes=DATA) | only(s3Location=OBJECT)))
DOCUMENT = only(
    document=st.fixed_dictionaries(
        {"format": st.sampled_from(["pdf", "md", "new"]), "name": TEXT, "source": only(bytes=DATA) | only(text=TEXT)},
        optional={"context": TEXT},
    )
)
AUDIO = only(audio=only(format=st.sampled_from(["wav", "ogg"]), source=only(bytes=DATA)))
OWN = only(guardContent=OBJECT) | only(searchResult=OBJECT)
RESULT = only(
    toolResult=st.fixed_dictionaries(
        {"toolUseId": NAME, "content": st.lists(SAID | IMAGE | DOCUMENT | only(json=OBJECT), max_size=2)},
        optional={"status": st.sampled_from(["success", "error"]), "type": NAME},
    )
)
CALL = only(toolUse=only(toolUseId=NAME, name=NAME, input=OBJECT))
RAN = only(toolUse=only(toolUseId=NAME, name=NAME, input=OBJECT, type=st.just("server_tool_use")))
THOUGHT = only(
    reasoningContent=only(reasoningText=st.fixed_dictionaries({"text": TEXT}, optional={"signature": NAME}))
    | only(redactedContent=DATA)
)

USER = st.lists(SAID | IMAGE | DOCUMENT | AUDIO | OWN | RESULT | POINT, min_size=1, max_size=4)
ASSISTANT = st.tuples(
    st.lists(THOUGHT | SAID | RAN | OWN | POINT, max_size=4), st.lists(CALL, max_size=2)
).map(lambda both: both[0] + both[1]).filter(bool)  # fmt: skip


def conversation(turns: list[tuple[Any, Any]]) -> list[dict[str, Any]]:
    messages = [{"role": role, "content": content} for turn in turns for role, content in zip(ROLES, turn, strict=True)]
    said = [block for message in messages for block in message["content"]]
    said += [block for outer in said if "toolResult" in outer for block in outer["toolResult"]["content"]]
    # Bedrock refuses two documents of one name.
    for number, document in enumerate(block["document"] for block in said if "document" in block):
        document["name"] = f"{number} {document['name']}"
    return messages


ROLES = ("user", "assistant")
SPEC = only(
    toolSpec=st.fixed_dictionaries(
        {"name": NAME, "inputSchema": only(json=OBJECT.map(lambda schema: {"type": "object", **schema}))},
        optional={"description": TEXT, "strict": st.booleans()},
    )
)
TOOLS = st.lists(SPEC | only(systemTool=only(name=NAME)) | POINT, min_size=1, max_size=3)
CHOICE = only(auto=st.just({})) | only(any=st.just({})) | only(tool=only(name=NAME)) | only(brandNew=OBJECT)
REQUEST = st.fixed_dictionaries(
    {"messages": st.lists(st.tuples(USER, ASSISTANT), min_size=1, max_size=3).map(conversation)},
    optional={
        "system": st.lists(SAID | POINT | only(guardContent=OBJECT), min_size=1, max_size=2),
        "inferenceConfig": st.dictionaries(
            st.sampled_from(["maxTokens", "temperature", "topP", "brandNew"]), st.integers(1, 9), min_size=1
        ),
        "toolConfig": st.fixed_dictionaries({"tools": TOOLS}, optional={"toolChoice": CHOICE, "brandNew": OBJECT}),
        "serviceTier": only(type=st.sampled_from(["default", "flex"])),
        "requestMetadata": st.dictionaries(NAME, TEXT, min_size=1),
        "additionalModelRequestFields": OBJECT,
        "brandNew": OBJECT,
    },
)


@settings(max_examples=200, deadline=None)
@given(REQUEST)
def test_nothing_is_lost(data: dict[str, Any]) -> None:
    """
    Whatever a request says, also in words that nobody here knows, it says after both translations.
    """
    request = dialect.read_request("chat", data).but()
    before = json.dumps(request.body)

    assert data == json.loads(dialect.write_request(request.to("m"), Quirks()).body)
    assert before == json.dumps(request.body)
