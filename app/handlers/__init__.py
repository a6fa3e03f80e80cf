"""The request handlers, one concern a file; `app.web` lists their routes."""
