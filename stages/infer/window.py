"""A window that shows images with their predictions before and after alignment."""

from __future__ import annotations

import sys
import tkinter as tk
from collections.abc import Sequence
from pathlib import Path
from tkinter import filedialog, ttk

from PIL import Image, ImageTk

from pipeline.config import Config
from pipeline.data.decode import BadImage, decode
from pipeline.models.predictor import Prediction, Predictor
from pipeline.run.atomic_files import printable
from pipeline.run.run_folder import RunFolder
from pipeline.ui.plots import BLUE, GREY
from pipeline.ui.tk_theme import ENLARGED, GROUND, INK, LINE, QUIET, dress, fitted, open_window
from stages.infer.inputs import open_source
from stages.infer.run import load_models

SIZE, GAP, SIDE = "980x640", 14, 380  # SIDE: width of the bars' panel
SHOWN = 10  # classes with a bar, the most probable first
ROW = 44
PATTERNS = "*.jpg *.jpeg *.png *.webp *.bmp *.gif *.tif *.tiff *.JPG *.JPEG *.PNG"


def run(config: Config, images: Sequence[str]) -> None:
    """Show the window until it is closed.

    Args:
        images: those to step through with the arrow keys, as for `make infer`; empty to choose them in the window.

    Raises:
        UserError: no display, no such image, or no policy yet.
    """
    has_reference = (RunFolder(config).path / "reference" / "model.safetensors").is_file()
    tree = config.infer.model_copy(update={"reference": has_reference})
    models = load_models(config.model_copy(update={"infer": tree}))
    paths = list(open_source(images, sys.stdin).paths()) if images else []
    root = open_window("`make infer` without UI=tk writes predictions to a file")
    Window(root, models.policy, models.reference, paths)
    root.mainloop()


