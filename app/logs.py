"""A worker's log: one JSON line a record on standard error, with the ids of request and trace where there are any."""

from __future__ import annotations

import logging
import time

import ujson


class JsonLines(logging.Formatter):
    """Times are UTC.  Nothing here ever sees a session id or a password, so nothing has to be masked."""

    def __init__(self, worker: str) -> None:
        super().__init__()
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "worker": self._worker,
            "message": record.getMessage(),
        }
        for name in ("request_id", "trace_id"):
            if value := getattr(record, name, None):
                line[name] = value
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return ujson.dumps(line, escape_forward_slashes=False)


def write_logs(worker: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines(worker))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
