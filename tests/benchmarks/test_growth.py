"""What is drawn of the grid."""

import json

from tests.benchmarks import growth
from tests.benchmarks.measure import Shape, comparison


def row(shape, shared_s):
    """Released takes five times as long and as much memory; nothing fits at 4096 prompt tokens but ours."""
    sides = {"released": 5, "shared": 1} if Shape.read(shape).prompt < 4096 else {"shared": 1}
    seconds = {"wall_s": {side: [factor * shared_s, factor * shared_s + 9, 0.1] for side, factor in sides.items()}}
    peaks_mib = {side: factor * 100 * shared_s for side, factor in sides.items()}
    return comparison("log-probabilities", shape, ours="shared", seconds=seconds, peaks_mib=peaks_mib)


ROWS = [row("4096x128x8", 4.0), row("1024x128x8", 1.0), row("1024x64x8", 0.5), row("2048x64x8", 3.0)]


def test_a_line_leaves_one_size_free():
    # medians of s, s + 9 and 0.1; the last row differs from the centre in two sizes
    assert growth.series(ROWS, "prompt", "shared", "s") == [(1024, 1.0), (4096, 4.0)]
    assert growth.series(ROWS, "prompt", "released", "s") == [(1024, 5.0)]
    assert growth.series(ROWS, "completion", "released", "MiB") == [(64, 250.0), (128, 500.0)]
    assert growth.series(ROWS, "generations", "plain", "MiB") == []


def test_draws_the_results_file_beside_it(tmp_path, capsys):
    file = tmp_path / "grid.json"
    file.write_text(json.dumps({"rows": ROWS}))
    growth.main([str(file)])
    assert capsys.readouterr().out.strip() == str(tmp_path / "grid.png")
    assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")
