"""
What a call costs that an SDK makes: over its own transport, and through the gateway in its place.

The SDK's own work, which no transport can take from it, is measured over one that answers at once with what it was given.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from .calls import messages
from .upstream import Upstream

__all__ = ["sdk"]

JSON = "application/json"


async def sdk(url: str, config: Callable[..., dict[str, Any]], compare: Callable[..., Awaitable[Any]]) -> Any:
    """
    What one call of the `openai` package costs, whichever way it goes.

    Args:
        compare: Measures the contenders.
    """
    import httpx2
    import openai

    from llmgate import Gateway

    answer = Upstream.WHOLE.partition(b"\r\n\r\n")[2]
    instant = httpx2.MockTransport(lambda _: httpx2.Response(200, content=answer, headers={"content-type": JSON}))
    gateway, defaults = Gateway(config(url)), Gateway()
    bare = openai.AsyncOpenAI(api_key="sk-bench", base_url=url)
    nothing = openai.AsyncOpenAI(api_key="sk-bench", base_url=url, http_client=httpx2.AsyncClient(transport=instant))
    through = openai.AsyncOpenAI(api_key="unused", base_url="http://llmgate/v1", http_client=gateway.aio.http_client())
    own = openai.AsyncOpenAI(api_key="sk-bench", base_url=url, http_client=defaults.aio.http_client())
    fixed: Any = messages()

    def asks(client: Any, model: str, said: Callable[[], Any]) -> Callable[[], Awaitable[Any]]:
        return lambda: client.chat.completions.create(model=model, messages=said(), temperature=0)

    found = await compare(
        {
            "openai over its own transport": asks(bare, "m", messages),
            "openai by itself": asks(nothing, "m", messages),
            "openai through the gateway": asks(through, "r", messages),
            "openai to its own upstream": asks(own, "m", messages),
            "openai through the gateway, memory hit": asks(through, "r", lambda: fixed),
        }
    )
    for client in (bare, nothing, through, own):
        await client.close()
    for one in (gateway, defaults):
        await one.aio.close()
    return found
