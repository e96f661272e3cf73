import numpy as np

from museg.data.clip_decoding import ClipCache
from museg.video.decoding import SampledVideo


def clip(num_bytes: int) -> SampledVideo:
    return SampledVideo(np.zeros((num_bytes, 1, 1, 1), np.uint8), np.zeros(num_bytes), 1.0, float(num_bytes), num_bytes)


def test_cache_drops_what_was_not_used_for_longest():
    cache = ClipCache(max_bytes=100)
    clips = {name: clip(40) for name in "abc"}
    cache.put("a", clips["a"])
    cache.put("b", clips["b"])
    assert cache.get("a") is clips["a"]  # b is now the one used longest ago
    cache.put("c", clips["c"])  # 120 bytes: b goes
    assert [cache.get(name) is not None for name in "abc"] == [True, False, True]


def test_clip_larger_than_the_cache_drops_nothing():
    cache = ClipCache(max_bytes=100)
    cache.put("small", clip(40))
    cache.put("large", clip(101))
    assert cache.get("small") is not None
    assert cache.get("large") is None


def test_cache_of_no_size_holds_nothing():
    cache = ClipCache(max_bytes=0)
    cache.put("a", clip(1))
    assert cache.get("a") is None


def test_putting_a_clip_twice_counts_it_once():
    cache = ClipCache(max_bytes=100)
    for _ in range(5):
        cache.put("a", clip(60))
    cache.put("b", clip(40))
    assert cache.get("a") is not None
    assert cache.get("b") is not None
