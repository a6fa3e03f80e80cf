"""Reading `.env` so that it means to `make run` exactly what it means to Compose, or is refused.

Compose expands `$`, reads `NAME: value`, and lets a value run over several lines.  None of that is copied
here: a line whose meaning depends on such a rule is refused, with a spelling that needs none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from deploy.paths import ROOT
from deploy.refused import Refused

DEFAULT_FILE = str(ROOT / ".env")
LINE = re.compile(r"(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=[ \t]*(.*)")
# Inside "…" only these three may follow a backslash, and only after one may a $ stand.
SINGLE = re.compile(r"'([^']*)'[ \t]*(?:#.*)?")
DOUBLE = re.compile(r'"((?:[^"\\$]|\\["\\$])*)"[ \t]*(?:#.*)?')
COMMENT = re.compile(r" #.*")
UNPRINTED = re.compile(
    r"[\x00-\x08\x0a-\x1f\x7f-\xa0\u1680\u2000-\u200f\u2028-\u202f\u205f\u3000\ufeff]"
)


def read_settings_file(environ: Mapping[str, str]) -> dict[str, str]:
    """The settings of ENV_FILE, or of `.env` where there is one; an empty ENV_FILE means no file."""
    name = environ.get("ENV_FILE", DEFAULT_FILE)
    if not name or (name == DEFAULT_FILE and not os.path.lexists(name)):
        return {}
    return read_env_file(Path(name))


def read_env_file(path: Path) -> dict[str, str]:
    """The settings in `path`, the last of a name; Refused when it cannot be read, with the line that is why."""
    found: dict[str, str] = {}
    for number, line in enumerate(_lines(path), start=1):
        try:
            found |= _setting(line.strip(" \t"))
        except ValueError as error:
            raise Refused(f"{path}, line {number}: {error}") from None
    return found


def _lines(path: Path) -> list[str]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Refused(f"{path}, line {line}: not UTF-8: save the file as UTF-8") from None
    return text.replace("\r\n", "\n").split("\n")


def _setting(line: str) -> dict[str, str]:
    """The setting of one line; ValueError says what to write instead."""
    if not line or line.startswith("#"):
        return {}
    if unprinted := UNPRINTED.search(line):
        raise ValueError(f"the character U+{ord(unprinted[0]):04X} is invisible: remove it")
    match = LINE.fullmatch(line)
    if match is None:
        raise ValueError(_no_setting(line))
    name, text = match.groups()
    if text[:1] in ("'", '"'):
        return {name: _quoted(name, text)}
    return {name: _plain(name, text)}


def _no_setting(line: str) -> str:
    """Without what may be a secret: the line's value is not repeated."""
    word = re.match(r"(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*(.?)", line)
    if word is None:
        return "a setting is NAME=value, and a name has letters, digits and _ only"
    after = {":": "not `:`", "=": "without a space before `=`"}.get(word[2], "with a `=`")
    return f"write {word[1]}=value, {after}"


def _quoted(name: str, text: str) -> str:
    quote = text[0]
    match = (SINGLE if quote == "'" else DOUBLE).fullmatch(text)
    if match is None:
        raise ValueError(f"{name}: {_why_not_quoted(quote, text)}; {_spelling(name, text[1:-1])}")
    value = match[1]
    if quote == '"':
        return re.sub(r"\\(.)", r"\1", value)
    if value.endswith("\\"):
        raise ValueError(f"{name}: a \\ before the closing ' hides it; write it without quotes")
    return value


def _why_not_quoted(quote: str, text: str) -> str:
    if quote not in text[1:]:
        return f"the closing {quote} is missing, and a value may not span lines"
    if quote == '"' and re.search(r"\$|\\[^\"\\$]", text):
        return 'Compose expands $ and \\ inside "…"'
    return f"nothing may follow the closing {quote}"


def _plain(name: str, text: str) -> str:
    if text.startswith("#"):
        raise ValueError(
            f"{name}: a value that begins with # needs quotes; {_spelling(name, text)}"
        )
    value = COMMENT.sub("", text).rstrip(" \t")
    if "\t#" in value:
        raise ValueError(
            f"{name}: for Compose a comment begins with a space and #, not with a tab and #"
        )
    if "$" in value:
        raise ValueError(f"{name}: Compose expands the $; {_spelling(name, value)}")
    return value


def _spelling(name: str, value: str) -> str:
    """How to write it; the value, which may be a secret, is not repeated."""
    if "'" in value:
        return f'write {name}="value", with a \\ before each $, " and \\'
    return f"write {name}='value', in single quotes"
