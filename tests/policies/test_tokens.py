"""Estimates before a call: by the length of what is sent, and by experience."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from llmgate.policies.tokens import (
    DEFAULT_OUTPUT_TOKENS,
    FILE_BYTES_PER_TOKEN,
    HISTORY,
    HISTORY_MIN,
    IMAGE_TOKENS,
    MEDIA_BYTES_PER_TOKEN,
    Outputs,
    input_tokens,
    output_limit,
    output_tokens,
)
from llmgate.types.request import Request, Verb
from llmgate.types.uploads import upload
from llmgate.types.wire import dumps

IMAGE = "data:image/png;base64," + "A" * 1_000_000
HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}]}


def asking(body: Any, verb: Verb = "chat") -> Request:
    return Request(verb, body=body, encoded=dumps(body))


def with_parts(*parts: Any) -> Request:
    return asking({"messages": [{"role": "user", "content": list(parts)}]})


def answered(*lengths: int) -> Outputs:
    outputs = Outputs()
    for length in lengths:
        outputs.record(length)
    return outputs


class TestInput:
    """The prompt."""

    def test_is_the_length_of_what_is_sent(self) -> None:
        """
        3.2 bytes are a token, and a tenth is added.
        """
        assert 1_100 == input_tokens(Request("chat", encoded=b"x" * 3_200))

    @pytest.mark.parametrize("verb", ["count_tokens", "models", "video_status", "video_content"])
    def test_is_nothing_where_nobody_reads(self, verb: Verb) -> None:
        """
        A count, a list and a look at a video are free.
        """
        assert 0 == input_tokens(asking(HELLO, verb))

    @pytest.mark.parametrize(
        ("name", "size", "tokens"),
        [
            ("talk.wav", 750_000, 1_000),
            ("talk", 750_000, 1_000),
            ("fox.png", 750_000, 1_600),
            ("page.pdf", 22_500, 1_000),
        ],
    )
    def test_of_a_file_is_what_it_holds(self, name: str, size: int, tokens: int) -> None:
        """
        Sound, images and documents have their own weights, and none is read as base64.
        """
        request = asking({"file": upload(bytes(size), name), "image": [upload(bytes(size), name)]}, "transcribe")

        assert 2 * tokens <= input_tokens(request) <= 2 * tokens + 100

    def test_counts_everything_that_is_sent(self) -> None:
        """
        Tools are read by the model, too.
        """
        tools = {"tools": [{"type": "function", "function": {"name": "f" * 320}}]}

        assert input_tokens(asking(HELLO | tools)) >= input_tokens(asking(HELLO)) + 110

    def test_of_nothing_is_nothing(self) -> None:
        """
        A request without a body has no tokens.
        """
        assert 0 == input_tokens(Request("models"))

    @pytest.mark.parametrize(
        "part",
        [
            {"type": "image_url", "image_url": {"url": IMAGE}},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
            {"type": "image", "source": {"type": "base64", "data": IMAGE}},
            {"type": "input_image", "image_url": IMAGE},
        ],
    )
    def test_counts_an_image_as_an_image_wherever_it_is(self, part: dict[str, Any]) -> None:
        """
        Inline or linked, an image is as many tokens as an image has; its Base64 is not read as text.
        """
        tokens = input_tokens(with_parts({"type": "text", "text": "What is this?"}, part))

        assert IMAGE_TOKENS < tokens < IMAGE_TOKENS + 100

    def test_counts_each_image(self) -> None:
        """
        Three images are three times as many tokens.
        """
        image = {"type": "image_url", "image_url": {"url": IMAGE}}

        assert 3 * IMAGE_TOKENS < input_tokens(with_parts(image, image, image)) < 3 * IMAGE_TOKENS + 100

    def test_counts_audio_and_files_by_their_weight(self) -> None:
        """
        A second of speech and a page of a PDF have far fewer tokens than their Base64 has bytes.
        """
        audio = {"type": "input_audio", "input_audio": {"data": "A" * 600_000, "format": "mp3"}}
        file = {"type": "file", "file": {"filename": "a.pdf", "file_data": "A" * 600_000}}

        assert 600_000 / MEDIA_BYTES_PER_TOKEN < input_tokens(with_parts(audio)) < 600_000 / MEDIA_BYTES_PER_TOKEN + 100
        assert 600_000 / FILE_BYTES_PER_TOKEN < input_tokens(with_parts(file)) < 600_000 / FILE_BYTES_PER_TOKEN + 100

    def test_reads_a_document_of_plain_text_as_text(self) -> None:
        """
        A document that is text is as long as text.
        """
        document = {"type": "document", "source": {"type": "text", "data": "so it goes " * 10_000}}

        assert input_tokens(with_parts(document)) > 110_000 / 3.2

    def test_looks_at_no_message_when_nothing_but_text_is_needed(self) -> None:
        """
        If the needs are known and name neither vision nor audio, the length alone decides.
        """
        request = with_parts({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}})

        assert input_tokens(request, frozenset({"chat"})) < 100
        assert input_tokens(request, frozenset({"chat", "vision"})) > IMAGE_TOKENS

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from(["image_url", "type", "user"]),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["messages", "content", "type", "image_url", "n"]), inner, max_size=4)
            ),
            max_leaves=12,
        )
    )
    @settings(max_examples=150, deadline=None)
    def test_survives_any_body(self, body: Any) -> None:
        """
        Whatever a caller sends, an estimate is a count.
        """
        request = asking(body)

        assert input_tokens(request) >= 0
        assert output_tokens(request) >= 0


class TestOutputLimit:
    """The request's own limit."""

    @pytest.mark.parametrize(
        ("body", "limit"),
        [
            ({"max_tokens": 50}, 50),
            ({"max_completion_tokens": 60}, 60),
            ({"max_completion_tokens": 60, "max_tokens": 50}, 60),
            ({"max_output_tokens": 70}, 70),
            ({"max_tokens": 50, "n": 3}, 150),
            ({"max_tokens": None}, None),
            ({"max_tokens": True}, None),
            ({"max_tokens": -1}, None),
            ({"max_tokens": 0}, None),
            ({"max_tokens": "50"}, None),
            ({"max_tokens": 50, "n": True}, 50),
            ({}, None),
            ([], None),
            (None, None),
        ],
    )
    def test_is_read_where_it_stands(self, body: Any, limit: int | None) -> None:
        """
        The limit has several names and holds for each of the answers asked for; what is no limit is none.
        """
        assert limit == output_limit(asking(body))

    @pytest.mark.parametrize("verb", ["embed", "models", "moderate", "rerank", "count_tokens", "video", "video_status"])
    def test_is_nothing_where_nothing_is_written(self, verb: Verb) -> None:
        """
        Embeddings, lists of models, judgements, rankings, counts and videos are no output tokens.
        """
        assert 0 == output_limit(asking({}, verb))
        assert 0 == output_tokens(asking({}, verb), answered(*[500] * HISTORY).usual)


