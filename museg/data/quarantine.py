"""The list of clips that could not be read, kept beside the run so that a resumed one does not try them again."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path


class Quarantine:
    """Unreadable clips by video path; every addition is appended to a JSON Lines file at once.

    A line holds `video`, `example_ids` (those that asked for it first), `reasons` (decoder to reason) and `step`. Of
    several processes that share the file only one `writes`; the others tell it what they find (`untold`).
    """

    def __init__(self, file: Path, *, writes: bool = True) -> None:
        self.file, self.writes = Path(file), writes
        self._rows: dict[str, dict] = {}
        self._num_told = 0

    @classmethod
    def load(cls, file: Path, *, writes: bool = True) -> "Quarantine":
        """Read the list of an earlier run; an absent file is an empty list, a half-written last line is dropped.

        Raises ValueError for a damaged line elsewhere.
        """
        quarantine = cls(file, writes=writes)
        lines = quarantine.file.read_bytes().split(b"\n") if quarantine.file.exists() else []
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                quarantine._rows[row["video"]] = {**row, "step": int(row["step"])}
            except (ValueError, KeyError, TypeError) as error:
                if number == len(lines):
                    quarantine._write()
                    break
                raise ValueError(f"{file}:{number}: not a quarantine line ({error}); remove it to go on") from error
        quarantine._num_told = len(quarantine._rows)
        return quarantine

    def __contains__(self, video: str) -> bool:
        return video in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def reasons(self, video: str) -> Mapping[str, str]:
        """Why `video` is here, by decoder. Raises KeyError when it is not."""
        return self._rows[video]["reasons"]

    def add(self, video: str, example_ids: Sequence[str], reasons: Mapping[str, str], step: int) -> None:
        """Put a clip on the list, in memory and on disk; one that is already there stays as it was."""
        if video in self._rows:
            return
        row = {"video": video, "example_ids": list(example_ids), "reasons": dict(reasons), "step": step}
        self._rows[video] = row
        if not self.writes:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop what was added at steps later than `step`, for a run that goes back to it."""
        kept = {video: row for video, row in self._rows.items() if row["step"] <= step}
        if len(kept) < len(self._rows):
            self._rows = kept
            self._num_told = min(self._num_told, len(kept))
            self._write()

    def untold(self) -> list[dict]:
        """The rows added since this was last asked, as arguments of `add`."""
        rows = list(self._rows.values())[self._num_told :]
        self._num_told = len(self._rows)
        return rows

    def _write(self) -> None:
        """Replace the file in one move, so that a kill leaves the old list or the new one."""
        if not self.writes:
            return
        temporary = self.file.with_name(f".{self.file.name}.{os.getpid()}")
        temporary.write_text("".join(json.dumps(row) + "\n" for row in self._rows.values()), encoding="utf-8")
        temporary.replace(self.file)

    @property
    def counts(self) -> dict[str, int]:
        """Number of clips on the list, and of the examples named with them."""
        return {
            "videos": len(self._rows),
            "examples": sum(len(row["example_ids"]) for row in self._rows.values()),
        }