class Window:
    """One image at a time, and bars of the likeliest classes.

    Attributes:
        prediction: the policy's, of the image shown; None while there is none.
    """

    def __init__(self, root: tk.Tk, policy: Predictor, reference: Predictor | None, paths: list[Path]) -> None:
        self.root, self.policy, self.reference = root, policy, reference
        self.paths, self.place = paths, 0
        self.picture: Image.Image | None = None
        self.prediction: Prediction | None = None
        self.before: Prediction | None = None
        self._build()
        self.show()

    def _build(self) -> None:
        self.root.title("image-rlhf: predict")
        self.root.geometry(SIZE)
        self.root.minsize(720, 460)
        dress(self.root)
        frame = ttk.Frame(self.root, padding=GAP)
        frame.pack(fill="both", expand=True)
        frame.columnconfigure(0, weight=1)
        frame.rowconfigure(1, weight=1)
        top = ttk.Frame(frame)
        top.grid(row=0, column=0, columnspan=2, sticky="ew", pady=(0, GAP))
        ttk.Button(top, text="Choose images …  (O)", command=self.choose).pack(side="left")
        self.back = ttk.Button(top, text="◀", width=3, command=lambda: self.step(-1))
        self.forth = ttk.Button(top, text="▶", width=3, command=lambda: self.step(1))
        self.back.pack(side="left", padx=(GAP, 4))
        self.forth.pack(side="left")
        self.name = ttk.Label(top, style="Quiet.TLabel")
        self.name.pack(side="left", padx=GAP)
        self.canvas = tk.Canvas(frame, background=GROUND, highlightthickness=0)
        self.canvas.grid(row=1, column=0, sticky="nsew")
        side = ttk.Frame(frame, width=SIDE)
        side.grid(row=1, column=1, sticky="ns", padx=(GAP, 0))
        self.label = ttk.Label(side, style="Question.TLabel", wraplength=SIDE)
        self.label.pack(anchor="w")
        self.sure = ttk.Label(side, style="Quiet.TLabel", wraplength=SIDE)
        self.sure.pack(anchor="w", pady=(2, GAP))
        self.bars = tk.Canvas(side, width=SIDE, background=GROUND, highlightthickness=0)
        self.bars.pack(fill="both", expand=True)
        self.canvas.bind("<Configure>", lambda _: self._draw_picture())
        for key in ("o", "O"):
            self.root.bind(key, lambda _: self.choose())
        self.root.bind("<Left>", lambda _: self.step(-1))
        self.root.bind("<Right>", lambda _: self.step(1))

    def choose(self) -> None:
        """Ask for files and show the first."""
        names = filedialog.askopenfilenames(
            parent=self.root, title="Choose images", filetypes=[("Images", PATTERNS), ("All files", "*")]
        )
        if names:
            self.paths, self.place = [Path(name) for name in names], 0
            self.show()

    def step(self, by: int) -> None:
        """Show the image `by` places further."""
        if 0 <= self.place + by < len(self.paths):
            self.place += by
            self.show()

    def show(self) -> None:
        """Predict the current image, and draw everything."""
        self.picture = self.prediction = self.before = None
        self.root.title("image-rlhf: predict")
        self.back.state(["!disabled" if self.place > 0 else "disabled"])
        self.forth.state(["!disabled" if self.place + 1 < len(self.paths) else "disabled"])
        if not self.paths:
            self.name["text"] = ""
            self.label["text"], self.sure["text"] = "Choose an image", "Its label and probabilities appear here."
        else:
            path = self.paths[self.place]
            self.name["text"] = f"{printable(path.name)}   {self.place + 1} of {len(self.paths)}"
            try:
                self.picture = decode(self.policy.read(path), self.policy.max_pixels)
            except BadImage as bad:
                self.label["text"], self.sure["text"] = "This file cannot be used", str(bad)
            else:
                self._predict(self.picture)
        self._draw_picture()
        self._draw_bars()

    def _predict(self, picture: Image.Image) -> None:
        pixels = self.policy.prepare(picture)[None]
        self.prediction, self.before = (
            Prediction.of(model.log_probs(pixels).exp().numpy()[0], model.classes) if model else None
            for model in (self.policy, self.reference)
        )
        assert self.prediction
        self.root.title(f"{self.prediction.label} {self.prediction.confidence:.0%} – image-rlhf: predict")
        self.label["text"] = self.prediction.label
        self.sure["text"] = f"{self.prediction.confidence:.1%} sure"
        if self.before:
            before = "uniform" if self.before.is_uniform else f"{self.before.label}, {self.before.confidence:.1%}"
            self.sure["text"] += f"; before alignment: {before}"

    def _draw_picture(self) -> None:
        self.canvas.delete("all")
        width, height = self.canvas.winfo_width(), self.canvas.winfo_height()
        if self.picture is None or min(width, height) < 2 * GAP:
            return
        self._photo: ImageTk.PhotoImage = fitted(self.picture, width, height, ENLARGED)
        self.canvas.create_image(width // 2, height // 2, image=self._photo)

    def _draw_bars(self) -> None:
        """A bar for the policy above one for the reference, for each of the most probable classes."""
        self.bars.delete("all")
        if not self.prediction:
            return
        y = 0
        for name, p in self.prediction.top(SHOWN):
            self.bars.create_text(0, y, text=name, anchor="nw", fill=INK, width=SIDE - 130)
            self._bar(y + 20, p, BLUE)
            texts = f"{p:.1%}"
            if self.before:
                self._bar(y + 29, self.before.probabilities[name], GREY)
                texts += f"   before {self.before.probabilities[name]:.1%}"
            self.bars.create_text(SIDE, y, text=texts, anchor="ne", fill=QUIET)
            y += ROW
        if (hidden := len(self.prediction.probabilities) - SHOWN) > 0:
            self.bars.create_text(0, y, text=f"and {hidden} more classes", anchor="nw", fill=QUIET)

    def _bar(self, y: int, p: float, colour: str) -> None:
        self.bars.create_rectangle(0, y, SIDE, y + 6, fill=LINE, width=0)
        self.bars.create_rectangle(0, y, max(1, round(SIDE * p)), y + 6, fill=colour, width=0)
