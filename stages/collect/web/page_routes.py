"""Routes of the two pages, their scripts and styles, and of personal links."""

from pathlib import Path

from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import FileResponse

from pipeline.kinds import kinds
from pipeline.ui.web.static_files import page_files
from stages.collect.web.access import Access

STATIC = Path(__file__).parent / "static"
FILES = page_files(
    STATIC,
    (
        "judge.css",
        "judge.js",
        "answer_retry.js",
        "end_text.js",
        "question_images.js",
        "view.js",
        "key_names.js",
        "kind_module.js",
        "live.css",
        "live_panel.js",
        "live_chart.js",
        "owner.js",
        "icon.svg",
    ),
)


def page_routes(access: Access) -> APIRouter:
    """`/enter/{token}`, the two pages and `static/`."""
    routes = APIRouter()

    @routes.get("/enter/{token}")
    async def enter(token: str) -> Response:
        return access.enter(token)

    @routes.get("/judge/{slug}/", dependencies=[access.annotator])
    async def judge_page() -> Response:
        return _file(STATIC / "judge.html")

    @routes.get("/owner/{slug}/", dependencies=[access.owner])
    async def owner_page() -> Response:
        return _file(STATIC / "owner.html")

    @routes.get("/judge/{slug}/static/kinds/{name}.js", dependencies=[access.anybody])
    async def kind_script(name: str) -> Response:
        script = kinds.get(name).script if name in kinds else None
        if script is None:
            raise HTTPException(404, "no such file")
        return Response(script, media_type="text/javascript", headers={"Cache-Control": "no-cache"})

    @routes.get("/judge/{slug}/static/kinds/{name}/{file}", dependencies=[access.anybody])
    async def kind_file(name: str, file: str) -> Response:
        text = kinds.get(name).page_files.get(file) if name in kinds else None
        if text is None:
            raise HTTPException(404, "no such file")
        media = "text/css" if file.endswith(".css") else "text/javascript"
        return Response(text, media_type=media, headers={"Cache-Control": "no-cache"})

    @routes.get("/{kind}/{slug}/static/{name}", dependencies=[access.anybody])
    async def static(name: str) -> Response:
        if name not in FILES:
            raise HTTPException(404, "no such file")
        return _file(FILES[name])

    return routes


def _file(path: Path) -> Response:
    return FileResponse(path, headers={"Cache-Control": "no-cache"})
