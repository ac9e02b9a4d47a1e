"""What a place can do, in one vocabulary."""

from __future__ import annotations

import pickle

import pytest

import llmgate
from llmgate import ProviderCapability
from llmgate.providers.base import ModelInfo

WORDS = {
    "chat": "CHAT",
    "complete": "TEXT_COMPLETION",
    "embed": "EMBEDDINGS",
    "models": "MODEL_DISCOVERY",
    "stream": "STREAMING",
    "tools": "TOOL_CALLING",
    "vision": "VISION",
    "audio": "AUDIO",
    "json_schema": "STRUCTURED_OUTPUT",
    "reasoning": "REASONING",
    "image": "IMAGE_GENERATION",
    "video": "VIDEO_GENERATION",
    "transcription": "TRANSCRIPTION",
    "speech": "SPEECH",
    "rerank": "RERANK",
    "moderation": "MODERATION",
    "count_tokens": "TOKEN_COUNTING",
}


def test_there_is_one_vocabulary():
    """
    Each capability has a name in code and a word in configurations, and both name the same.
    """
    assert WORDS == {able.value: able.name for able in ProviderCapability}
    assert "ProviderCapability" in llmgate.__all__


@pytest.mark.parametrize("able", ProviderCapability)
def test_a_capability_is_its_word(able):
    """
    A capability can stand wherever its word can, in sets, in texts and in pickles, and its name is understood, too.
    """
    assert frozenset({able}) == frozenset({able.value})
    assert able.value == f"{able}" == str(able)
    assert able is pickle.loads(pickle.dumps(able))
    assert (
        able is ProviderCapability(able.value) is ProviderCapability(able.name) is ProviderCapability(able.name.lower())
    )


def test_what_is_no_capability_is_none():
    """
    A word of no capability is refused, whatever it is.
    """
    for word in ("telepathy", "", 1, None):
        with pytest.raises(ValueError, match="is not a valid"):
            ProviderCapability(word)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (["vision"], {"vision", "chat", "stream"}),
        (["complete"], {"complete", "stream"}),
        (["embed"], {"embed"}),
        (["image"], {"image"}),
        (["rerank", "moderation"], {"rerank", "moderation"}),
        (["tool_calling"], {"tools", "chat", "stream"}),
        ([], {"chat", "stream"}),
    ],
)
def test_what_goes_without_saying_is_added(said, meant):
    """
    Where nothing says what a model is asked for, it chats; and whoever writes texts streams them.
    """
    assert meant == ModelInfo(capabilities=said).capabilities
