"""What the figures say, in sentences.  Each is chosen by the data; none is printed regardless."""

from collections.abc import Iterator, Sequence

from lab.policies.difference import Word
from lab.policies.policies import AGAIN, BASE, BY_NAME
from lab.policies.results import Outcome, Results
from lab.policies.trap import TITLES, Trapped

PINNED = ("sticky_cookie", "ip_hash")
WATCHING = ("least_conn", "random_two")
WHY_SLOWER = {
    "pages": "A page's own slow call holds up the five requests beside it when all go to one worker.",
    "hog": "One user's slow calls hold up everybody who is pinned to his worker.",
    "nat": "One address means one worker: all requests queue there while the others idle.",
    "blocking": "Pinning spreads users, not requests, so some workers get more slow calls.",
}
NOT_BEST = "Round robin is not the best here."
WHY_FASTER = (
    "It is blind: each request takes its turn, also at a worker that a slow call holds up. A policy"
    " that counts requests in flight passes that worker by."
)
WHY_HOG = (
    "Here pinning is not all bad: whoever is pinned elsewhere never meets the hog, while round robin"
    " lets everybody wait a little."
)
WHY_AWAITED = (
    "An awaited call leaves its worker free, so nobody queues behind it and the policy does not"
    " matter. A Tornado handler that awaits its slow I/O needs no clever balancer."
)


def findings(results: Results) -> list[str]:
    """The report's text: a paragraph a workload, the trap, then what it means for the claim."""
    paragraphs = [" ".join(_of_workload(outcome)) for outcome in results.outcomes]
    trap = trap_sentence(results.trapped)
    return [*_once(paragraphs), *([trap] if trap else []), *_claims(results.outcomes)]


def _once(paragraphs: Sequence[str]) -> Iterator[str]:
    """The reason why watching the workers is faster is given where it is first needed."""
    given = False
    for paragraph in paragraphs:
        yield paragraph.replace(f" {WHY_FASTER}", "") if given else paragraph
        given = given or WHY_FASTER in paragraph


def _of_workload(outcome: Outcome) -> Iterator[str]:
    title = outcome.workload.title
    words = {name: entry.difference.word for name, entry in outcome.entries.items()}
    others = [name for name in words if name not in (BASE, AGAIN)]
    yield f"{title[0].upper()}{title[1:]}:"
    invalid = [name for name in words if outcome.entries[name].cell.invalid]
    if invalid:
        reasons = outcome.entries[invalid[0]].cell.invalid
        yield f"not valid for {_titles(invalid)}, because {reasons[0]}."
    if others and all(words[name] is Word.NONE for name in others):
        yield f"no difference between the policies beyond noise and chance (A/A {outcome.noise:.2f}x)."
        if outcome.workload.name == "awaited":
            yield WHY_AWAITED
        return
    called = [
        f"{_ratios(outcome, found)} ({word})"
        for word in (Word.FASTER, Word.SLOWER)
        if (found := [name for name in others if words[name] is word])
    ]
    if called:
        yield f"of round robin's mean latency, {', '.join(called)}."
    yield from _undecided(outcome, [name for name in others if words[name] is Word.NONE])
    yield from _reasons(outcome, words)


def _undecided(outcome: Outcome, names: Sequence[str]) -> Iterator[str]:
    """What is called no difference, and which of the conditions it did not meet."""
    ratios = {name: outcome.entries[name].difference.ratio for name in names}
    noise = outcome.noise
    unsteady = [name for name in names if not 1 / noise <= ratios[name] <= noise]
    within = [name for name in names if name not in unsteady]
    if within:
        yield f"{_titles(within)}: no difference beyond the noise of {noise:.2f}x."
    if unsteady:
        yield f"{_ratios(outcome, unsteady)}: too small or too unsteady to be called a difference."


def _reasons(outcome: Outcome, words: dict[str, Word]) -> Iterator[str]:
    if any(words.get(name) is Word.FASTER for name in WATCHING):
        yield NOT_BEST
        yield WHY_FASTER
    if any(words.get(name) is Word.SLOWER for name in PINNED):
        yield WHY_SLOWER.get(outcome.workload.name, "")
    base = outcome.entries[BASE].cell
    pinned = [outcome.entries[name].cell for name in PINNED if name in outcome.entries]
    if outcome.workload.name == "hog" and any(c.users_hurt < base.users_hurt for c in pinned):
        yield WHY_HOG


def trap_sentence(trapped: Sequence[Trapped]) -> str:
    """What the failing worker did; empty when it was not measured or drew no more than its share."""
    by_name = {found.policy: found for found in trapped}
    blind, drawn = by_name.get("failing_round_robin"), by_name.get("failing_least_conn")
    if blind is None or drawn is None:
        return ""
    text = "The trap, a worker that answers 500 at once: " + ", ".join(
        f"{found.share:.0%} of all requests failed under {TITLES[found.policy]}"
        for found in trapped
    )
    if drawn.share <= 1.2 * blind.share:
        return text + ". In this run least_conn did not draw more to it than round robin."
    return text + (
        ". It never has a request in flight, so least_conn takes it for the least busy worker and sends"
        " it more than its share; max_fails does not help, because nginx does not count a 500 as a"
        " failure unless proxy_next_upstream names http_500."
    )


def _claims(outcomes: Sequence[Outcome]) -> Iterator[str]:
    slower = _found(outcomes, PINNED, Word.SLOWER)
    faster = _found(outcomes, WATCHING, Word.FASTER)
    if slower:
        yield (
            "The claim that a pinned visitor fares worse than under round robin is confirmed for:"
            f" {'; '.join(slower)}."
        )
    elif _valid(outcomes, PINNED):
        yield "The claim that a pinned visitor fares worse than under round robin did not show here."
    if faster:
        yield (
            "The claim that plain round robin is the better choice is corrected: a policy that"
            f" watches the workers was better for: {'; '.join(faster)}."
        )


def _found(outcomes: Sequence[Outcome], policies: Sequence[str], word: Word) -> list[str]:
    """The workloads in which any of these policies was called `word`."""
    return [
        f"{outcome.workload.title} ({_ratios(outcome, found)})"
        for outcome in outcomes
        if (
            found := [
                name
                for name in policies
                if name in outcome.entries and outcome.entries[name].difference.word is word
            ]
        )
    ]


def _valid(outcomes: Sequence[Outcome], policies: Sequence[str]) -> bool:
    return any(
        name in outcome.entries and outcome.entries[name].difference.word is not Word.INVALID
        for outcome in outcomes
        for name in policies
    )


def _ratios(outcome: Outcome, names: Sequence[str]) -> str:
    entries = [(BY_NAME[name].title, outcome.entries[name].difference.ratio) for name in names]
    return ", ".join(f"{title} {ratio:.2f}x" for title, ratio in entries)


def _titles(names: Sequence[str]) -> str:
    return ", ".join(BY_NAME[name].title for name in names)
