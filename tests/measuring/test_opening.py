"""Opening packages: a number for each cipher and each number of threads."""

from __future__ import annotations

from edgeward.measuring import opening


def test_each_cipher_is_opened_on_each_number_of_threads(monkeypatch):
    monkeypatch.setattr(opening, "PAYLOAD_BYTES", 1 << 16)
    steps = []
    openings = opening.report([1, 2], 0.001, steps.append)
    assert [(o.cipher, o.threads) for o in openings] == [
        (cipher, threads) for cipher in opening.CIPHERS for threads in (1, 2)
    ]
    assert all(o.mb_per_s > 0 and o.rounds >= opening.LEAST_ROUNDS for o in openings)
    assert len(steps) == len(opening.CIPHERS)
