"""`make data DATA=ants_bees`: the transfer-learning tutorial's photographs, downloaded, verified and unpacked."""

from __future__ import annotations

import shutil
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from tqdm import tqdm

from pipeline.errors import UserError

ANTS_BEES_URL = "https://download.pytorch.org/tutorial/hymenoptera_data.zip"
TOP = "hymenoptera_data"
# Expected number of photographs; further files (a Mac's .DS_Store) are ignored.
EXPECTED = {"train/ants": 123, "train/bees": 121, "val/ants": 70, "val/bees": 83}


def download_ants_bees(folder: Path, url: str = ANTS_BEES_URL) -> Path:
    """Download (unless folder/hymenoptera_data.zip is there), verify and unpack; returns folder/hymenoptera_data.

    Raises:
        UserError: no network (the message says where to put the file), or a damaged or different archive.
    """
    root, archive = folder / TOP, folder / f"{TOP}.zip"
    if root.is_dir():
        return root
    folder.mkdir(parents=True, exist_ok=True)
    if not archive.is_file():
        _fetch(url, archive)
    _unpack(archive, root)
    return root


def _fetch(url: str, target: Path) -> None:
    partial = target.with_suffix(".partial")
    try:
        with urllib.request.urlopen(url, timeout=30) as response, partial.open("wb") as file:
            length = int(response.headers.get("Content-Length", 0)) or None
            with tqdm(total=length, desc=target.name, unit="B", unit_scale=True, unit_divisor=1024) as bar:
                while block := response.read(2**16):
                    bar.update(file.write(block))
    except (urllib.error.URLError, OSError) as error:
        partial.unlink(missing_ok=True)
        raise UserError(
            f"cannot download {url} ({getattr(error, 'reason', error)}); get the file on another machine, put it at "
            f"{target}, and run `make data DATA=ants_bees` again"
        ) from error
    if length is not None and partial.stat().st_size != length:
        partial.unlink()
        raise UserError(f"the download of {url} is incomplete; run `make data DATA=ants_bees` again")
    partial.replace(target)


def _unpack(archive: Path, root: Path) -> None:
    """Check every member's checksum and the folders' counts, then unpack to a temporary folder and rename it."""
    again = f"delete {archive} and run `make data DATA=ants_bees` again"
    try:
        with zipfile.ZipFile(archive) as file:
            if damaged := file.testzip():
                raise UserError(f"{archive}: {damaged} is damaged; {again}")
            names = file.namelist()
            for part, count in EXPECTED.items():
                found = sum(
                    name.startswith(f"{TOP}/{part}/") and name.endswith((".jpg", ".jpeg", ".gif")) for name in names
                )
                if found < count:
                    raise UserError(f"{archive}: {part} has {found} photographs, fewer than {count}; {again}")
            fresh = root.with_name(f".{TOP}.partial")
            shutil.rmtree(fresh, ignore_errors=True)
            file.extractall(fresh, [name for name in names if name.startswith(f"{TOP}/")])
    except zipfile.BadZipFile as error:
        raise UserError(f"{archive}: not a zip archive ({error}); {again}") from error
    (fresh / TOP).rename(root)
    fresh.rmdir()
