"""Answers as they are written: read to the end, left early, broken off, and with asyncio."""

import asyncio

from llmgate import Gateway, StreamInterrupted

gateway = Gateway(
    {
        "providers": {
            "pretend": {"kind": "simulated", "tokens_per_second": 200, "answer": "Air scatters blue light most."},
            "broken": {"kind": "simulated", "failures": {"stream_interrupted": 1}, "answer": "Air scatters blue light"},
        }
    }
)

with gateway.stream("pretend/small", "Why is the sky blue?") as stream:
    for chunk in stream:
        print(chunk.text, end="", flush=True)
print("\nwhole:", stream.response.finish_reason, stream.response.usage.output_tokens, "tokens")

with gateway.stream("pretend/small", "Why is the sky blue?") as stream:
    print("one:  ", next(iter(stream)).text)  # leaving cuts the connection, and every limit gets back what it lent
print("left: ", stream)

try:
    for chunk in gateway.stream("broken/small", "Why is the sky blue?"):
        print(chunk.text, end="")
except StreamInterrupted as error:
    print(f"\nbroken: {error.kind} after {error.partial.text!r}; half an answer is never passed off as a whole one")


async def main() -> None:
    async for chunk in gateway.aio.stream("pretend/small", "Why is the sky blue?"):
        print(chunk.text.upper(), end="")
    print()


asyncio.run(main())
gateway.close()
