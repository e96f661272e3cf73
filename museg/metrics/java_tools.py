"""The two Java programs that pycocoevalcap carries: the Penn Treebank tokenizer and METEOR 1.5."""

import atexit
import shutil
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from museg.metrics.sentence_similarity import REMEDY

TOKENIZER_JAR = "tokenizer/stanford-corenlp-3.4.1.jar"
METEOR_JAR = "meteor/meteor-1.5.jar"


def tokenise(texts: Sequence[str]) -> list[str]:
    """Lower-case words without punctuation, separated by single blanks, for each of `texts`; one run of Java for all.

    `texts` are ASCII without control characters (see `caption_scores.readable`). Blank lines keep them apart, so that
    no text is read in the light of its neighbour.

    Source: pycocoevalcap 1.2, tokenizer/ptbtokenizer.py.
    """
    arguments = ["-cp", jar(TOKENIZER_JAR), "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
    done = subprocess.run([java(), *arguments], input="\n\n".join(texts).encode(), capture_output=True, check=False)
    lines = done.stdout.decode().split("\n")[::2]
    if done.returncode or len(lines) < len(texts):
        raise RuntimeError(f"the tokenizer gave {len(lines)} lines for {len(texts)} captions\n{done.stderr[-2000:]!r}")
    return [_without_punctuation(line) for line in lines[: len(texts)]]


def _without_punctuation(line: str) -> str:
    from pycocoevalcap.tokenizer.ptbtokenizer import PUNCTUATIONS

    return " ".join(word for word in line.split(" ") if word and word not in PUNCTUATIONS)


class MeteorProcess:
    """METEOR 1.5 for English in one Java process, which starts with the first score and lives until `close`.

    Source: pycocoevalcap 1.2, meteor/meteor.py.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None
        self._statistics: dict[tuple[str, str], str] = {}

    def __call__(self, predictions: Sequence[str], references: Sequence[str]) -> float:
        """Score of tokenised captions taken together as one corpus, in [0, 1]."""
        pairs = list(zip(predictions, references, strict=True))
        self._compare(pairs)
        self._write("EVAL" + "".join(f" ||| {self._statistics[pair]}" for pair in pairs))
        return float([self._read() for _ in range(len(pairs) + 1)][-1])

    def _compare(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Have the statistics of all pairs not seen before; METEOR answers each line before it reads the next."""
        for prediction, reference in pairs:
            if (prediction, reference) not in self._statistics:
                # a bar three times over separates fields; it must not come from a caption
                words = prediction.replace("|||", "").replace("  ", " ")
                self._write(f"SCORE ||| {reference} ||| {words}")
                self._statistics[prediction, reference] = self._read()

    def _write(self, line: str) -> None:
        if self._process is None:
            command = [java(), "-Xmx2G", "-jar", jar(METEOR_JAR), "-", "-", "-stdio", "-l", "en", "-norm"]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            self._process = subprocess.Popen(command, text=True, encoding="utf-8", **pipes)
            atexit.register(self.close)
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def _read(self) -> str:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"METEOR ended with exit status {self._process.wait()}")
        return line.strip()

    def close(self) -> None:
        """End the process; a later score starts another."""
        process, self._process = self._process, None
        if process is not None:
            process.communicate()
            atexit.unregister(self.close)


def java() -> str:
    """Path of the `java` program; ValueError with the remedy where there is none."""
    found = shutil.which("java")
    if found is None:
        raise ValueError(
            "caption scores need Java: install a runtime, such as openjdk-17-jre-headless, so that `java` runs"
        )
    return found


def jar(name: str) -> str:
    """Path of a Java archive of pycocoevalcap; ValueError with the remedy where the package is missing."""
    package = find_spec("pycocoevalcap")
    folders = list(package.submodule_search_locations or ()) if package else []
    for folder in folders:
        if (Path(folder) / name).is_file():
            return str(Path(folder) / name)
    raise ValueError(f"caption scores need {name} of the package pycocoevalcap: {REMEDY}")
