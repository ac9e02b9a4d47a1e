"""Embeddings on Bedrock: each maker's models take and give bodies of their own.

Cohere takes many texts in a request, Titan and Nova take one. A maker's own parameters pass as they are.

Sources, checked 2026-11-20: recorded requests of Titan and Cohere, and for Nova
https://docs.aws.amazon.com/nova/latest/userguide/embeddings-schema.html.
"""

from __future__ import annotations

from typing import Any

from ..errors import BadRequest
from ..types.request import Request
from ..types.response import Embeddings
from ..types.usage import Usage
from .bedrock_errors import error_of
from .bedrock_requests import ADDRESS, FORMAT
from .bedrock_words import Json
from .shapes import MISSHAPEN, misshapen, restated

__all__ = ["read_embed", "read_embeddings", "write_embed", "write_embeddings"]

_OPENAIS = frozenset({"dimensions", "encoding_format", "input", "user"})

COHERES_PURPOSE, NOVAS_PURPOSE = "search_document", "GENERIC_INDEX"
"""What the texts are for, if nobody says it: to be found. Both want to know."""


def write_embed(request: Request) -> Json:
    """
    The body of an embedding request.

    Raises:
        BadRequest: If the model's maker is unknown, or it takes no such input.
    """
    native = request.native(FORMAT)
    if native is not None and _is_for(request.model, native):
        return restated(native, request, ADDRESS)
    given: Json = request.body
    model, texts, dimensions = request.model, given["input"], given.get("dimensions")
    own = {name: value for name, value in given.items() if name not in _OPENAIS and value is not None}
    if isinstance(texts, str):
        texts = [texts]
    if not all(isinstance(text, str) for text in texts):
        raise BadRequest("input: Bedrock takes texts and no tokens")
    if "cohere." in model:
        if dimensions is not None:
            own["output_dimension"] = dimensions
        return {"texts": texts, "input_type": COHERES_PURPOSE} | own
    titan = "titan-embed" in model
    if not titan and not _is_nova(model):
        raise BadRequest(
            "model: of Bedrock's embeddings Titan's, Nova's and Cohere's are known; ask others with request"
        )
    if len(texts) != 1:
        raise BadRequest(f"input: this model embeds one text a request, and these are {len(texts)}")
    if not titan:
        return _write_nova(texts[0], dimensions, own)
    if dimensions is not None and "image" in model:
        own["embeddingConfig"] = {"outputEmbeddingLength": dimensions}
    elif dimensions is not None:
        own["dimensions"] = dimensions
    return {"inputText": texts[0], **own}


def _is_nova(model: str) -> bool:
    return "amazon.nova" in model and "embed" in model


def _is_for(model: str, native: Json) -> bool:
    """Whether the body is in the format of the model's maker, as far as the name tells who that is."""
    makers = {"texts": "cohere." in model, "taskType": _is_nova(model), "inputText": "titan-embed" in model}
    return not any(makers.values()) or any(makers[name] for name in makers if name in native)


def _write_nova(text: str, dimensions: int | None, own: Json) -> Json:
    given = own.get("singleEmbeddingParams") or {}
    params: Json = {"embeddingPurpose": NOVAS_PURPOSE, **given}
    # It has no default for a text that is too long: an error is one that can be seen.
    params["text"] = {"truncationMode": "NONE", **given.get("text", {}), "value": text}
    if dimensions is not None:
        params["embeddingDimension"] = dimensions
    return {"taskType": "SINGLE_EMBEDDING", **own, "singleEmbeddingParams": params}


def read_embed(data: Any) -> Request:
    """
    What is asked for by the body of an embedding request.

    Raises:
        BadRequest: If it is none, or asks for something else than texts.
    """
    try:
        own = {name: value for name, value in data.items() if name not in ("modelId", "inputText", "texts")}
        if "singleEmbeddingParams" in data:
            params = dict(data["singleEmbeddingParams"])
            text = dict(params["text"])
            texts = [text.pop("value")]
            dimensions = params.pop("embeddingDimension", None)
            own["singleEmbeddingParams"] = {**params, "text": text}
        else:
            texts = data["texts"] if "texts" in data else [data["inputText"]]
            dimensions = own.pop("dimensions", None) or own.pop("output_dimension", None)
            if own.get("embeddingConfig", {}).keys() == {"outputEmbeddingLength"}:
                dimensions = own.pop("embeddingConfig")["outputEmbeddingLength"]
        body: Json = {"input": texts, **own}
        if dimensions is not None:
            body["dimensions"] = dimensions
        return Request("embed", data.get("modelId") or "", body)
    except MISSHAPEN as error:
        raise misshapen("the request", error) from None


def read_embeddings(data: Json, model: str) -> Embeddings:
    """
    The vectors of an answer.

    Raises:
        GatewayError: If the body is an error.
        KeyError, TypeError, AttributeError, ValueError: If it is no answer.
    """
    if "embedding" in data:  # Titan
        vectors = [data["embedding"]]
    elif "embeddings" in data:
        found = data["embeddings"]
        if isinstance(found, dict):  # Cohere, asked for some type
            found = found["float"]
        vectors = [one["embedding"] if isinstance(one, dict) else one for one in found]  # Nova names each
    elif data.keys() & {"message", "Message", "__type", "Output"}:
        raise error_of(None, {}, data)
    else:
        raise ValueError("no embeddings")
    return Embeddings(model=model, usage=Usage(input_tokens=data.get("inputTextTokenCount")), raw=data, vectors=vectors)


def write_embeddings(answer: Embeddings) -> Json:
    """The vectors as the model's maker writes them; Cohere's is the shape that holds any number."""
    if _is_nova(answer.model):
        return {"embeddings": [{"embeddingType": "TEXT", "embedding": vector} for vector in answer.vectors]}
    if "titan" in answer.model and len(answer.vectors) == 1:
        return {"embedding": answer.vectors[0], "inputTextTokenCount": answer.usage.input_tokens or 0}
    return {"id": answer.id, "embeddings": answer.vectors, "response_type": "embeddings_floats"}
