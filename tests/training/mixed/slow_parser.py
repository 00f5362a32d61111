"""Reads the common corpus as text, line by line, and works out what every task's answer is.

It shares no code with the generators: only the word lists and the fact table are theirs.
"""

import re

from tokenizers import Tokenizer

from mechbench.training.mixed.facts import fact_table
from mechbench.training.mixed.words import ENTITIES, KEYS, RELATIONS, VALUES

ACRONYM = re.compile(r"^(?: [a-z]+)* ?The((?: [A-Z][a-z]+(?: [a-z]+)*)+) \(([A-Z]*)$")
PARTNER = {" [": " ]", " {": " }", " <": " >"}


def row_pieces(tokenizer: Tokenizer, row: list[int]) -> list[str]:
    """A text per token; a byte that is no character by itself keeps the token's name."""
    names = [tokenizer.id_to_token(i) for i in row]
    return [name.replace("Ġ", " ").replace("Ċ", "\n") for name in names]


def lines(pieces: list[str], task: list[int]) -> list[tuple[list[str], list[int], bool]]:
    """Each line's pieces without its break, its labels, and whether its break was there."""
    found, start = [], 1
    for i in range(1, len(pieces)):
        if pieces[i] == "\n":
            assert task[i] == -1
            found.append((pieces[start:i], task[start:i], True))
            start = i + 1
    found.append((pieces[start:], task[start:], False))
    return found


def acronyms(before: list[str]) -> str:
    match = ACRONYM.match("".join(before))
    assert match, before
    initials = [word[0] for word in match[1].split() if word[0].isupper()]
    return initials[len(match[2])]


def induction(before: list[str]) -> str:
    earlier = [i for i, piece in enumerate(before[:-1]) if piece == before[-1]]
    (answer,) = {before[i + 1] for i in earlier}
    return answer


def names(before: list[str]) -> str:
    first, second, subject = re.findall(r" ([A-Z][a-z]+)", "".join(before))
    assert first != second
    return f" {({first, second} - {subject}).pop()}"


def facts(before: list[str]) -> str:
    fact = "".join(before).split(" ;")[-1].split()
    (entity,) = [word for word in fact if word in ENTITIES]
    (relation,) = [word for word in fact if word in RELATIONS]
    index = fact_table()[ENTITIES.index(entity), list(RELATIONS).index(relation)]
    return f" {RELATIONS[relation][index]}"


def brackets(before: list[str]) -> str:
    assert " close" in before
    return open_brackets(before)[-1]


def open_brackets(before: list[str]) -> list[str]:
    """The closing brackets that are due, the next one last."""
    due: list[str] = []
    for piece in before:
        if piece in PARTNER:
            due.append(PARTNER[piece])
        elif piece != " close":
            assert due.pop() == piece
    return due


def recall(before: list[str]) -> str:
    stored: dict[str, str] = {}
    assert before[0] == " store" and before[-2] == " recall"
    for key, value in zip(before[1::2], before[2::2], strict=False):
        if key[1:] not in KEYS or value[1:] not in VALUES:
            break
        stored[key] = value
    return stored[before[-1]]


ANSWERS = {f.__name__: f for f in (acronyms, induction, names, facts, brackets, recall)}


def n_answers(kind: str, line: list[str]) -> int:
    """How many answers a whole line of a task has."""
    text = "".join(line)
    match kind:
        case "acronyms":
            return len(text.split(" (")[-1]) - 1
        case "induction":
            period = next(i for i in range(1, len(line)) if line[i] == line[0])
            assert len(line) % period == 0 and line == line[:period] * (len(line) // period)
            return len(line) - period - 1
        case "names":
            return 1
        case "facts":
            return line.count(" ;")
        case "brackets":
            assert open_brackets(line) == []
            return len(line) - 1 - line.index(" close")
        case "recall":
            return line.count(" recall")
    raise AssertionError(kind)
