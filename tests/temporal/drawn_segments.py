"""Hypothesis strategies for segments whose boundaries lie on hundredths of a second, at least one hundredth long."""

from hypothesis import strategies as st

from museg.temporal.segments import Segment


def segments(max_s: int = 200) -> st.SearchStrategy[Segment]:
    """Proper segments within 0 ... max_s."""
    boundaries_cs = st.lists(st.integers(0, max_s * 100), min_size=2, max_size=2, unique=True).map(sorted)
    return boundaries_cs.map(lambda pair: Segment(pair[0] / 100, pair[1] / 100))


def segment_lists(min_size: int = 0, max_size: int = 6, max_s: int = 60) -> st.SearchStrategy[list[Segment]]:
    """Lists of proper segments in any order, overlapping or not."""
    return st.lists(segments(max_s), min_size=min_size, max_size=max_size)


def disjoint_lists(min_size: int = 1, max_size: int = 5) -> st.SearchStrategy[list[Segment]]:
    """Sorted lists of proper segments with gaps between them."""

    def pair_up(boundaries_cs: list[int]) -> list[Segment]:
        ordered = sorted(boundaries_cs)[: len(boundaries_cs) // 2 * 2]
        return [Segment(a / 100, b / 100) for a, b in zip(ordered[::2], ordered[1::2], strict=True)]

    sizes = {"min_size": 2 * min_size, "max_size": 2 * max_size}
    return st.lists(st.integers(0, 6000), unique=True, **sizes).map(pair_up)
