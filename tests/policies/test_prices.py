"""What an answer costs: arithmetic against hand-made sums, the published list against its own calculator."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal, localcontext

import genai_prices
import pytest
from genai_prices import data_snapshot, types
from hypothesis import given, settings, strategies as st

from llmgate.policies.prices import PriceBook, cost, nanodollars
from llmgate.types.deployment import Deployment, Price
from llmgate.types.response import Response
from llmgate.types.usage import Usage

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ALL_SORTS = Price(
    input=Decimal(4),
    output=Decimal(10),
    cache_read=Decimal(1),
    cache_write=Decimal(5),
    reasoning=Decimal(3),
    request=Decimal("0.01"),
)


def to(name: str, **fields: object) -> Deployment:
    provider, _, model = name.partition("/")
    return replace(Deployment(name, provider, model), **fields)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook()


class TestCost:
    """Tokens times price."""

    def test_prices_every_token_once(self) -> None:
        """
        The cached, written and thought parts have their own price and are not paid again as input or output.
        """
        usage = Usage(
            input_tokens=1000, output_tokens=500, cache_read_tokens=600, cache_write_tokens=100, reasoning_tokens=200
        )

        expected = Decimal(300 * 4 + 600 * 1 + 100 * 5 + 300 * 10 + 200 * 3) / 1_000_000 + Decimal("0.01")
        assert expected == cost(usage, ALL_SORTS)

    def test_bills_a_part_without_its_own_price_as_what_it_is_part_of(self) -> None:
        """
        With an input and an output price alone, only the two totals count.
        """
        usage = Usage(
            input_tokens=1000, output_tokens=500, cache_read_tokens=600, reasoning_tokens=200, input_audio_tokens=7
        )

        assert Decimal("0.009") == cost(usage, Price(input=Decimal(4), output=Decimal(10)))

    def test_bills_a_part_that_was_not_counted_as_what_it_is_part_of(self) -> None:
        """
        Who sends no count of cached tokens is billed for plain input.
        """
        assert Decimal("0.009") + Decimal("0.01") == cost(Usage(input_tokens=1000, output_tokens=500), ALL_SORTS)

    @pytest.mark.parametrize(("cached", "written"), [(366, 0), (0, 366), (200, 366)])
    def test_never_bills_more_cached_tokens_than_prompt_tokens(self, cached: int, written: int) -> None:
        """
        An upstream that reports more cached than prompt tokens is billed for its prompt tokens, none of them negative.
        """
        usage = Usage(input_tokens=228, output_tokens=0, cache_read_tokens=cached, cache_write_tokens=written)

        price = Price(input=Decimal(4), output=Decimal(10), cache_read=Decimal(1), cache_write=Decimal(1))
        assert Decimal("0.000228") == cost(usage, price)

    def test_reads_a_negative_count_as_none(self) -> None:
        """
        An upstream that sends a negative count of cached tokens raises no price with it.
        """
        usage = Usage(input_tokens=1000, output_tokens=0, cache_read_tokens=-5)

        assert Decimal("0.004") == cost(usage, Price(input=Decimal(4), output=Decimal(10), cache_read=Decimal(1)))

    @pytest.mark.parametrize("sort", ["audio", "image"])
    def test_prices_audio_and_images_apart(self, sort: str) -> None:
        """
        Audio has its own price in both directions, and so have images.
        """
        price = Price(
            input=Decimal(1), output=Decimal(2), **{f"input_{sort}": Decimal(40), f"output_{sort}": Decimal(80)}
        )
        usage = Usage(100, 50, **{f"input_{sort}_tokens": 60, f"output_{sort}_tokens": 40})

        assert Decimal(40 * 1 + 60 * 40 + 10 * 2 + 40 * 80) / 1_000_000 == cost(usage, price)

    @pytest.mark.parametrize("sort", ["audio", "image"])
    def test_is_unknown_when_cached_media_cannot_be_told_from_cached_text(self, sort: str) -> None:
        """
        Audio or images beside cached tokens are no sum of known parts when both have their own price.
        """
        price = Price(input=Decimal(1), output=Decimal(2), cache_read=Decimal("0.1"), **{f"input_{sort}": Decimal(40)})
        usage = Usage(100, 50, cache_read_tokens=30, **{f"input_{sort}_tokens": 60})

        assert cost(usage, price) is None
        assert cost(replace(usage, cache_read_tokens=0), price) is not None
        assert cost(usage, replace(price, cache_read=None)) is not None

    @pytest.mark.parametrize(
        ("usage", "price"),
        [
            (Usage(), ALL_SORTS),
            (Usage(), Price(input=Decimal(0), output=Decimal(0))),
            (Usage(input_tokens=10), ALL_SORTS),
            (Usage(output_tokens=10), ALL_SORTS),
            (Usage(output_tokens=10), Price(output=Decimal(1))),
            (Usage(input_tokens=10, output_tokens=10), Price()),
            (Usage(input_tokens=10, output_tokens=10), Price(input=Decimal(1))),
            (Usage(input_tokens=10, output_tokens=10), Price(output=Decimal(1))),
        ],
    )
    def test_is_none_when_a_count_or_a_price_that_matters_is_missing(self, usage: Usage, price: Price) -> None:
        """
        What is not known is None, never 0 and never the sum of the rest.
        """
        assert cost(usage, price) is None

    @pytest.mark.parametrize(
        ("usage", "price", "expected"),
        [
            (Usage(input_tokens=10), Price(input=Decimal(1)), "0.00001"),
            (Usage(input_tokens=10), Price(input=Decimal(1), output=Decimal(0)), "0.00001"),
            (Usage(input_tokens=10, output_tokens=0), Price(input=Decimal(1)), "0.00001"),
            (Usage(input_tokens=0, output_tokens=0), Price(), "0"),
        ],
    )
    def test_needs_no_price_for_what_was_not_used_and_no_count_for_what_is_free(
        self, usage: Usage, price: Price, expected: str
    ) -> None:
        """
        An embedding has a cost although it writes nothing and nothing is asked for writing.
        """
        assert Decimal(expected) == cost(usage, price)

    def test_believes_the_upstreams_own_figure_first(self) -> None:
        """
        A price the upstream names is the price, even where tokens times price say something else or nothing.
        """
        told = Usage(input_tokens=1000, output_tokens=500, cost=Decimal("0.0042"))

        assert Decimal("0.0042") == cost(told, ALL_SORTS)
        assert Decimal("0.0042") == cost(told, Price())
        assert Decimal(0) == cost(Usage(cost=Decimal(0)), ALL_SORTS)

    @pytest.mark.parametrize("figure", ["NaN", "sNaN", "Infinity", "-0.01"])
    def test_does_not_believe_a_figure_that_is_none(self, figure: str) -> None:
        """
        A figure that is no amount of money is passed over.
        """
        told = Usage(input_tokens=1_000_000, output_tokens=0, cost=Decimal(figure))

        assert Decimal(3) == cost(told, Price(input=Decimal(3), output=Decimal(1)))

    def test_is_not_rounded_by_the_callers_decimal_context(self) -> None:
        """
        A caller who computes with two digits still pays the exact price.
        """
        usage = Usage(input_tokens=123_457, output_tokens=7)
        with localcontext() as context:
            context.prec = 2
            amount = cost(usage, Price(input=Decimal("0.075"), output=Decimal("0.3")))
            nano = nanodollars(Decimal("0.123456789"))

        assert Decimal("0.009261375") == amount
        assert 123_456_789 == nano

    def test_rounds_nanodollars_up(self) -> None:
        """
        A fraction of a billionth counts as a whole one.
        """
        assert [1, 1, 0, 1_000_000_000] == [nanodollars(Decimal(x)) for x in ("1e-9", "1e-12", "0", "1")]

    @given(
        st.integers(0, 10**9),
        st.integers(0, 10**9),
        st.integers(-5, 10**10),
        st.integers(-5, 10**10),
        st.integers(-5, 10**10),
        st.decimals(0, 1000, places=6),
    )
    @settings(max_examples=100, deadline=None)
    def test_splitting_changes_nothing_when_all_sorts_cost_the_same(
        self, read: int, written: int, cached: int, cache_write: int, reasoning: int, price: Decimal
    ) -> None:
        """
        At one price for everything, however the tokens are sorted, the cost is all tokens times that price.
        """
        usage = Usage(read, written, cached, cache_write, reasoning)

        amount = cost(usage, Price(price, price, price, price, price))

        assert (read + written) * price / 1_000_000 == amount


class TestPriceBook:
    """The published list."""

    def test_uses_the_configured_price_and_leaves_the_list_alone(self) -> None:
        """
        Where the configuration names a price, the published list is not even loaded.
        """
        book = PriceBook()
        mine = to("openai/gpt-4o", price=Price(input=Decimal(1), output=Decimal(1)))

        assert Decimal("0.00002") == book.cost(mine, Usage(10, 10), NOON)
        assert Decimal("0.00002") == book.worst_case(mine, 10, 10, NOON)
        assert not book.loaded

    @pytest.mark.parametrize("usage", [Usage(), Usage(cost=Decimal("0.5"))])
    def test_does_not_load_the_list_when_the_usage_says_it_all(self, usage: Usage) -> None:
        """
        Without tokens, or with the upstream's own figure, no price is needed.
        """
        book = PriceBook()

        assert usage.cost == book.cost(to("openai/gpt-4o"), usage, NOON)
        assert not book.loaded

    @pytest.mark.parametrize(
        "name",
        ["openai/no-such-model", "openai-compatible/gpt-4o", "my-openai/gpt-4o", "simulated/gpt-4o", "/", "openai/"],
    )
    def test_does_not_know_what_is_not_listed(self, book: PriceBook, name: str) -> None:
        """
        An unknown model, and any model of a provider that is merely compatible, has no price.
        """
        assert book.price(to(name), NOON) is None
        assert book.cost(to(name), Usage(10, 10), NOON) is None
        assert book.worst_case(to(name), 10, 10, NOON) is None
        assert book.context_window(*name.split("/", 1)) is None

    def test_finds_a_provider_by_its_id_whatever_its_name(self) -> None:
        """
        Prices follow what the list calls a provider; its name is the user's.
        """
        book = PriceBook({"work": "x-ai", "openai": ""})

        assert book.price(to("work/grok-4"), NOON) == PriceBook().price(to("x-ai/grok-4"), NOON) is not None
        assert book.price(to("openai/gpt-4o"), NOON) is None

    def test_reads_an_entry_without_prices_as_unknown(self, book: PriceBook) -> None:
        """
        The list leaves prices out for free models and for those it knows nothing of; unknown is the safe reading.
        """
        assert book.price(to("cerebras/qwen-3-coder-480b"), NOON) is None

    def test_prices_long_prompts_by_their_threshold(self, book: PriceBook) -> None:
        """
        At the threshold the base price holds, one token later the higher one, for all tokens of the call.
        """
        gemini = to("google/gemini-2.5-pro")

        at = book.cost(gemini, Usage(200_000, 100), NOON)
        beyond = book.cost(gemini, Usage(200_001, 100), NOON)

        assert Decimal("0.251") == at
        assert (200_001 * Decimal("2.5") + 100 * 15) / 1_000_000 == beyond

    def test_prices_change_with_the_hour(self, book: PriceBook) -> None:
        """
        A price that holds for some hours of the day is taken at the hour of the call, and back again.
        """
        deepseek = to("deepseek/deepseek-chat")

        amounts = [book.cost(deepseek, Usage(1_000_000, 0), NOON.replace(hour=hour)) for hour in (1, 17, 12)]

        assert [Decimal("0.27"), Decimal("0.135"), Decimal("0.27")] == amounts

    def test_prices_change_with_the_day(self, book: PriceBook) -> None:
        """
        A new price holds from the day it starts.
        """
        opus = to("anthropic/claude-opus-4-6")

        before = book.price(opus, datetime(2026, 3, 12, 23, 59, tzinfo=UTC), input_tokens=300_000)
        after = book.price(opus, datetime(2026, 3, 13, tzinfo=UTC), input_tokens=300_000)

        assert before is not None
        assert after is not None
        assert (Decimal(10), Decimal(5)) == (before.input, after.input)

    def test_prices_follow_the_service_tier(self, book: PriceBook) -> None:
        """
        What the upstream served on another tier costs that tier's price; an unheard-of tier the standard one.
        """
        gpt = to("openai/gpt-5")

        prices = [book.price(gpt, NOON, service_tier=tier) for tier in ("", "flex", "priority", "unheard-of")]

        assert [Decimal("1.25"), Decimal("0.625"), Decimal("2.5"), Decimal("1.25")] == [p and p.input for p in prices]

    def test_bills_the_model_that_answered(self, book: PriceBook) -> None:
        """
        Behind an alias or a name of the user's own, the model named in the answer has the price.
        """
        mine = to("azure/my-own-deployment")

        assert book.cost(mine, Usage(10, 10), NOON) is None
        assert book.cost(to("azure/gpt-4o"), Usage(10, 10), NOON) == book.cost(
            mine, Usage(10, 10), NOON, model="gpt-4o-2024-08-06"
        )

    def test_falls_back_to_the_model_that_was_asked(self, book: PriceBook) -> None:
        """
        An answer under a name that nobody lists is billed as what was asked for.
        """
        gpt = to("openai/gpt-4o")

        assert Decimal("2.5") == book.cost(gpt, Usage(10**6, 0), NOON, model="internal-17")

    def test_knows_context_windows(self, book: PriceBook) -> None:
        """
        The list says how much a model can read.
        """
        assert 128_000 == book.context_window("openai", "gpt-4o")

    def test_keeps_a_bounded_number_of_models(self) -> None:
        """
        However many names come by, the book does not grow, and what it forgot it finds again.
        """
        book = PriceBook(size=2)
        for number in range(5):
            book.context_window("openai", f"unheard-of-{number}")

        assert "<PriceBook 2 of at most 2 models>" == repr(book)
        assert 128_000 == book.context_window("openai", "gpt-4o")

    def test_does_not_look_up_a_name_without_end(self, book: PriceBook) -> None:
        """
        An upstream may answer with any name; one that is longer than any model's is not searched for.
        """
        assert book.context_window("anthropic", "claude-sonnet-4-5-" + "x" * 9) is not None
        assert book.context_window("anthropic", "claude-sonnet-4-5-" + "x" * 999) is None

    def test_takes_up_a_newer_list_at_once(self, book: PriceBook) -> None:
        """
        If the application updates genai-prices by itself, the next cost follows.
        """
        bundled = data_snapshot.get_snapshot()
        news = data_snapshot.DataSnapshot(
            providers=[
                types.Provider(
                    "openai",
                    "OpenAI",
                    "https://api.openai.com",
                    models=[
                        types.ModelInfo(
                            "gpt-4o",
                            types.ClauseEquals("gpt-4o"),
                            prices=types.ModelPrice(input_mtok=Decimal(7), output_mtok=Decimal(8)),
                        )
                    ],
                )
            ],
            from_auto_update=True,
        )
        gpt = to("openai/gpt-4o")
        before = book.cost(gpt, Usage(10**6, 0), NOON)
        data_snapshot.set_custom_snapshot(news)
        try:
            during = book.cost(gpt, Usage(10**6, 0), NOON)
        finally:
            data_snapshot.set_custom_snapshot(None)
        after = book.cost(gpt, Usage(10**6, 0), NOON)

        assert bundled is data_snapshot.get_snapshot()
        assert [Decimal("2.5"), Decimal(7), Decimal("2.5")] == [before, during, after]

    def test_loads_lazily_and_starts_nothing(self) -> None:
        """
        Importing the module does not import the list, and loading the list starts no thread and opens no socket.
        """
        script = (
            "import sys, threading, llmgate.policies.prices as prices\n"
            "assert 'genai_prices' not in sys.modules\n"
            "book = prices.PriceBook()\n"
            "sys.addaudithook(lambda event, args: exit(event) if event.startswith('socket.') else None)\n"
            "book.load()\n"
            "assert book.loaded and 'genai_prices' in sys.modules\n"
            "assert book.context_window('openai', 'gpt-4o') == 128_000\n"
            "assert threading.enumerate() == [threading.main_thread()]\n"
        )

        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

        assert (0, "") == (done.returncode, done.stderr)

    def test_answers_many_threads_at_once(self) -> None:
        """
        Threads that make a small book forget all the time still get the right price.
        """
        book = PriceBook(size=1)
        names = ["openai/gpt-4o", "mistral/mistral-large-latest", "x-ai/grok-4"]
        expected = {name: PriceBook().price(to(name), NOON) for name in names}
        wrong: list[str] = []

        def ask() -> None:
            wrong.extend(name for name in names * 20 if book.price(to(name), NOON) != expected[name])

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert [] == wrong


class TestPricer:
    """`Answer.cost`."""

    def test_prices_an_answer(self, book: PriceBook) -> None:
        """
        The cost of an answer is computed when it is asked for, by the model and the tier the answer names.
        """
        priced = book.pricer(to("openai/my-alias"), lambda: NOON)
        answer = Response(
            model="gpt-5", usage=Usage(1_000_000, 0), raw={"service_tier": "flex"}, priced=priced, choices=[]
        )

        assert Decimal("0.625") == answer.cost
        answer.raw = None
        assert Decimal("1.25") == answer.cost

    def test_a_cached_answer_costs_nothing(self, book: PriceBook) -> None:
        """
        What came out of a cache was paid for once.
        """
        answer = Response(usage=Usage(10, 10), cached="memory", priced=book.pricer(to("openai/gpt-4o"), lambda: NOON))

        assert Decimal(0) == answer.cost

    @pytest.mark.parametrize("raw", [[], "text", {"service_tier": 7}, {"service_tier": None}])
    def test_is_not_shaken_by_an_odd_answer(self, book: PriceBook, raw: object) -> None:
        """
        Whatever stands where the tier should be, the standard price holds.
        """
        answer = Response(usage=Usage(1_000_000, 0), raw=raw, priced=book.pricer(to("openai/gpt-5"), lambda: NOON))

        assert Decimal("1.25") == answer.cost


class TestWorstCase:
    """What a call may cost at most."""

    def test_takes_the_dearest_sort_of_each_direction(self, book: PriceBook) -> None:
        """
        All of the prompt may be written into the cache, which costs more than reading it.
        """
        worst = book.worst_case(to("anthropic/claude-haiku-4-5"), 1_000_000, 1_000_000, NOON)

        assert Decimal("6.25") == worst

    @given(st.integers(0, 300_000), st.integers(0, 10_000), st.data())
    @settings(max_examples=100, deadline=None)
    def test_no_text_call_costs_more(self, read: int, written: int, data: st.DataObject) -> None:
        """
        However the tokens are sorted, the worst case is not passed.
        """
        name = data.draw(st.sampled_from(["anthropic/claude-sonnet-4-5", "google/gemini-2.5-pro", "perplexity/sonar"]))
        usage = Usage(read, written, data.draw(st.integers(0, read)), data.draw(st.integers(0, read)))
        deployment = to(name)

        worst, amount = BOOK.worst_case(deployment, read, written, NOON), BOOK.cost(deployment, usage, NOON)

        assert worst is not None
        assert amount is not None
        assert amount <= worst


BOOK = PriceBook()


def theirs(name: str, usage: Usage, at: datetime) -> Decimal | None:
    """The same cost as genai-prices computes it; None where it refuses."""
    provider, _, model = name.partition("/")
    parts = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "output_reasoning_tokens": usage.reasoning_tokens,
        "input_audio_tokens": usage.input_audio_tokens,
        "output_audio_tokens": usage.output_audio_tokens,
        "input_image_tokens": usage.input_image_tokens,
        "output_image_tokens": usage.output_image_tokens,
    }
    try:
        return genai_prices.calc_price(
            genai_prices.Usage(**parts), model, provider_id=provider, genai_request_timestamp=at
        ).total_price
    except ValueError:
        return None


class TestAgainstTheListsOwnCalculator:
    """The same sums as genai-prices, only faster."""

    @given(st.data())
    @settings(max_examples=150, deadline=None)
    def test_agrees_on_any_split(self, data: st.DataObject) -> None:
        """
        For any usage that adds up, our cost is theirs to the last digit, and unknown where they refuse.
        """
        name = data.draw(
            st.sampled_from(
                [
                    "anthropic/claude-opus-4-6",
                    "anthropic/claude-sonnet-4-5",
                    "anthropic/claude-haiku-4-5",
                    "azure/gpt-4o",
                    "deepseek/deepseek-chat",
                    "google/gemini-2.5-flash",
                    "google/gemini-2.5-pro",
                    "mistral/mistral-large-latest",
                    "openai/gpt-4o",
                    "openai/gpt-5",
                    "openai/gpt-audio",
                    "openai/gpt-realtime",
                    "perplexity/sonar-deep-research",
                    "x-ai/grok-4",
                ]
            )
        )
        read, written = data.draw(st.integers(0, 500_000)), data.draw(st.integers(0, 100_000))
        cached = data.draw(st.integers(0, read))
        cache_write = data.draw(st.integers(0, read - cached))
        audio = data.draw(st.just(0) | st.integers(0, read - cached - cache_write))
        reasoning = data.draw(st.integers(0, written))
        spoken = data.draw(st.just(0) | st.integers(0, written - reasoning))
        usage = Usage(read, written, cached, cache_write, reasoning, audio, spoken)
        at = data.draw(st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 1)))

        assert theirs(name, usage, at) == BOOK.cost(to(name), usage, at)

    @pytest.mark.parametrize(
        "name", ["openai/gpt-image-1", "openai/gpt-image-1.5", "google/gemini-2.5-flash-image", "openai/gpt-4o"]
    )
    def test_agrees_on_images(self, name: str) -> None:
        """
        What was read or drawn as an image has its own price where the list has one.
        """
        usage = Usage(1_000, 2_000, input_image_tokens=600, output_image_tokens=1_290)

        assert theirs(name, usage, NOON) == BOOK.cost(to(name), usage, NOON) is not None

    def test_agrees_on_every_model_that_is_priced_by_the_token(self) -> None:
        """
        For the whole list and one call with cached and written tokens, our cost is theirs.
        """
        usage = Usage(250_000, 1_000, 100_000, 50_000, 500)

        disagreeing = [name for name in listed() if theirs(name, usage, NOON) != BOOK.cost(to(name), usage, NOON)]

        assert [] == disagreeing


def listed() -> Iterator[str]:
    """Models with a price for reading and writing, by the name under which they are found."""
    snapshot = data_snapshot.get_snapshot()
    for provider in snapshot.providers:
        for model in provider.models:
            found = provider.find_model(model.id, all_providers=snapshot.providers)
            prices = found.get_prices(NOON) if found else None
            if prices and prices.input_mtok is not None and prices.output_mtok is not None:
                yield f"{provider.id}/{model.id}"
