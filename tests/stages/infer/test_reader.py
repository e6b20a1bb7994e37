"""Files are read and decoded a few at a time, into buffers that are used again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from support.untrained_runs import untrained_run

from pipeline.models.predictor import Predictor
from stages.infer.reader import MAX_WAITING_BYTES, TOGETHER, Reader


def test_pixels_of_every_file_in_order(tmp_path: Path) -> None:
    """Batches of several groups, the last one not full, with files that are no images and one that is waited for alone."""
    config = untrained_run(tmp_path)
    predictor = Predictor.load(tmp_path / "runs" / "bugs")
    size, unusable, large = 2 * TOGETHER + 5, {0, TOGETHER, 3 * TOGETHER}, TOGETHER + 2
    files = []
    for number in range(2 * size + 3):
        files.append(tmp_path / f"{number:03d}.bmp")
        side = 700 if number == large else 40
        Image.new("RGB", (side, side), (number, 255 - number, 7)).save(files[-1])
        if number in unusable:
            files[-1].write_bytes(b"no image")
    assert files[large].stat().st_size > MAX_WAITING_BYTES
    reader = Reader(predictor, config)
    seen = 0
    for lines, pixels in reader.decoded(iter([files[i : i + size] for i in range(0, len(files), size)]), size):
        good = [number for number in range(seen, seen + len(lines)) if number not in unusable]
        assert [line["path"] for line in lines] == [str(file) for file in files[seen : seen + len(lines)]]
        assert [seen + place for place, line in enumerate(lines) if "bad" not in line] == good
        assert np.array_equal(pixels[:, 0, 0], [(number, 255 - number, 7) for number in good])
        assert (pixels == pixels[:, :1, :1]).all()
        seen += len(lines)
    reader.close()
    assert seen == len(files)
