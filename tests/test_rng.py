"""Private random numbers equal those of torch's global generator without using it."""

import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vitsplice.rng import private_rng, seeded, stream


def draws():
    """Draw numbers with many of torch's random operations on the CPU."""
    x = torch.randn(40).abs() / 4
    tensors = [
        x,
        torch.rand(2, 3),
        torch.rand_like(x),
        torch.randn_like(x),
        torch.randint(5, (4,)),
        torch.randint(2, 5, (4,)),
        torch.randint_like(x, 2, 5),
        torch.randperm(6),
        torch.normal(x, x),
        torch.normal(0.0, 1.0, (3,)),
        torch.bernoulli(x.clamp(0, 1)),
        torch.multinomial(x, 3),
        torch.poisson(x),
        torch.empty(3).exponential_(),
        torch.empty(3).bernoulli_(0.5),
        nn.init.trunc_normal_(torch.empty(3)),
        F.dropout(x, 0.5),
        F.rrelu(x, training=True),
        torch.native_dropout(x, 0.5, True)[0],
        torch.rand(2, out=torch.empty(2)),
        torch.distributions.Gamma(1.0, 1.0).sample(),
    ]
    layers = [nn.Linear(3, 2), nn.Conv2d(1, 2, 3), nn.LSTM(2, 3, 2), nn.Embedding(3, 2), nn.MultiheadAttention(4, 2)]
    return [*tensors, *(parameter.detach() for layer in layers for parameter in layer.parameters())]


@pytest.mark.parametrize("source", [7, seeded(7)], ids=["seed", "generator"])
def test_numbers_equal_those_of_the_global_generator(source):
    with torch.random.fork_rng():
        torch.manual_seed(7)
        expected = draws()
    before = torch.get_rng_state()
    with private_rng(source):
        drawn = draws()
    assert all(map(torch.equal, drawn, expected))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_generator_continues_in_the_next_block():
    whole, parts = seeded(3), seeded(3)
    with private_rng(whole):
        expected = torch.rand(2), torch.rand(2)
    drawn = []
    for _ in range(2):
        with private_rng(parts):
            drawn.append(torch.rand(2))
    assert all(map(torch.equal, drawn, expected))


def test_an_explicit_generator_is_used():
    with private_rng(1):
        drawn = torch.rand(3, generator=seeded(5))
    assert torch.equal(drawn, torch.rand(3, generator=seeded(5)))


def test_other_threads_use_the_global_generator():
    drawn, go, done = [], threading.Event(), threading.Event()

    def host():
        go.wait()
        drawn.append(torch.rand(4))
        done.set()

    with torch.random.fork_rng():
        torch.manual_seed(11)
        expected = torch.rand(4)
        torch.manual_seed(11)
        thread = threading.Thread(target=host)
        thread.start()
        with private_rng(0):
            torch.rand(100)
            go.set()
            done.wait()
            torch.rand(100)
        thread.join()
    assert torch.equal(drawn[0], expected)


def test_a_global_seed_set_by_another_thread_is_not_restored():
    go, done = threading.Event(), threading.Event()
    with torch.random.fork_rng():
        with private_rng(0):
            host = threading.Thread(target=lambda: (torch.manual_seed(13), done.set(), go.wait()))
            host.start()
            done.wait()
        drawn = torch.rand(4)
        go.set()
        host.join()
        torch.manual_seed(13)
        assert torch.equal(drawn, torch.rand(4))


def test_a_global_seed_set_in_the_block_is_restored(monkeypatch):
    monkeypatch.setattr(threading, "active_count", lambda: 1)  # other tests may leave threads
    before = torch.get_rng_state()
    with private_rng(0):
        torch.manual_seed(torch.initial_seed() ^ 1)  # another seed
    assert torch.equal(torch.get_rng_state(), before)


def test_a_stream_depends_on_every_part_of_its_key():
    assert torch.equal(torch.rand(3, generator=stream(0, "a", 1)), torch.rand(3, generator=stream(0, "a", 1)))
    assert not torch.equal(torch.rand(3, generator=stream(0, "a", 1)), torch.rand(3, generator=stream(0, "a", 2)))


def test_attention_without_dropout_does_not_touch_the_global_generator(monkeypatch):
    attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x, states = torch.ones(1, 4, 8), []
    with private_rng(0):
        monkeypatch.setattr(torch, "set_rng_state", states.append)
        attention(x, x, x, need_weights=False)
        assert not states
        F.scaled_dot_product_attention(x[None], x[None], x[None], dropout_p=0.5)
        torch.ops.aten.native_dropout(x, 0.5, True)
    assert states


@pytest.mark.timeout(60)
def test_blocks_may_be_nested_for_operations_that_support_only_the_global_generator():
    with private_rng(0), private_rng(1):
        nested = F.dropout(torch.ones(100), training=True), torch.ops.aten.native_dropout(torch.ones(100), 0.5, True)[0]
    with private_rng(1):
        alone = F.dropout(torch.ones(100), training=True), torch.ops.aten.native_dropout(torch.ones(100), 0.5, True)[0]
    assert all(torch.equal(*pair) for pair in zip(nested, alone, strict=True))
