"""Middleware of your own: a function, or a class with options; each says where it stands."""

from dataclasses import replace
from typing import ClassVar

from llmgate import BadRequest, Call, Gateway, Handler, Middleware, Outcome, Reply


async def announced(call: Call, call_next: Handler) -> Reply:
    """Tell when a call begins and how it ended, whatever its end is."""
    print(f"▸ {call.route} for tenant {call.options.tenant!r}")
    reply = await call_next(call)

    def ended(outcome: Outcome) -> None:
        print(f"◂ {outcome.name} from {reply.deployment.name if reply.deployment else 'the cache'}")

    reply.on_end(ended)
    return reply


class MaxLength(Middleware):
    """Refuse prompts that are too long, before anybody is asked."""

    slot: ClassVar[str] = "before_cache"
    max_bytes: int = 1000

    def wrap(self, call_next: Handler) -> Handler:
        async def checked(call: Call) -> Reply:
            if len(call.request.encoded) > self.max_bytes:
                raise BadRequest(f"the prompt is longer than {self.max_bytes} bytes")
            # Calls are copied, not changed: whoever stands further out keeps what it sent.
            return await call_next(call.but(options=replace(call.options, tags={"checked": "yes"})))

        return checked


config = {"providers": {"pretend": {"kind": "simulated"}}}
with Gateway(config, middleware=[("outermost", announced), MaxLength(max_bytes=100)]) as gateway:
    print(gateway.chat("pretend/small", "Hello!", tenant="acme").text)
    try:
        gateway.chat("pretend/small", "Hello! " * 100)
    except BadRequest as error:
        print(f"refused: {error}")
