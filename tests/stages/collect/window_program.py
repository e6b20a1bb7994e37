"""The window on a test's place, in a process of its own: folder, images, settings, classes and number of items."""

from __future__ import annotations

import sys
import tkinter as tk
from pathlib import Path

from support.collect_server import planned

from feedback_store.csv_store.store import CsvFeedbackStore
from pipeline.config.collect import CollectConfig
from pipeline.data.decode_limits import Limits
from stages.collect.assignments import Assignments
from stages.collect.image_renditions import Renditions
from stages.collect.leases import Leases
from stages.collect.tk.window import Window

folder, images, settings, classes, count = sys.argv[1:]
config = CollectConfig.model_validate_json(settings)
table, plan = planned(Path(folder), Path(images), config, int(count), 0, tuple(classes.split(",")))
store, leases = CsvFeedbackStore(Path(folder) / "feedback"), Leases(Path(folder) / "leases.sqlite")
root = tk.Tk(className="image-rlhf")
assignments = Assignments(plan, store, leases, config, seed=0, source="tk")
Window(root, assignments, Renditions(table, Limits(10**8, 10), 10**8), table=table, annotator="ann")
root.mainloop()
