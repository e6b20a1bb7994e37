"""Access control: an annotator's URLs need that annotator's link, the owner's URLs the owner's link."""

import hmac
from typing import Annotated

from fastapi import Depends, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from stages.collect.web.personal_links import OWNER, Link, Links

COOKIE = "link"
COOKIE_SECONDS = 90 * 86_400


class Access:
    """Dependencies of the routes under `/judge/{slug}` and `/owner/{slug}`."""

    def __init__(self, links: Links, secure: bool) -> None:
        self._links, self._secure = links, secure

        def link_of(request: Request, slug: str) -> Link:
            link = links.find(request.cookies.get(COOKIE, ""))
            if link is None:
                raise HTTPException(401, "open your personal link first")
            if not hmac.compare_digest(link.slug, slug):
                raise HTTPException(403, "this is another person's link")
            return link

        def annotator_of(link: Annotated[Link, Depends(link_of)]) -> str:
            if link.name == OWNER:
                raise HTTPException(403, "this page is for annotators; open the owner's page")
            return link.name

        def owner_of(link: Annotated[Link, Depends(link_of)]) -> None:
            if link.name != OWNER:
                raise HTTPException(403, "this page is for the owner")

        self.anybody, self.annotator, self.owner = Depends(link_of), Depends(annotator_of), Depends(owner_of)

    def enter(self, token: str) -> Response:
        """Exchange a personal link for a cookie that is valid for the link's own URLs."""
        link = self._links.find(token)
        if link is None:
            raise HTTPException(401, "this link is not valid; ask for a new one")
        response = RedirectResponse(link.home, 303)
        response.set_cookie(
            COOKIE,
            link.token,
            max_age=COOKIE_SECONDS,
            path=link.home,
            httponly=True,
            samesite="lax",
            secure=self._secure,
        )
        return response
