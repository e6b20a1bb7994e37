"""Draw the segments that people are asked about as clips."""

from __future__ import annotations

from pipeline.control.clip import save_clip
from pipeline.control.config import ControlConfig
from pipeline.control.env_states import Renderer
from stages.control.ask import Asked
from stages.control.ask_page import CLIPS


def draw_clips(config: ControlConfig, asked: Asked) -> list[str]:
    """Write runs/<name>/clips/<id>.png of each segment, as far as it goes; returns their ids, in the same order.

    Raises:
        UserError: the environment cannot be drawn.
    """
    folder, renderer = config.runs / config.name / CLIPS, Renderer(config.environment)
    try:
        return [
            save_clip(renderer.frames(states[:steps]), folder, renderer.fps)
            for states, steps in zip(asked.states, asked.segments.steps.tolist(), strict=True)
        ]
    finally:
        renderer.close()
