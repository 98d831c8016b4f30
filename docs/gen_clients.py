#!/usr/bin/env python3
"""gen_clients.py - the tables of docs/CLIENTS.md.

Usage: gen_clients.py RESULTS | --check

RESULTS has a line `name|version|steps` for each client of
tests/clients/clients.list, as tests/clients/run --page writes it after all have
passed. --check says whether the page has those clients, each with a version and
steps, and the waiting ones as tests/clients/waiting.list has them (exit 1 if
not)."""
import os
import re
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
LISTS = os.path.join(ROOT, "tests", "clients")
PAGE = os.path.join(ROOT, "docs", "CLIENTS.md")
HEAD = ["client", "version", "from", "RESP", "steps", "what is done"]
WAITING = ["client", "from", "needs"]


def rows(name):
    with open(os.path.join(LISTS, name), encoding="utf-8") as lines:
        return [[word.strip() for word in line.split("|")]
                for line in lines if not line.startswith("#")]


def table(head, body):
    return "".join("| " + " | ".join(row) + " |\n"
                   for row in [head, ["---"] * len(head), *body])


def clients(results):
    """Rows of the table; `results` gives version and steps of a name."""
    return [[name, results[name][0], source, protocols.replace(" ", ", "),
             results[name][1], work]
            for name, _, _, protocols, source, work in rows("clients.list")]


def pattern(name):
    return re.compile(f"(<!-- {name}: begin -->\n)(.*?)(<!-- {name}: end -->)",
                      re.S)


def fill(page, name, text):
    return pattern(name).sub(lambda m: m[1] + "\n" + text + "\n" + m[3], page)


def shown(page):
    """Version and steps by name, as the page has them now."""
    got = {}
    for line in pattern("clients").search(page)[2].splitlines()[3:]:
        words = [word.strip() for word in line.strip("|").split("|")]
        if len(words) == len(HEAD):
            got[words[0]] = (words[1], words[4])
    return got


def made(page, results):
    page = fill(page, "clients", table(HEAD, clients(results)))
    return fill(page, "waiting", table(WAITING, rows("waiting.list")))


def check(page):
    results = shown(page)
    for name, *_ in rows("clients.list"):
        version, steps = results.get(name, ("", ""))
        if not re.fullmatch(r"\d[\w.+~-]*", version) or \
                not re.fullmatch(r"[1-9]\d*", steps):
            sys.exit(f"docs/CLIENTS.md has no result of {name}: "
                     "run tests/clients/run --page")
    if made(page, results) != page:
        sys.exit("docs/CLIENTS.md is not what the lists say: "
                 "run tests/clients/run --page")


def main():
    with open(PAGE, encoding="utf-8") as old:
        page = old.read()
    if sys.argv[1:] == ["--check"]:
        check(page)
        return
    with open(sys.argv[1], encoding="utf-8") as lines:
        results = {name: (version, steps) for name, version, steps in
                   (line.strip().split("|") for line in lines)}
    with open(PAGE, "w", encoding="utf-8") as new:
        new.write(made(page, results))


if __name__ == "__main__":
    main()
