"""What is shown of a study while it goes on: a table on a terminal, a line an event elsewhere."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from typing import TYPE_CHECKING

from launcher.cli.printing import Screen, echo, print_note

if TYPE_CHECKING:
    from launcher.jobs.notes import Note
    from launcher.sweep.driver import Picture
    from launcher.sweep.study import Study
    from launcher.sweep.trials import Trial


class StudyView:
    """Shows a study while a driver runs."""

    def __init__(self, study: Study) -> None:
        self.study = study

    def __enter__(self) -> StudyView:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        pass

    def tell(self, picture: Picture) -> None:
        """Take what a look has found."""

    def say(self, note: Note) -> None:
        """Take a sentence."""
        print_note(note)

    def pause(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


class PlainStudy(StudyView):
    """A line an event on standard error."""

    def __init__(self, study: Study) -> None:
        super().__init__(study)
        self._told: dict[int, str] = {}

    def tell(self, picture: Picture) -> None:
        """Say which trials have begun or ended."""
        from launcher.cli.sweep_picture import state_word

        for trial in picture.trials:
            word = state_word(self.study, picture, trial)
            before = self._told.get(trial.number)
            if word != before and (trial.state.is_final or before is None or "Paused" in (word, before)):
                echo(self._line(trial, word, is_new=before is None), err=True)
            self._told[trial.number] = word

    def _line(self, trial: Trial, word: str, *, is_new: bool) -> str:
        from launcher.cli.sweep_picture import describe_value
        from launcher.sweep.results import describe_params

        if not trial.state.is_final and word != "Paused":
            return f"trial {trial.number + 1}: {describe_params(trial.params) if is_new else 'goes on'}"
        value = describe_value(trial, self.study.settings)
        name = self.study.settings.metric or "value"
        rest = f" {name} {value}" if value else ""
        is_short = trial.stop_at is not None or trial.paused_at is not None
        after = f" after epoch {max(trial.curve)}" if is_short and trial.curve else ""
        return f"trial {trial.number + 1}: {word}{after}{rest}"


class LiveStudy(StudyView):
    """A table that is drawn anew as it changes."""

    def __init__(self, study: Study) -> None:
        super().__init__(study)
        self._screen = Screen(sys.stdout)
        self._picture: Picture | None = None
        self._notes: list[Note] = []
        self._lock = threading.Lock()

    def __enter__(self) -> StudyView:
        self._screen.enter()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._screen.leave()
        for note in self._notes:
            print_note(note)

    def tell(self, picture: Picture) -> None:
        """Draw what a look has found."""
        self._picture = picture
        self._draw()

    def say(self, note: Note) -> None:
        """Keep warnings for the end; the table says the rest."""
        if note.level == "warning":
            self._notes.append(note)

    def pause(self, seconds: float) -> None:
        """Wait, and draw anew: the terminal may have another size by then."""
        time.sleep(seconds)
        self._draw()

    def _draw(self) -> None:
        from launcher.cli.sweep_picture import compose_study

        if self._picture is None:
            return
        columns, rows = shutil.get_terminal_size()
        lines = compose_study(self.study, self._picture, columns=columns, rows=rows, now_s=time.time())
        self._screen.draw(lines)
