"""A line of .env means to `make run` what it means to Compose, or is refused with a spelling both read alike."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy.native.env_file import read_env_file
from deploy.native.options import read_environ
from deploy.paths import ROOT
from deploy.refused import Refused

# What both read, and as what; tests/compose/test_env_file.py asks Compose itself.
ALIKE = {
    "V=word": "word",
    "V=": "",
    "V=two words": "two words",
    "V= after a space": "after a space",
    "V=before spaces  ": "before spaces",
    "V=before a tab\t": "before a tab",
    "  V=indented": "indented",
    "export V=exported": "exported",
    "V=a=b": "a=b",
    "V==a": "=a",
    "V=a#b": "a#b",
    "V=a # a comment": "a",
    "V=a # it's a comment": "a",
    "# V=other\nV=a": "a",
    "V=first\nV=last": "last",
    "V=it's": "it's",
    'V=5" wide': '5" wide',
    "V=a\\b": "a\\b",
    "V=C:\\folder\\": "C:\\folder\\",
    "V=https://h:1/p?q=1&r=%20;x": "https://h:1/p?q=1&r=%20;x",
    "V=~!@%^&*()[]{}|<>,.?`+": "~!@%^&*()[]{}|<>,.?`+",
    "V=pässwörd": "pässwörd",
    "V='pa$word'": "pa$word",
    "V='a # b'": "a # b",
    "V='  spaces  '": "  spaces  ",
    "V='say \"a\"'": 'say "a"',
    "V='a\\nb'": "a\\nb",
    "V='a' # a comment": "a",
    "V=''": "",
    'V="a # b"': "a # b",
    'V="it\'s"': "it's",
    'V="it\'s \\$5, \\"a\\" and \\\\"': 'it\'s $5, "a" and \\',
    'V=""': "",
    "V=windows\r\n": "windows",
    "V='windows'\r\n": "windows",
    "\ufeffV=marked": "marked",
}

# What one of them reads otherwise, or not at all; the spelling that the refusal names, and its value.
REFUSED = {
    "V=pa$word": ("V='pa$word'", "pa$word"),
    "V=pa$$word": ("V='pa$$word'", "pa$$word"),
    "V=${HOME}": ("V='${HOME}'", "${HOME}"),
    "V=it's $5": ('V="it\'s \\$5"', "it's $5"),
    'V="pa$word"': ("V='pa$word'", "pa$word"),
    'V="a\\nb"': ("V='a\\nb'", "a\\nb"),
    "V: word": ("V=word", "word"),
    "V:word": ("V=word", "word"),
    "V = word": ("V=word", "word"),
    "V": ("V=", ""),
    "export V": ("V=", ""),
    "V=#word": ("V='#word'", "#word"),
    "V= # word": ("V='# word'", "# word"),
    "V=a\t# a comment": ("V=a # a comment", "a"),
    "V='word": ("V='word'", "word"),
    'V="word': ("V='word'", "word"),
    "V='two\nlines'": ("V='two lines'", "two lines"),
    "V='a'b": ("V='ab'", "ab"),
    "V='it\\'s'": ('V="it\'s"', "it's"),
    "V='a\\'": ("V=a\\", "a\\"),
    "V=a\x0cb": ("V=ab", "ab"),
    "V=a\u00a0": ("V=a", "a"),
    "V=a\u200bb": ("V=ab", "ab"),
    "a name=1\nV=word": ("V=word", "word"),
    "a.name=1\nV=word": ("V=word", "word"),
    "1=1\nV=word": ("V=word", "word"),
    "=1\nV=word": ("V=word", "word"),
}


def ours(path: Path, text: str | bytes) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_env_file(path)["V"]


@pytest.mark.parametrize("text", ALIKE)
def test_accepted(text: str, tmp_path: Path) -> None:
    """Each of these lines gives this value."""
    assert ours(tmp_path / ".env", text) == ALIKE[text]


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str, tmp_path: Path) -> None:
    """Each of these lines is refused by its number, without its value, and the other spelling is accepted."""
    other, value = REFUSED[text]
    with pytest.raises(Refused, match=r"\.env, line 2: ") as refused:
        ours(tmp_path / ".env", "# a comment\n" + text)
    assert not re.search(r"word\b", str(refused.value).partition("line 2")[2])
    assert ours(tmp_path / ".env", other) == value


def test_spelling_is_named(tmp_path: Path) -> None:
    """A refusal says how to write the line."""
    for text, words in {
        "V=pa$word": "write V='value', in single quotes",
        "V=it's $5": 'write V="value", with a \\ before each $, " and \\',
        "APP_ENV: production": "write APP_ENV=value, not `:`",
        "V = a": "write V=value, without a space before `=`",
        "V='a": "the closing ' is missing",
    }.items():
        with pytest.raises(Refused, match=re.escape(words)):
            ours(tmp_path / ".env", text)


def test_other_encodings(tmp_path: Path) -> None:
    """A byte of another encoding is refused with its line."""
    with pytest.raises(Refused, match="line 2: not UTF-8: save the file as UTF-8"):
        ours(tmp_path / ".env", b"A=1\nV=\xe9\n")


@pytest.mark.parametrize("kind", ["missing", "a folder"])
def test_named_file(kind: str, tmp_path: Path) -> None:
    """A file that ENV_FILE names and that cannot be read ends the command, with its name."""
    path = tmp_path / "typo.env"
    if kind == "a folder":
        path.mkdir()
    with pytest.raises(Refused, match=r"typo\.env cannot be read: "):
        read_environ({"ENV_FILE": str(path)})


def test_example_is_accepted(tmp_path: Path) -> None:
    """Each setting of .env.example can be taken over as it stands."""
    text = re.sub(r"^#([A-Z][A-Z0-9_]*=)", r"\1", (ROOT / ".env.example").read_text(), flags=re.M)
    (tmp_path / ".env").write_text(text)
    found = read_env_file(tmp_path / ".env")

    assert len(found) > 40
    assert found["HTTP_PORT"] == "8080"
