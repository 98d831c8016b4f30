#!/usr/bin/env python3
"""gen_rest.py - the table of paths of docs/REST.md from http/routes.def.

Usage: gen_rest.py [--check]
Writes the page, or with --check says whether it is current (exit 1 if not)."""
import os
import re
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
TABLE = os.path.join(ROOT, "http", "routes.def")
PAGE = os.path.join(ROOT, "docs", "REST.md")
METHODS = {"G": ["GET", "HEAD"], "ANY": ["GET", "HEAD", "POST", "PUT"]}
ROW = re.compile(r'^HTTP_ROUTE\(([^"]+), "([^"]+)", (\w+), (\w+), .*?'
                 r'"([^"]*)"\)$', re.M)


def methods(text):
    words = [word.strip() for word in text.split("|")]
    return [name for word in words
            for name in METHODS.get(word, [word.replace("HTTP_", "")])]


def table():
    with open(TABLE, encoding="utf-8") as file:
        text = file.read()
    rows = ROW.findall(text)
    if len(rows) != len(re.findall(r"^HTTP_ROUTE", text, re.M)):
        sys.exit("gen_rest.py: a row of routes.def of another form")
    lines = ["| methods | path | rights | |", "|---|---|---|---|"]
    for names, pattern, _, rights, summary in rows:
        shown = [name for name in methods(names) if name != "HEAD"]
        lines.append(f"| {' '.join(shown)} | `{pattern}` | {rights.lower()} "
                     f"| {summary} |")
    return "\n".join(lines) + "\n"


def main():
    with open(PAGE, encoding="utf-8") as file:
        page = file.read()
    made = re.sub(r"(<!-- routes: begin -->\n).*?(<!-- routes: end -->)",
                  lambda m: m[1] + "\n" + table() + "\n" + m[2], page,
                  flags=re.S)
    if sys.argv[1:] == ["--check"]:
        if made != page:
            sys.exit("docs/REST.md is not what http/routes.def says: "
                     "run docs/gen_rest.py")
        return
    with open(PAGE, "w", encoding="utf-8") as file:
        file.write(made)


if __name__ == "__main__":
    main()
