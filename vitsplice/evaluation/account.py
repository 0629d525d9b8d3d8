"""An account of cases: how many could be measured, and what became of the others."""

from __future__ import annotations

from dataclasses import dataclass, field

EXAMPLES = 5


@dataclass
class Account:
    """How many cases could be measured, and what became of the others.

    Args:
        measured: cases with values.
        missing, broken: cases of which a file is missing, or cannot be used.
        examples: what was wrong with the first few.
    """

    measured: int = 0
    missing: int = 0
    broken: int = 0
    examples: list[str] = field(default_factory=list)

    def failed(self, name: str, why: str, *, missing: bool) -> None:
        """Count a case that cannot be measured."""
        self.missing += missing
        self.broken += not missing
        if len(self.examples) < EXAMPLES:
            self.examples.append(f"{name}: {why}")

    def told(self) -> str:
        """What is missing or broken, in words."""
        return f"{self.missing} missing, {self.broken} broken; " + "; ".join(self.examples)
