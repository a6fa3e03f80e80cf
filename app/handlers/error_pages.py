"""nginx's own error pages, made from the template that the workers use, so that all look alike.

`python -m app.handlers.error_pages` writes them to static/errors/; a test compares them with the template.
"""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

from tornado.template import Loader

from app.handlers import base

HERE = Path(__file__).parents[1]
FOLDER = HERE / "static/errors"
TEXTS = {
    400: "This request cannot be read.",
    403: "This address is not open to visitors.",
    404: "There is nothing at this address.",
    405: "This address does not support that method.",
    412: "The requested content has changed in the meantime.",
    413: "The request is larger than this site accepts.",
    414: "This address is longer than this site accepts.",
    416: "The file does not have the requested part.",
    421: "This site is not served under that name.",
    429: "Too many requests came from your address in a short time. This one was not carried out.",
    500: "This request could not be answered.",
    501: "This site does not understand how the request was sent.",
    502: "No worker could answer. If you sent something, it may or may not have been carried out.",
    503: "The site cannot answer at the moment.",
    504: "A worker did not answer in time. If you sent something, it may or may not have been carried out.",
    505: "This site does not support that version of HTTP.",
}


def pages() -> dict[Path, str]:
    """Each file with its content."""
    return {FOLDER / f"{status}.html": page(status) for status in TEXTS}


def page(status: int) -> str:
    """The files they load are named without a version: nginx's pages do not follow their changes."""
    template = Loader(str(HERE / "templates")).load("error.html")
    return template.generate(
        status=status,
        title=HTTPStatus(status).phrase,
        text=TEXTS[status],
        request_id=None,
        again=base.AGAIN_SECONDS if status in (502, 503) else None,
        static_url=lambda path: f"/static/{path}",
    ).decode()


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for path, content in pages().items():
        path.write_text(content)


if __name__ == "__main__":
    main()
