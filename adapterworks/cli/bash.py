"""Completion in bash, which breaks a word at `@` and `:` (`medical:ca` is three words to it).

Invariant: the command is told the line as it is typed, up to the cursor; it gives back what the
shell puts in place of what follows the last break.
"""

from __future__ import annotations

import os

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    split_arg_string,
)

_SOURCE = """\
%(complete_func)s() {
    local response type value

    response=$(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" \
%(complete_var)s=bash_complete "$1")

    while IFS=',' read -r type value; do
        if [[ $type == 'dir' ]]; then
            COMPREPLY=()
            compopt -o dirnames
        elif [[ $type == 'file' ]]; then
            COMPREPLY=()
            compopt -o default
        elif [[ $type == 'plain' ]]; then
            COMPREPLY+=("$value")
        fi
    done <<< "$response"

    return 0
}

%(complete_func)s_setup() {
    complete -o nosort -F %(complete_func)s %(prog_name)s
}

%(complete_func)s_setup;
"""


class Bash(BashComplete):
    """Reads the line itself; a script that an older version printed still gives words."""

    source_template = _SOURCE

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one that is being typed, and that one."""
        line = os.environ.get("COMP_LINE")
        if line is None:
            return super().get_completion_args()
        words = split_arg_string(line)
        typed = words.pop() if words and not _is_ended(line, words[-1]) else ""
        return words[1:], typed

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        """As click has them, each without what stands before the last break of the word."""
        found = super().get_completions(args, incomplete)
        breaks = os.environ.get("COMP_WORDBREAKS", "")
        value = incomplete.partition("=")[2] if incomplete.startswith("-") else incomplete
        # `$` and `@` break a word and belong to what follows them: bash's `rl_special_prefixes`.
        at = max([0, *(incomplete.rfind(c) + (c not in "$@") for c in breaks)])
        before = value[: max(0, len(value) - len(incomplete) + at)]
        for item in found:
            if item.type == "plain" and before and item.value.startswith(before):
                item.value = item.value[len(before) :]
        return found


def _is_ended(line: str, last: str) -> bool:
    """Whether a blank has been typed after the line's last word."""
    return line[-1:].isspace() and not last[-1:].isspace()


def register() -> None:
    """Have click ask this class for bash."""
    add_completion_class(Bash)
