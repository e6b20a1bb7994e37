"""Pages of the site that are not files in docs/: Markdown files of the top level, and the notebook with its pictures."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
TOP_LEVEL = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security-policy.md",
}
NOTEBOOK = "tour.ipynb"
IMAGE_TYPES = {"image/png": "png", "image/svg+xml": "svg"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the top-level Markdown files and the notebook as pages."""
    for name, page in TOP_LEVEL.items():
        if page != "index.md":
            text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
            files.append(File.generated(config, page, content=text))
    notebook = json.loads((ROOT / "docs" / NOTEBOOK).read_text(encoding="utf-8"))
    text, pictures = notebook_page(notebook)
    files.append(File.generated(config, "tour.md", content=text))
    for name, content in pictures.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links to top-level files lead to their pages here."""
    for name, target in TOP_LEVEL.items():
        markdown = re.sub(rf"\]\((\.\./)?{re.escape(name)}(#[^)]*)?\)", rf"]({target}\2)", markdown)
    return markdown


def notebook_page(notebook: dict[str, Any]) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown, and the pictures of its outputs by file name."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            parts += _output(output, pictures)
    return "\n\n".join(parts) + "\n", pictures


def _output(output: dict[str, Any], pictures: dict[str, bytes]) -> list[str]:
    """One output of a cell as Markdown; its picture, if it has one, goes to `pictures`."""
    if output["output_type"] == "stream":
        return [f"```text\n{''.join(output['text']).rstrip()}\n```"]
    data = output.get("data", {})
    for mime, suffix in IMAGE_TYPES.items():
        if mime in data:
            name = f"tour-{len(pictures) + 1}.{suffix}"
            content = "".join(data[mime])
            pictures[name] = content.encode() if suffix == "svg" else base64.b64decode(content)
            alternative = "".join(data.get("text/plain", "")).strip("'\"<>") or "Figure"
            return [f"![{alternative}]({name})"]
    return [f"```text\n{''.join(data['text/plain'])}\n```"] if "text/plain" in data else []
