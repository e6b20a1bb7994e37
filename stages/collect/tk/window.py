"""The judging window (Tk). Every answer is on disk before the next question is shown."""

from __future__ import annotations

import time
import tkinter as tk
from functools import partial
from tkinter import ttk
from uuid import uuid4

from feedback_store.errors import FeedbackError
from feedback_store.store import FeedbackStore
from pipeline.data.image_table import ImageTable
from pipeline.errors import UserError
from pipeline.kinds import Choice, Screen, kinds
from pipeline.run import next_command
from pipeline.run.atomic_files import printable
from pipeline.run.workspace import Workspace
from pipeline.ui.tk_theme import GROUND, dress, open_window
from stages.collect.actions import ACTION_TEXT, COMMON_ACTIONS, key_help
from stages.collect.annotators import annotators_of
from stages.collect.assignments import Assignments
from stages.collect.image_renditions import Renditions
from stages.collect.question_plan import plan
from stages.collect.shared_state import leases_of
from stages.collect.tasks import Answer, Task
from stages.collect.tk.choice_buttons import add_button, show_choices
from stages.collect.tk.help_window import show_help
from stages.collect.tk.key_presses import Keyboard, shown_key
from stages.collect.tk.pictures import Pictures, zoom
from stages.collect.tk.tiles import TilePage

SIZE, GAP = "900x760", 12
POLL_MS = 3000  # while others hold all remaining questions


def ask(ws: Workspace, store: FeedbackStore) -> int:
    """Show the window until it is closed; returns the number of rows stored.

    Raises:
        UserError: there is no screen, or there are several annotators.
    """
    settings = ws.config.collect
    people = annotators_of(settings)
    if len(people) > 1:
        raise UserError(
            "collect.annotators: the window is for one person; the page (`make collect`) has a link for each"
        )
    leases = leases_of(store, ws.run.path / "collect")
    assignments = Assignments(plan(ws), store, leases, settings, seed=ws.config.seed, source="tk", clock=leases.clock)
    before = assignments.ledger.rows
    root = open_window("`make collect` without UI=tk opens a page instead")
    renditions = Renditions.of(ws.table, ws.config)
    Window(root, assignments, renditions, table=ws.table, annotator=people[0])
    root.mainloop()
    leases.close()
    return assignments.ledger.rows - before


