"""Broken on purpose: a worker that reads the time of the login from the session's data, which a visitor writes."""

import sys

from app.__main__ import main
from app.handlers.base import BaseHandler


class Credulous(BaseHandler):
    @property
    def gave_password_lately(self) -> bool:
        limit, told = self.password_within_seconds, self.visitor.get("created", 0)
        return limit is None or self.visitor.times.now - told / 1000 <= limit


if __name__ == "__main__":
    BaseHandler.gave_password_lately = Credulous.gave_password_lately  # type: ignore[method-assign]
    sys.exit(main())
