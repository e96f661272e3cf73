import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from museg.phases.batches import ExampleRef, by_phase, by_step, derive_seed

RELEASED = {"prompts_per_step": 14, "file_sizes": (5600, 7000), "seed": 3}


def test_the_released_files_are_read_once_each_with_the_boundary_at_step_400():
    drawn = [by_step(step, **RELEASED) for step in range(900)]
    first = [ref for batch in drawn[:400] for ref in batch]
    second = [ref for batch in drawn[400:] for ref in batch]
    assert Counter(first) == Counter(ExampleRef(0, row) for row in range(5600))
    assert Counter(second) == Counter(ExampleRef(1, row) for row in range(7000))


def test_after_the_last_row_the_files_start_over_in_another_order():
    first, again = ([ref for step in range(400) for ref in by_step(start + step, **RELEASED)] for start in (0, 900))
    assert first != again
    assert Counter(first) == Counter(again)


def test_batches_depend_on_the_seed_and_on_nothing_that_happened():
    batch = by_step(7, **RELEASED)
    random.seed(1)
    by_step(123, **RELEASED)
    assert by_step(7, **RELEASED) == batch
    assert by_step(7, **(RELEASED | {"seed": 4})) != batch


def test_rows_are_shuffled():
    rows = [ref.row for step in range(400) for ref in by_step(step, **RELEASED)]
    assert rows != sorted(rows)
    # of 5,600 shuffled rows about one stays in place
    assert sum(row == index for index, row in enumerate(rows)) < 20


@given(
    prompts_per_step=st.integers(1, 7),
    file_sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    seed=st.integers(0, 2**31),
    num_epochs=st.integers(1, 3),
)
def test_every_row_is_drawn_exactly_once_per_epoch(prompts_per_step, file_sizes, seed, num_epochs):
    # whatever the sizes: read enough steps, then cut the stream at the epochs
    rows = sum(file_sizes)
    steps = -(-num_epochs * rows // prompts_per_step)
    drawn = [
        ref
        for step in range(steps)
        for ref in by_step(step, prompts_per_step=prompts_per_step, file_sizes=file_sizes, seed=seed)
    ]
    everything = {ExampleRef(file, row) for file, size in enumerate(file_sizes) for row in range(size)}
    for epoch in range(num_epochs):
        stretch = drawn[epoch * rows : (epoch + 1) * rows]
        assert set(stretch) == everything and len(stretch) == rows
        assert [ref.file for ref in stretch] == sorted(ref.file for ref in stretch)  # one file after another


@given(
    sizes=st.lists(st.tuples(st.integers(1, 6), st.integers(0, 15)), min_size=1, max_size=3),
    prompts_per_step=st.integers(1, 5),
)
def test_a_file_that_lacks_rows_is_filled_up_with_its_own(sizes, prompts_per_step):
    file_sizes, num_draws = [size for size, _ in sizes], [size + lacking for size, lacking in sizes]
    steps = -(-2 * sum(num_draws) // prompts_per_step)
    settings = {"prompts_per_step": prompts_per_step, "file_sizes": file_sizes, "num_draws": num_draws, "seed": 0}
    drawn = [ref for step in range(steps) for ref in by_step(step, **settings)]
    for _ in range(2):
        for file, (size, draws) in enumerate(zip(file_sizes, num_draws, strict=True)):
            own, drawn = drawn[:draws], drawn[draws:]
            assert {ref.file for ref in own} == {file}
            counts = Counter(ref.row for ref in own)
            # whole rounds first, then part of one: no row is drawn twice more than another
            assert set(counts) == set(range(size)) and max(counts.values()) - min(counts.values()) <= 1


def test_a_file_that_lacks_no_rows_keeps_its_order():
    assert all(
        by_step(step, **RELEASED, num_draws=(5600, 7000)) == by_step(step, **RELEASED) for step in range(0, 900, 9)
    )


@given(
    prompts_per_step=st.integers(1, 5),
    file_sizes=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    phase_index=st.integers(0, 4),
)
def test_by_phase_reads_its_own_file_and_reshuffles_it(prompts_per_step, file_sizes, phase_index):
    file = min(phase_index, len(file_sizes) - 1)
    size = file_sizes[file]
    drawn = [
        ref
        for step in range(2 * size)
        for ref in by_phase(phase_index, step, prompts_per_step=prompts_per_step, file_sizes=file_sizes, seed=0)
    ]
    for start in range(0, len(drawn), size):
        assert Counter(drawn[start : start + size]) == Counter(ExampleRef(file, row) for row in range(size))


def test_by_phase_orders_differ_between_rounds_and_phases():
    settings = {"prompts_per_step": 100, "file_sizes": (100,), "seed": 0}
    orders = {tuple(by_phase(phase, step, **settings)) for phase in range(2) for step in range(2)}
    assert len(orders) == 4


@pytest.mark.parametrize(
    "wrong", [{"prompts_per_step": 0}, {"file_sizes": ()}, {"file_sizes": (3, 0)}], ids=["prompts", "files", "rows"]
)
def test_refused_settings(wrong):
    settings = RELEASED | wrong
    with pytest.raises(ValueError):
        by_step(0, **settings)
    with pytest.raises(ValueError):
        by_phase(0, 0, **settings)


def test_refused_draws():
    for num_draws in ((5600, 6999), (5600,)):
        with pytest.raises(ValueError):
            by_step(0, **RELEASED, num_draws=num_draws)


def test_refused_steps():
    with pytest.raises(ValueError, match="step must be 0 or more"):
        by_step(-1, **RELEASED)
    with pytest.raises(ValueError, match="phase_index must be 0 or more"):
        by_phase(-1, 0, **RELEASED)


def test_seeds_have_63_bits_and_depend_on_every_part():
    seeds = [
        derive_seed(*parts)
        for parts in [(), (0,), (1,), ("1",), (0, 1), (1, 0), (0, "a"), ("0", "1"), ("01",), ("0,1",), (0, 1, 0)]
    ]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(derive_seed(n) for n in range(100)) > 2**62


def test_seeds_and_orders_never_change():
    # written down once: a resumed run and a rerun on another Python must draw the same examples
    assert derive_seed(0, "rollout", 17) == 8579771072863839432
    assert [ref.row for ref in by_step(0, prompts_per_step=5, file_sizes=(10,), seed=0)] == [8, 2, 0, 9, 4]
