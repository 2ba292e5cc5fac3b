"""What was tried, and what came of it."""
import time
import traceback

from .facts import DIST
from .files import Failed, say


class Table:
    """Rows of: artefact, size, how it was tried, result."""

    def __init__(self):
        self.rows = []
        self.failed = 0

    def attempt(self, name, path, how, trial):
        """Runs `trial`; what it returns is added to `how`. A failure is a row, too, and the rest goes on."""
        say(f"trying {name}: {how}")
        began = time.monotonic()
        try:
            more = trial()
            result = "ok"
        except Failed as err:
            more, result = None, "FAILED"
            print(f"release: {name}: {err}", flush=True)
        except Exception:
            # A trial's own mistake must not look like a passed one, nor hide the other trials.
            more, result = None, "FAILED"
            traceback.print_exc()
        self.failed += result != "ok"
        size = f"{path.stat().st_size:,}" if path and path.is_file() else ""
        how = f"{how}: {more}" if more else how
        self.rows.append((name, size, how, f"{result} ({time.monotonic() - began:.0f} s)"))

    def skip(self, name, why):
        """Something that cannot be tried here: said, and not counted as passed."""
        say(f"not trying {name}: {why}")
        self.rows.append((name, "", why, "not tried"))

    def text(self):
        head = ("artefact", "bytes", "how it was tried", "result")
        rows = [head, *self.rows]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = []
        for number, row in enumerate(rows):
            cells = [cell.rjust(width) if column == 1 else cell.ljust(width)
                     for column, (cell, width) in enumerate(zip(row, widths))]
            lines.append("| " + " | ".join(cells) + " |")
            if number == 0:
                lines.append("|" + "|".join("-" * (width + 2) for width in widths) + "|")
        passed = sum(row[3].startswith("ok") for row in self.rows)
        return "\n".join(lines) + f"\n\n{passed} passed, {self.failed} failed, {len(self.rows) - passed - self.failed} skipped"

    def write(self):
        text = self.text()
        print(f"\n{text}", flush=True)
        (DIST.parent / "release.txt").write_text(text + "\n", encoding="utf-8")
        return self.failed == 0
