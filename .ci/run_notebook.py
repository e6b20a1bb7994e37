"""Execute docs/tour.ipynb, and fail where a cell does. With --write, keep its outputs in the file.

Outputs are stored without times, execution counts or paths of the machine, so that a second execution changes nothing
but figures that changed.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "docs" / "tour.ipynb"
TIMEOUT_SECONDS = 1800  # per cell; the whole notebook takes about a minute on two idle cores
PATH = re.compile(r"(?<![\w.])/(?:tmp|home|root|work|Users|var|private)/[^\s\"',;)]*")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="keep the outputs in the notebook")
    arguments = parser.parse_args()
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=TIMEOUT_SECONDS, kernel_name="python3", resources=_in(ROOT)).execute()
    if arguments.write:
        for cell in notebook.cells:
            cell.metadata = {}
            if cell.cell_type == "code":
                cell.execution_count = None
                cell.outputs = [_stored(output) for output in cell.outputs if not _is_standard_error(output)]
        nbformat.write(notebook, NOTEBOOK)
    print(f"{NOTEBOOK.relative_to(ROOT)}: {sum(c.cell_type == 'code' for c in notebook.cells)} code cells executed")


def _in(folder: Path) -> dict[str, dict[str, str]]:
    return {"metadata": {"path": str(folder)}}


def _is_standard_error(output: Any) -> bool:
    return bool(output.output_type == "stream" and output.name == "stderr")


def _stored(output: Any) -> Any:
    """An output without execution count and without paths of the machine."""
    if "execution_count" in output:
        output.execution_count = None
    if output.output_type == "stream":
        output.text = PATH.sub("...", output.text)
    for mime, content in output.get("data", {}).items():
        if mime.startswith("text/") and isinstance(content, str):
            output.data[mime] = PATH.sub("...", content)
    return output


if __name__ == "__main__":
    main()
