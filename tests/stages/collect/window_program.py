"""The window on a test's place, in a process of its own: folder, images, settings, classes and number of items."""

from __future__ import annotations

import sys
import tkinter as tk
from dataclasses import replace
from pathlib import Path

from support.collect_server import planned

from feedback_store.csv_store.store import CsvFeedbackStore
from feedback_store.schemas.base import Subject
from pipeline.config.collect import CollectConfig
from pipeline.data.decode_limits import Limits
from pipeline.kinds import AUDIT_KIND
from pipeline.kinds.items import Item
from stages.collect.assignments import Assignments
from stages.collect.image_renditions import Renditions
from stages.collect.leases import Leases
from stages.collect.tk.window import Window

folder, images, settings, classes, count = sys.argv[1:]
config = CollectConfig.model_validate_json(settings)
table, plan = planned(Path(folder), Path(images), config, int(count), 0, tuple(classes.split(",")))
if config.audit_fraction:  # an audit question after the first
    audit = Item(AUDIT_KIND.name, Subject((str(table.ids[0]),)), audit=True)
    plan = replace(plan, items=[plan.items[0], audit, *plan.items[1:]])
store, leases = CsvFeedbackStore(Path(folder) / "feedback"), Leases(Path(folder) / "leases.sqlite")
root = tk.Tk(className="image-rlhf")
assignments = Assignments(plan, store, leases, config, seed=0, source="tk")
Window(root, assignments, Renditions(table, Limits(10**8, 10), 10**8), table=table, annotator="ann")
root.mainloop()
