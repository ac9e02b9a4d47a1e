"""SDKs and frameworks as rows: how each is asked for an answer, and where in what it gives the answer stands."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from llmgate import Gateway
from tests.surfaces.answering import SCHEMA
from tests.surfaces.sdks import HELLO

__all__ = ["ADAPTERS", "Adapter", "Asking"]

KEY = "sk-own-0123456789abcdef"
FUNCTION: Any = {"type": "function", "function": {"name": "weather", "description": "w", "parameters": SCHEMA}}
FORMAT: Any = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA, "strict": True}}


@dataclass(frozen=True)
class Asking:
    """What is asked of a client: a model, and how."""

    model: str
    blocking: bool
    stream: bool = False
    tools: bool = False
    schema: bool = False

    def only(self, **said: Any) -> dict[str, Any]:
        """Of these what is wanted."""
        return {name: value for name, value in said.items() if value is not None and value is not False}


@dataclass(frozen=True, eq=False)
class Adapter:
    """
    One package.

    Attributes:
        name: Of its distribution, and what of it.
        module: What must be importable.
        base: The path of its own upstream's base URL.
        make: A client on the gateway for an address.
        ask: What comes of asking it.
        text: The text of a whole answer, or of one piece of a stream.
        call: The first tool call of an answer: name and arguments.
        limited: The exception for too many requests, by its name in the module.
        lacks: What it does not have, and why.
    """

    name: str
    module: str
    make: Callable[[Gateway, bool, str], Any]
    ask: Callable[[Any, Asking], Any]
    text: Callable[[Any], str | None]
    call: Callable[[Any], tuple[str, Any]]
    limited: str
    base: str = ""
    lacks: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return self.name


def _class(module: str, blocking: bool, *names: str) -> Any:
    return getattr(import_module(module), names[0 if blocking else 1])


# OpenAI and what is made in its image.


def _like_openai(module: str, *classes: str) -> Callable[[Gateway, bool, str], Any]:
    def make(gateway: Gateway, blocking: bool, origin: str) -> Any:
        return gateway.attach(_class(module, blocking, *classes)(api_key=KEY, base_url=origin))

    return make


def _complete(client: Any, asking: Asking) -> Any:
    said = asking.only(
        stream=asking.stream,
        tools=[FUNCTION] if asking.tools else None,
        response_format=FORMAT if asking.schema else None,
    )
    return client.chat.completions.create(model=asking.model, messages=HELLO, **said)


def _choice(answer: Any) -> str | None:
    if not answer.choices:
        return None
    choice = answer.choices[0]
    text: str | None = (choice.message if getattr(choice, "message", None) else choice.delta).content
    return text


def _choice_call(answer: Any) -> tuple[str, Any]:
    made = answer.choices[0].message.tool_calls[0].function
    return made.name, json.loads(made.arguments) if isinstance(made.arguments, str) else made.arguments


# Anthropic.


def _message(client: Any, asking: Asking) -> Any:
    tools = [{"name": "weather", "description": "w", "input_schema": SCHEMA}] if asking.tools else None
    format = {"format": {"type": "json_schema", "schema": SCHEMA}} if asking.schema else None
    said = asking.only(stream=asking.stream, tools=tools, output_config=format)
    return client.messages.create(model=asking.model, max_tokens=99, messages=HELLO, **said)


def _block(answer: Any) -> str | None:
    if hasattr(answer, "content"):
        return next((block.text for block in answer.content if block.type == "text"), None)
    return getattr(answer.delta, "text", None) if answer.type == "content_block_delta" else None


def _block_call(answer: Any) -> tuple[str, Any]:
    made = next(block for block in answer.content if block.type == "tool_use")
    return made.name, made.input


# Google.


def _google(gateway: Gateway, blocking: bool, origin: str) -> Any:
    from google import genai

    return gateway.attach(genai.Client(api_key=KEY, http_options=genai.types.HttpOptions(base_url=origin)))


def _generate(client: Any, asking: Asking) -> Any:
    models = client.models if asking.blocking else client.aio.models
    config: dict[str, Any] = {}
    if asking.tools:
        parameters = {name: SCHEMA[name] for name in ("type", "properties", "required")}
        config["tools"] = [{"function_declarations": [{"name": "weather", "parameters_json_schema": parameters}]}]
    if asking.schema:
        config |= {"response_mime_type": "application/json", "response_json_schema": SCHEMA}
    create = models.generate_content_stream if asking.stream else models.generate_content
    return create(model=asking.model, contents="hello", config=config)


# Mistral, Cohere, Ollama.


def _mistral(gateway: Gateway, blocking: bool, origin: str) -> Any:
    return gateway.attach(import_module("mistralai.client").Mistral(api_key=KEY, server_url=origin))


def _mistral_chat(client: Any, asking: Asking) -> Any:
    name = ("stream" if asking.stream else "complete") + ("" if asking.blocking else "_async")
    said = asking.only(
        tools=[FUNCTION] if asking.tools else None,
        response_format={"type": "json_schema", "json_schema": {"name": "place", "schema_definition": SCHEMA}}
        if asking.schema
        else None,
    )
    return getattr(client.chat, name)(model=asking.model, messages=HELLO, **said)


def _cohere(gateway: Gateway, blocking: bool, origin: str) -> Any:
    return gateway.attach(_class("cohere", blocking, "ClientV2", "AsyncClientV2")(api_key=KEY, base_url=origin))


def _cohere_chat(client: Any, asking: Asking) -> Any:
    said = asking.only(
        tools=[FUNCTION] if asking.tools else None,
        response_format={"type": "json_object", "json_schema": SCHEMA} if asking.schema else None,
    )
    return (client.chat_stream if asking.stream else client.chat)(model=asking.model, messages=HELLO, **said)


def _cohere_text(answer: Any) -> str | None:
    if hasattr(answer, "message"):
        text: str | None = answer.message.content[0].text
        return text
    return answer.delta.message.content.text if answer.type == "content-delta" else None


def _cohere_call(answer: Any) -> tuple[str, Any]:
    made = answer.message.tool_calls[0].function
    return made.name, json.loads(made.arguments)


def _ollama(gateway: Gateway, blocking: bool, origin: str) -> Any:
    return gateway.attach(_class("ollama", blocking, "Client", "AsyncClient")(host=origin))


def _ollama_chat(client: Any, asking: Asking) -> Any:
    said = asking.only(
        stream=asking.stream, tools=[FUNCTION] if asking.tools else None, format=SCHEMA if asking.schema else None
    )
    return client.chat(model=asking.model, messages=HELLO, **said)


def _ollama_call(answer: Any) -> tuple[str, Any]:
    made = answer.message.tool_calls[0].function
    return made.name, dict(made.arguments)


# LangChain.


def _chain(module: str, name: str) -> Callable[[Gateway, bool, str], Any]:
    def make(gateway: Gateway, blocking: bool, origin: str) -> Any:
        cls = getattr(import_module(module), name)
        return gateway.attach(cls(model="m", api_key=KEY, base_url=origin))

    return make


def _invoke(client: Any, asking: Asking) -> Any:
    if asking.tools:
        client = client.bind_tools([FUNCTION])
    if asking.schema:
        client = client.with_structured_output({"title": "place", **SCHEMA}, method="json_schema")
    verb = ("" if asking.blocking else "a") + ("stream" if asking.stream else "invoke")
    return getattr(client, verb)("hello", model=asking.model)


def _chain_text(answer: Any) -> str | None:
    return json.dumps(answer) if isinstance(answer, dict) else answer.text


def _chain_call(answer: Any) -> tuple[str, Any]:
    made = answer.tool_calls[0]
    return made["name"], made["args"]


# Pydantic AI and the Agents of OpenAI, which call the tool themselves.


class Agent:
    """An agent with what its tool was called with; `native` if its models take schemas, others are given a tool."""

    def __init__(self, model: Callable[[str], Any], native: bool = True) -> None:
        self.model, self.native = model, native
        self.called: list[tuple[str, Any]] = []

    def weather(self, city: str) -> str:
        """The weather in a city."""
        self.called.append(("weather", {"city": city}))
        return "rain"


def _pydantic(kind: str) -> Callable[[Gateway, bool, str], Any]:
    def make(gateway: Gateway, blocking: bool, origin: str) -> Any:
        sdk, client_class, model_class = ("openai", "AsyncOpenAI", "OpenAIChatModel")
        if kind == "anthropic":
            sdk, client_class, model_class = ("anthropic", "AsyncAnthropic", "AnthropicModel")
        client = gateway.attach(getattr(import_module(sdk), client_class)(api_key=KEY, base_url=origin))
        provider_class = model_class.removesuffix("Model").removesuffix("Chat") + "Provider"
        provider = getattr(import_module(f"pydantic_ai.providers.{kind}"), provider_class)(**{f"{kind}_client": client})
        model = getattr(import_module(f"pydantic_ai.models.{kind}"), model_class)
        return Agent(lambda name: model(name, provider=provider), native=kind == "openai")

    return make


def _place() -> Any:
    from pydantic import create_model

    return create_model("Place", city=(str, ...))


def _run_pydantic(client: Agent, asking: Asking) -> Any:
    from pydantic_ai import Agent as PydanticAgent, NativeOutput

    place = NativeOutput(_place()) if client.native else _place()
    said = asking.only(tools=[client.weather] if asking.tools else None, output_type=place if asking.schema else None)
    agent: Any = PydanticAgent(client.model(asking.model), **said)

    async def streaming() -> Any:
        async with agent.run_stream("hello") as result:
            async for piece in result.stream_text(delta=True, debounce_by=None):
                yield piece

    async def running() -> Any:
        return _Ran(client, (await agent.run("hello")).output)

    if asking.stream:
        return (
            agent.run_stream_sync("hello").stream_text(delta=True, debounce_by=None) if asking.blocking else streaming()
        )
    return _Ran(client, agent.run_sync("hello").output) if asking.blocking else running()


class _Ran:
    def __init__(self, agent: Agent, output: Any) -> None:
        self.agent, self.output = agent, output


def _ran_text(answer: Any) -> str | None:
    if isinstance(answer, str):
        return answer
    output = answer.output
    return output if isinstance(output, str) else json.dumps(output.model_dump())


def _agents(gateway: Gateway, blocking: bool, origin: str) -> Any:
    import agents
    import openai

    agents.set_tracing_disabled(True)
    client = gateway.attach(openai.AsyncOpenAI(api_key=KEY, base_url=origin))
    return Agent(lambda name: agents.OpenAIChatCompletionsModel(name, client))


def _run_agents(client: Agent, asking: Asking) -> Any:
    import agents

    said = asking.only(
        tools=[agents.function_tool(client.weather)] if asking.tools else None,
        output_type=_place() if asking.schema else None,
    )
    agent: Any = agents.Agent(name="a", model=client.model(asking.model), **said)

    async def streaming() -> Any:
        async for event in agents.Runner.run_streamed(agent, "hello").stream_events():
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                yield event.data.delta

    async def running() -> Any:
        return _Ran(client, (await agents.Runner.run(agent, "hello")).final_output)

    if asking.stream:
        return streaming()
    return _Ran(client, agents.Runner.run_sync(agent, "hello").final_output) if asking.blocking else running()


# Instructor, LiteLLM, any-llm.


def _instructor(gateway: Gateway, blocking: bool, origin: str) -> Any:
    import instructor
    import openai

    cls = openai.OpenAI if blocking else openai.AsyncOpenAI
    return instructor.from_openai(gateway.attach(cls(api_key=KEY, base_url=origin)))


def _extract(client: Any, asking: Asking) -> Any:
    model = _place() if asking.schema else None
    said = asking.only(stream=asking.stream, tools=[FUNCTION] if asking.tools else None)
    return client.chat.completions.create(
        model=asking.model, messages=HELLO, response_model=model, max_retries=0, **said
    )


def _extracted(answer: Any) -> str | None:
    return _choice(answer) if hasattr(answer, "choices") else json.dumps(answer.model_dump())


def _litellm(gateway: Gateway, blocking: bool, origin: str) -> Any:
    return _like_openai("openai", "OpenAI", "AsyncOpenAI")(gateway, blocking, origin)


def _lite(client: Any, asking: Asking) -> Any:
    import litellm

    said = asking.only(
        stream=asking.stream,
        tools=[FUNCTION] if asking.tools else None,
        response_format=FORMAT if asking.schema else None,
    )
    verb: Any = litellm.completion if asking.blocking else litellm.acompletion
    return verb(f"openai/{asking.model}", HELLO, client=client, num_retries=0, **said)


def _any_llm(gateway: Gateway, blocking: bool, origin: str) -> Any:
    from any_llm import AnyLLM

    return gateway.attach(AnyLLM.create("openai", api_key=KEY, api_base=origin))


def _any(client: Any, asking: Asking) -> Any:
    said = asking.only(
        stream=asking.stream,
        tools=[FUNCTION] if asking.tools else None,
        response_format=FORMAT if asking.schema else None,
    )
    return (client.completion if asking.blocking else client.acompletion)(model=asking.model, messages=HELLO, **said)


def _openai(name: str, module: str, *classes: str, base: str = "/v1") -> Adapter:
    return Adapter(
        name, module, _like_openai(module, *classes), _complete, _choice, _choice_call, f"{module}.RateLimitError", base
    )


STREAMS_ASYNC = "it streams with asyncio alone"

ADAPTERS = [
    _openai("openai", "openai", "OpenAI", "AsyncOpenAI"),
    Adapter(
        "anthropic", "anthropic", _like_openai("anthropic", "Anthropic", "AsyncAnthropic"), _message, _block, _block_call,
        "anthropic.RateLimitError",
    ),
    Adapter(
        "google-genai", "google.genai", _google, _generate, lambda answer: answer.text,
        lambda answer: (answer.function_calls[0].name, answer.function_calls[0].args), "google.genai.errors.ClientError",
    ),
    Adapter(
        "mistralai", "mistralai.client", _mistral, _mistral_chat,
        lambda answer: _choice(getattr(answer, "data", answer)), _choice_call, "mistralai.client.errors.SDKError",
    ),
    Adapter(
        "cohere", "cohere", _cohere, _cohere_chat, _cohere_text, _cohere_call, "cohere.errors.TooManyRequestsError",
    ),
    _openai("groq", "groq", "Groq", "AsyncGroq", base=""),
    _openai("together", "together", "Together", "AsyncTogether", base=""),
    Adapter(
        "ollama", "ollama", _ollama, _ollama_chat, lambda answer: answer.message.content, _ollama_call,
        "ollama.ResponseError",
    ),
    Adapter(
        "langchain-openai", "langchain_openai", _chain("langchain_openai", "ChatOpenAI"), _invoke, _chain_text,
        _chain_call, "openai.RateLimitError", "/v1",
    ),
    Adapter(
        "langchain-anthropic", "langchain_anthropic", _chain("langchain_anthropic", "ChatAnthropic"), _invoke,
        _chain_text, _chain_call, "anthropic.RateLimitError",
    ),
    Adapter(
        "pydantic-ai-slim", "pydantic_ai", _pydantic("openai"), _run_pydantic, _ran_text,
        lambda answer: answer.agent.called[0], "pydantic_ai.exceptions.ModelHTTPError", "/v1",
    ),
    Adapter(
        "pydantic-ai-slim, of Anthropic", "pydantic_ai", _pydantic("anthropic"), _run_pydantic, _ran_text,
        lambda answer: answer.agent.called[0], "pydantic_ai.exceptions.ModelHTTPError",
    ),
    Adapter(
        "instructor", "instructor", _instructor, _extract, _extracted, _choice_call,
        "openai.RateLimitError", "/v1",
    ),
    Adapter("litellm", "litellm", _litellm, _lite, _choice, _choice_call, "litellm.RateLimitError", "/v1",
        {"cancel sync": "its streams cannot be closed"}),
    Adapter("any-llm-sdk", "any_llm", _any_llm, _any, _choice, _choice_call, "openai.RateLimitError", "/v1"),
    Adapter(
        "openai-agents", "agents", _agents, _run_agents, _ran_text, lambda answer: answer.agent.called[0],
        "openai.RateLimitError", "/v1", {"stream sync": STREAMS_ASYNC, "cancel sync": STREAMS_ASYNC},
    ),
]  # fmt: skip
