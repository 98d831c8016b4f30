#!/usr/bin/env python3
"""gen_commands.py - docs/COMMANDS.md from command/commands.def.

Usage: gen_commands.py [--check]
Writes the page, or with --check says whether it is current (exit 1 if not)."""
import ast
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TABLE = os.path.join(HERE, "..", "command", "commands.def")
LATER = os.path.join(HERE, "..", "command", "later.def")
PAGE = os.path.join(HERE, "COMMANDS.md")
TITLES = {
    "string": "Strings", "hash": "Hashes", "list": "Lists", "set": "Sets",
    "sorted-set": "Sorted sets", "bitmap": "Bitmaps",
    "hyperloglog": "HyperLogLog", "geo": "Geo", "generic": "Keys of any type",
    "transactions": "Transactions", "connection": "Connection",
    "server": "Server", "pubsub": "Publish and subscribe",
    "scripting": "Scripts", "cluster": "Cluster",
}
FLAGS = {"W": "writes", "R": "reads", "C": "needs no data",
         "L": "on a view when long", "K": "of a connection",
         "CMD_NO_MULTI": "not in a transaction"}


def strings(text):
    """The string literals of a row, in order."""
    return [ast.literal_eval(s)
            for s in re.findall(r'"(?:[^"\\]|\\.)*"', text)]


def rows():
    """Each CMD_ROW as a dict; containers have no syntax of their own."""
    with open(TABLE, encoding="utf-8") as table:
        for line in table:
            if not line.startswith("CMD_ROW("):
                continue
            name, group, since, complexity, syntax, summary = strings(line)
            flags = line.split(",")[2].strip().split("|")
            yield {"name": name.replace("|", " "), "group": group,
                   "since": since, "complexity": complexity, "syntax": syntax,
                   "summary": summary,
                   "flags": [FLAGS[f] for f in flags if f in FLAGS]}


def page():
    commands = list(rows())
    out = ["# Commands", "",
           "Made from `command/commands.def` by `docs/gen_commands.py`; do not "
           "edit.", "",
           f"{len(commands)} commands. Names and options may be written in any "
           "case. *Since* is the version of Redis whose form a command "
           "follows.", ""]
    for group, title in TITLES.items():
        if group not in {c["group"] for c in commands}:
            continue
        out += [f"## {title}", ""]
        for c in commands:
            if c["group"] != group:
                continue
            out += [f"### {c['name']}", "",
                    f"    {c['name']} {c['syntax']}".rstrip(), "",
                    f"{c['summary']}. {c['complexity']}. "
                    f"{', '.join(c['flags'])}; since {c['since']}.", ""]
    out += ["## Not in this version", "",
            "Answered with `ERR unknown command '...': ... are not in this "
            "version of kvsql`.", ""]
    with open(LATER, encoding="utf-8") as later:
        for line in later:
            if line.startswith("CMD_LATER("):
                what, names = strings(line)
                out += [f"- {what}: {names}"]
    out += [""]
    assert {c["group"] for c in commands} <= set(TITLES)
    return "\n".join(out).rstrip() + "\n"


def main():
    text = page()
    if sys.argv[1:] == ["--check"]:
        with open(PAGE, encoding="utf-8") as old:
            if old.read() != text:
                sys.exit("docs/COMMANDS.md is stale: run docs/gen_commands.py")
        return
    with open(PAGE, "w", encoding="utf-8") as new:
        new.write(text)


if __name__ == "__main__":
    main()
