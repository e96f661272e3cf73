from types import SimpleNamespace

from museg.training import stopwatch


def test_laps_follow_each_other(monkeypatch):
    clock = iter([10.0, 12.5, 13.0])
    monkeypatch.setattr(stopwatch, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    watch = stopwatch.Stopwatch()
    # from 10 to 12.5, then from 12.5 to 13
    assert [watch.lap_s(), watch.lap_s()] == [2.5, 0.5]
