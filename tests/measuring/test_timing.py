"""edgeward.timing: ways that take turns, and what is read from their times."""

import gc

import pytest

from edgeward.measuring import timing
from edgeward.measuring.timing import Way


def counting_way(name: str, us_per_call: float, log: list[str]) -> Way:
    """Says that each call took that long; takes no time itself."""

    def seconds(count: int) -> float:
        log.append(name)
        return count * us_per_call / 1e6

    return Way(name, True, seconds)


@pytest.mark.parametrize(
    ("us_per_call", "expected"), [(1.0, 500), (250.0, 2), (500.0, 1), (1e6, 1)], ids=str
)
def test_a_block_takes_half_a_millisecond_or_one_call(us_per_call, expected):
    assert timing.calls_per_block(counting_way("a", us_per_call, [])) == expected


def test_every_way_has_a_number_in_every_round():
    ways = [counting_way("a", 2.0, []), counting_way("b", 3.0, [])]
    rounds = timing.alternate(ways, seconds=0.0, seed=1)
    assert list(rounds) == ["a", "b"]
    assert rounds["a"] == pytest.approx([2.0] * timing.MIN_ROUNDS)
    assert rounds["b"] == pytest.approx([3.0] * timing.MIN_ROUNDS)


def test_both_orders_occur_within_the_rounds():
    log: list[str] = []
    ways = [counting_way("a", 500.0, log), counting_way("b", 500.0, log)]
    timing.alternate(ways, seconds=0.0, seed=1)
    calls = log[-4 * timing.MIN_ROUNDS :]  # each block is one call untimed and one timed
    firsts = set(calls[::4])
    assert firsts == {"a", "b"}


def test_a_ratio_is_the_median_of_the_ratios_within_the_rounds():
    rounds = {"a": [1.0, 8.0, 3.0], "b": [2.0, 2.0, 4.0]}
    assert timing.ratio(rounds, "a", "b") == timing.Ratio("a", "b", 0.75, 0.5, 4.0)


def test_ratios_of_unequal_rounds_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        timing.ratio({"a": [1.0, 2.0], "b": [1.0]}, "a", "b")


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([5.0], (1, 5.0, 5.0, 5.0, 5.0, 5.0)),
        ([2.0, 1.0], (2, 1.0, 2.0, 2.0, 2.0, 2.0)),
        ([float(n) for n in range(1000, 0, -1)], (1000, 500.0, 900.0, 990.0, 999.0, 1000.0)),
    ],
    ids=["one", "two", "a thousand"],
)
def test_percentiles_are_times_that_were_seen(samples, expected):
    assert timing.percentiles(samples) == timing.Latency(*expected)


def test_latencies_has_enough_samples_of_each_way():
    latencies = timing.latencies([counting_way("a", 2.0, []), counting_way("b", 600.0, [])], 0.0)
    assert {name: latency.p50_us for name, latency in latencies.items()} == pytest.approx(
        {"a": 2.0, "b": 600.0}
    )
    assert min(latency.calls for latency in latencies.values()) >= timing.MIN_SAMPLES


def test_a_statement_runs_as_often_as_asked():
    seen: list[int] = []
    way = timing.statement_way("append", "append(1)", is_ours=False, append=seen.append)
    assert way.seconds(7) >= 0
    assert (len(seen), way.name, way.is_ours) == (7, "append", False)


def test_the_collector_is_back_after_an_error():
    def fail(count: int) -> float:
        assert not gc.isenabled()
        raise KeyError(count)

    with pytest.raises(KeyError):
        timing.alternate([Way("a", True, fail)], seconds=0.0, seed=1)
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_a_limit_ends_a_slow_way_before_it_has_all_its_rounds():
    ways = [counting_way("a", 1e6, []), counting_way("b", 1e6, [])]
    rounds = timing.alternate(ways, seconds=0.0, seed=1, limit_s=0.0)
    assert rounds == {"a": [pytest.approx(1e6)], "b": [pytest.approx(1e6)]}
    latencies = timing.latencies(ways, seconds=0.0, limit_s=0.0)
    assert [latency.calls for latency in latencies.values()] == [1, 1]
