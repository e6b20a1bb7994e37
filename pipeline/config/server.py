"""Settings of the judging page's server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from pipeline.config.base import Section, expand_path
from pipeline.config.hosts import AcceptedHost, ListenAddress


class ServerConfig(Section):
    """Where the page is served. Over SSH: `ssh -L 8765:127.0.0.1:8765 host`, then open the printed link locally."""

    host: ListenAddress = Field("127.0.0.1", description="address to listen on; 0.0.0.0: all addresses of this machine")
    port: Annotated[int, Field(ge=0, lt=65536)] = Field(8765, description="0: any free port")
    open_browser: bool = Field(True, description="open the page in a browser, if there is a screen")
    allowed_hosts: list[AcceptedHost] = Field([], description="accepted Host headers besides localhost; `*`: any")
    tls_certificate: Path | None = Field(None, description="PEM file; serves https together with tls_key")
    tls_key: Path | None = None
    connections: int = Field(
        1024,
        ge=1,
        le=1_000_000,
        description="maximum number of open connections; beyond it the slowest sender is closed",
    )
    read_seconds: float = Field(
        20.0,
        gt=0,
        le=86_400,
        description="time limit for a request's headers, and again for its body",
    )

    _paths = field_validator("tls_certificate", "tls_key", mode="before")(expand_path)

    @model_validator(mode="after")
    def _both(self) -> ServerConfig:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together; set both or neither")
        return self
