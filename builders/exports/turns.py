"""A chat template as a row of turns: what stands before and after the text of each role.

It is found by rendering talks whose texts are marks and looking at what stands between these; then
it is tried on other talks. Invariant: turns that render any of these talks to another text than the
template does are none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from adapterworks.builders.exports.readers.reader import Talk, Unrendered
from adapterworks.manifests.errors import Refused

Render = Callable[[Talk, bool], str]  # with the beginning of an answer, or without

_SYSTEM, _USER, _ASSISTANT, _AGAIN = "⟦one⟧", "⟦two⟧", "⟦three⟧", "⟦four⟧"


def _says(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in pairs]


_TRIED = (
    _says(("user", "Is 7 prime?")),
    _says(("user", "Is 7  prime?\nSay so."), ("assistant", "Yes."), ("user", "And 8? {x}")),
    _says(("system", "Answer in one word."), ("user", "Is 7 prime?")),
    _says(
        ("system", "Be brief."),
        *[("user", "病历 A12"), ("assistant", "I10"), ("user", "A13"), ("assistant", "R51")],
        ("user", "It's <b>bold</b> & 'quoted'"),
    ),
)


@dataclass(frozen=True, slots=True)
class Turns:
    """What stands around the texts of a talk.

    Attributes:
        before: at the very beginning.
        around: by role, what opens and closes a text of it.
        answer: what an answer follows.
        system: what the system says where a talk does not begin with it; empty: nothing.
    """

    before: str
    around: Mapping[str, tuple[str, str]]
    answer: str
    system: str

    def render(self, talk: Talk) -> str:
        """The text of a talk, with the beginning of an answer."""
        if self.system and talk[0]["role"] != "system":
            talk = [{"role": "system", "content": self.system}, *talk]
        said = []
        for turn in talk:
            opened, closed = self.around[turn["role"]]
            said.append(opened + turn["content"] + closed)
        return self.before + "".join(said) + self.answer


def find_turns(render: Render, bos: str) -> Turns:
    """The turns of a chat template.

    Args:
        render: the template; raises `Unrendered` for a talk that it refuses.
        bos: the text of the token that begins a sequence; empty if there is none.

    Raises:
        Refused: it is no row of turns, or does something with texts besides.
    """
    if (why := _refused(render, "system", "user")) is not None:
        if _refused(render, "user") is not None:
            raise Refused(f"its chat template refuses a question: {why}")
        raise Refused(f"its chat template refuses a system turn, which Ollama may be given: {why}")
    try:
        found = _look(render, bos)
        wrong = next((talk for talk in _TRIED if found.render(talk) != render(talk, True)), None)
    except (ValueError, IndexError, Unrendered) as error:
        raise Refused("its chat template is no row of turns, each of a role and a text") from error
    if wrong is not None:
        roles = ", ".join(turn["role"] for turn in wrong)
        raise Refused(f"its chat template does something besides turns in a talk of {roles}")
    return found


def _refused(render: Render, *roles: str) -> str | None:
    """What a template says against a talk of these roles; None if it takes it."""
    try:
        render(_says(*((role, "Is 7 prime?") for role in roles)), True)
    except Unrendered as error:
        return str(error)
    return None


def _look(render: Render, bos: str) -> Turns:
    first = _says(("system", _SYSTEM), ("user", _USER))
    second = [*first, *_says(("assistant", _ASSISTANT))]
    whole = render([*second, *_says(("user", _AGAIN))], True)
    start, rest = _split(whole, _SYSTEM)
    to_user, rest = _split(rest, _USER)
    to_assistant, rest = _split(rest, _ASSISTANT)
    to_again, end = _split(rest, _AGAIN)
    close_user = _split(render(first, False), _USER)[1]
    close_assistant = _split(render(second, False), _ASSISTANT)[1]
    open_user = _without(to_again, before=close_assistant)
    open_assistant = _without(to_assistant, before=close_user)
    close_system = _without(to_user, after=open_user)
    alone = _without(_split(render(_says(("user", _USER)), True), _USER)[0], after=open_user)
    if start.startswith(alone):
        before, system = alone, ""
    else:
        before = bos if bos and start.startswith(bos) else ""
        opened = before + _without(start, before=before)
        system = _without(_without(alone, before=opened), after=close_system)
    around = {
        "system": (_without(start, before=before), close_system),
        "user": (open_user, close_user),
        "assistant": (open_assistant, close_assistant),
    }
    return Turns(before, around, _without(end, before=close_user), system)


def _split(text: str, mark: str) -> tuple[str, str]:
    before, after = text.split(mark)
    return before, after


def _without(text: str, *, before: str = "", after: str = "") -> str:
    """A text without its beginning and end.

    Raises:
        ValueError: it begins or ends otherwise.
    """
    if not text.startswith(before) or not text.endswith(after):
        raise ValueError(text)
    return text[len(before) : len(text) - len(after)]