class Window:
    """The window of one annotator."""

    def __init__(
        self,
        root: tk.Tk,
        assignments: Assignments,
        renditions: Renditions,
        *,
        table: ImageTable,
        annotator: str,
    ) -> None:
        self.root, self.assignments = root, assignments
        self.table, self.annotator = table, annotator
        self.settings = assignments.settings
        self.keyboard = Keyboard(self.settings.keys)
        self.task: Task | None = None
        self.next: list[Task] = []
        self.shown_at = time.monotonic()
        self._build()
        self.pictures = Pictures(self.canvas, renditions)
        paged = kinds.get(self.settings.question).small_images
        self._page = TilePage(self, assignments.screen_settings.classes) if paged else None
        self.advance()

    def _page_of(self, task: Task | None) -> TilePage | None:
        """The page, if a question is one; an audit question between pages is not."""
        return self._page if task and kinds.get(task.item.kind).small_images else None

    def _build(self) -> None:
        self.root.title("image-rlhf: judge images")
        self.root.geometry(SIZE)
        self.root.minsize(420, 420)
        dress(self.root)
        self.progress = ttk.Progressbar(self.root, maximum=1.0)
        self.counts = ttk.Label(self.root, anchor="center", style="Quiet.TLabel")
        self.question = ttk.Label(self.root, anchor="center", style="Question.TLabel")
        self.names = ttk.Label(self.root, anchor="center", style="Quiet.TLabel")
        self.canvas = tk.Canvas(self.root, highlightthickness=0, height=300, background=GROUND)
        self.choices = ttk.Frame(self.root)
        self.actions = ttk.Frame(self.root)
        self.message = ttk.Label(self.root, anchor="center", style="Quiet.TLabel")
        above: list[tk.Widget] = [self.progress, self.counts, self.question, self.names]
        for widget in above:
            widget.pack(fill="x", padx=GAP, pady=(GAP // 2, 0))
        below: list[tk.Widget] = [self.message, self.actions, self.choices]
        for widget in below:  # packed first, so that the image gets the remaining space
            widget.pack(side="bottom", pady=(0, GAP // 2))
        self.canvas.pack(fill="both", expand=True, padx=GAP, pady=GAP)
        for action in COMMON_ACTIONS:
            text = f"{ACTION_TEXT[action].capitalize()}  [{shown_key(getattr(self.settings.keys, action)[0])}]"
            add_button(self.actions, text, partial(self.act, action), "TButton", columns=6)
        self.root.bind("<Key>", self._pressed)
        self.canvas.bind("<Configure>", lambda _: self._draw())
        self.root.protocol("WM_DELETE_WINDOW", self.close)

    def _pressed(self, event: tk.Event[tk.Misc]) -> None:
        if int(event.state) & 0xC:  # Control or Alt belong to the window manager
            return
        if (page := self._page_of(self.task)) and page.key(event.keysym, event.char):
            return
        action, answer = self.keyboard.read(event.keysym, event.char, self._choices())
        if self.keyboard.digits:
            self.message["text"] = f"Class {self.keyboard.digits} ...: another digit, or Enter"
        if answer is not None:
            self.answer(answer)
        elif action:
            self.act(action)

    def act(self, action: str) -> None:
        """Perform the action of a key or button."""
        if action == "undo":
            self.undo()
        elif action == "help":
            show_help(self.root, key_help(self.settings, self.assignments.screen_settings))
        elif self.task is None:
            return
        elif action == "skip":
            self.assignments.skip(self.annotator, self.task.item.key)
            self.advance("Skipped; it is asked again later.")
        elif action == "zoom":
            page = self._page_of(self.task)
            zoom(self.root, self.pictures, page.enlarged() if page else self._screen(self.task).images)
        else:
            self.answer(action)

    def answer(self, choice: str) -> None:
        """Store an answer to the question on the screen, then show the next."""
        if self.task is None:
            return
        elapsed = round((time.monotonic() - self.shown_at) * 1000)
        self._send(Answer(uuid4().hex, self.task.item.key, choice, elapsed))

    def _send(self, answer: Answer, then: Task | None = None, before: str = "") -> None:
        accepted = self.assignments.check(self.annotator, [answer])
        try:
            self.assignments.commit(accepted.judgments, accepted.late)
        except FeedbackError as error:
            self.message["text"] = str(error)
            return
        note = accepted.refused[0].reason if accepted.refused else ""
        if then is None:
            self.advance(note)
        elif note:
            self.message["text"] = note
        else:
            self.next[:0] = [self.task] if self.task is not None else []
            self._show(then, "Taken back; please answer again.", before)

    def undo(self) -> None:
        """Take the last answer back, and ask its question again."""
        answered = self.assignments.ledger.by_annotator[self.annotator]
        last = next(reversed(answered), None)
        if last is None or answered[last] not in self.assignments.items:
            self.message["text"] = "There is nothing to take back."
            return
        key = answered[last]
        times = self.assignments.ledger.by_item[key].get(self.annotator, 1)
        again = self.assignments.task(self.annotator, self.assignments.items[key], 1 if times > 1 else 0)
        before = self.assignments.ledger.current[last].answer
        self._send(Answer(uuid4().hex, retracts=last), again, before)

    def advance(self, note: str = "") -> None:
        """Show the next question, and load the one after it in the background."""
        held = [task.item.key for task in self.next]
        self.next += self.assignments.take(self.annotator, 2 - len(self.next), held) if len(self.next) < 2 else []
        self._show(self.next.pop(0) if self.next else None, note)
        if self.next:
            (self._page_of(self.next[0]) or self.pictures).preload(self.next[0].item.images)

    def _show(self, task: Task | None, note: str, before: str = "") -> None:
        self.task = task
        progress = self.assignments.progress(self.annotator)
        self.progress["value"] = progress.done / progress.total if progress.total else 1.0
        self.counts["text"] = f"{self.annotator}: {progress.mine} answered, {progress.left} left"
        self.message["text"] = note
        for child in self.choices.winfo_children():
            child.destroy()
        if self._page:
            self._page.leave()
        if task is None:
            self._nothing_to_show()
        elif page := self._page_of(task):
            self.names["text"] = ""
            page.show(self._screen(task), before)
        else:
            screen = self._screen(task)
            self.question["text"] = screen.text
            paths = [self.table.paths[self.table.position[image]] for image in screen.images]
            file_names = (printable(path.rsplit("/", 1)[-1]) for path in paths)  # a folder may be a class's name
            self.names["text"] = "   |   ".join(file_names)
            show_choices(self.choices, self._choices(), self.settings.keys, self.answer)
        self._draw()
        self.shown_at = time.monotonic()

    def _nothing_to_show(self) -> None:
        until = self.assignments.waiting_until(self.annotator)
        if until is None:
            self.question["text"] = "All questions are answered. Thank you!"
            self.names["text"] = f"Close the window and continue with  {next_command.make('train-reward')}"
        else:
            self.question["text"] = "No question is free at the moment"
            self.names["text"] = (
                f"Others are answering the rest; the first is free at {time.strftime('%H:%M', time.localtime(until))}"
            )
            self.root.after(POLL_MS, lambda: self.advance() if self.task is None else None)

    def _screen(self, task: Task) -> Screen:
        return task.screen(self.assignments.screen_settings)

    def _choices(self) -> tuple[Choice, ...]:
        """All choices of the question on the screen; images are chosen by key or button."""
        if self.task is None:
            return ()
        screen = self._screen(self.task)
        return (*screen.image_choices[:1], *screen.choices, *screen.image_choices[1:])

    def _draw(self) -> None:
        if page := self._page_of(self.task):
            page.draw()
        else:
            self.pictures.draw(self._screen(self.task).images if self.task else ())

    def close(self) -> None:
        """Release the unanswered questions and close the window; all answers are stored already."""
        held = [task.item.key for task in (*self.next, *([self.task] if self.task else []))]
        self.assignments.release(self.annotator, held)
        self.pictures.close()
        self.root.destroy()