class TestOutputs:
    """The answer."""

    def test_knows_nothing_at_first(self) -> None:
        """
        Without experience the request's limit is the estimate, and without a limit the default.
        """
        assert DEFAULT_OUTPUT_TOKENS == output_tokens(asking({}), Outputs().usual)
        assert 50 == output_tokens(asking({"max_tokens": 50}), Outputs().usual)
        assert 50_000 == output_tokens(asking({"max_tokens": 50_000}), Outputs().usual)

    def test_learns_from_enough_answers(self) -> None:
        """
        From the twentieth answer on experience decides; before it is too little to have a 95th percentile.
        """
        assert DEFAULT_OUTPUT_TOKENS == output_tokens(asking({}), answered(*[100] * (HISTORY_MIN - 1)).usual)
        assert 120 == output_tokens(asking({}), answered(*[100] * HISTORY_MIN).usual)

    def test_is_the_95th_percentile_and_a_fifth(self) -> None:
        """
        Of answers with 1 to 100 tokens, 95 is the percentile and 114 the estimate, in whatever order they came.
        """
        lengths = [37 * number % 101 for number in range(1, 101)]

        assert 114 == output_tokens(asking({}), answered(*lengths).usual)

    def test_keeps_within_the_limit_of_the_request(self) -> None:
        """
        The smaller of limit and experience is the estimate.
        """
        outputs = answered(*[100] * HISTORY)

        assert [50, 120] == [output_tokens(asking({"max_tokens": limit}), outputs.usual) for limit in (50, 5_000)]

    def test_forgets(self) -> None:
        """
        A hundred answers later nothing is left of the old ones.
        """
        assert 12 == output_tokens(asking({}), answered(*[9_000] * HISTORY, *[10] * HISTORY).usual)

    def test_learns_nothing_from_what_was_not_counted(self) -> None:
        """
        No count is no answer of zero tokens.
        """
        outputs = answered(*[100] * HISTORY_MIN)
        for _ in range(HISTORY):
            outputs.record(None)
            outputs.record(-1)

        assert 120 == output_tokens(asking({}), outputs.usual)

    @given(st.lists(st.integers(0, 50), max_size=250))
    @settings(max_examples=50, deadline=None)
    def test_is_what_sorting_the_last_hundred_says(self, lengths: list[int]) -> None:
        """
        The running percentile is that of the last hundred answers.
        """
        last = sorted(lengths[-HISTORY:])
        outputs = answered(*lengths)

        expected = -(-last[-(-len(last) * 95 // 100) - 1] * 12 // 10) if len(last) >= HISTORY_MIN else None
        assert expected == outputs.usual

    def test_is_safe_to_use_from_threads(self) -> None:
        """
        Threads that record at once lose nothing and break nothing.
        """
        outputs = Outputs()

        def record() -> None:
            for number in range(2_000):
                outputs.record(number % 100)

        threads = [threading.Thread(target=record) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for _ in range(HISTORY):
            outputs.record(10)

        assert "<Outputs of 100 answers, usually up to 12 tokens>" == repr(outputs)
