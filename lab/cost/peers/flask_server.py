"""Flask with Flask-Session: `REDIS_URL=... gunicorn --bind 127.0.0.1:PORT flask_server:app`."""

from __future__ import annotations

import os

from flask import Flask, Response, jsonify, request, session
from flask_session import Session
from redis import Redis

IDLE_SECONDS = 1800

app = Flask(__name__)
app.config.update(
    SESSION_TYPE="redis",
    SESSION_REDIS=Redis.from_url(os.environ["REDIS_URL"]),
    SESSION_COOKIE_NAME="sid",
    PERMANENT_SESSION_LIFETIME=IDLE_SECONDS,
)
Session(app)


@app.post("/login")
def log_in() -> Response:
    """Begin a session of three keys and a user."""
    session.update(request.get_json())
    return jsonify(pid=os.getpid())


@app.get("/")
def read() -> Response:
    """Answer from the session, whose idle lifetime starts again at each request."""
    if "user" not in session:
        return Response(status=401)
    return jsonify(user=session["user"], visits=session["visits"])
