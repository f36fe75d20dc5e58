"""What a part of the campaign has done and found, in a file that is replaced as a whole."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

#: A part with so many findings has been shown to fail: it goes on in the next campaign.
MOST_FINDINGS = 40
#: So many examples of one finding are kept.
_EXAMPLES = 2


@dataclass
class State:
    """One part's progress under a seed: cases count up from 0, so that a later campaign goes on behind the last."""

    part: str
    seed: int
    cases: int = 0
    calls: int = 0
    seconds: float = 0.0
    skipped: str = ""
    #: By the number of the case.
    findings: dict[int, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, part: str, seed: int) -> State:
        """Return what is kept of a part, or a fresh state where there is nothing, or only of another seed."""
        try:
            found = json.loads((folder / f"{part}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls(part, seed)
        if found["seed"] != seed:
            return cls(part, seed)
        return cls(**found | {"findings": {int(case): text for case, text in found["findings"].items()}})

    def add(self, case: int, text: str) -> None:
        """Keep a finding, unless there are enough of its kind: texts are alike up to a bar, but for their numbers."""
        kinds = [re.sub(r"\d+", "0", each.partition(" | ")[0]) for each in (text, *self.findings.values())]
        if kinds.count(kinds[0]) <= _EXAMPLES:
            self.findings[case] = text

    def write(self, folder: Path) -> None:
        """Replace the file."""
        temporary = folder / f".{self.part}.json.{os.getpid()}"
        temporary.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        os.replace(temporary, folder / f"{self.part}.json")
