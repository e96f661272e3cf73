"""How long something took."""

import time


class Stopwatch:
    """Seconds between laps."""

    def __init__(self) -> None:
        self.last = time.perf_counter()

    def lap_s(self) -> float:
        """Seconds since the previous lap (or since it was made)."""
        now = time.perf_counter()
        elapsed_s, self.last = now - self.last, now
        return elapsed_s
