#!/usr/bin/env python3
"""generate.py - reference pages from the tables of the code.

    python3 docs/generate.py CONFIG > docs/CONFIG.md
    python3 docs/generate.py ERRORS > docs/ERRORS.md

tests/docs/run compares the pages with what this prints.
"""
import os
import re
import sys

ROOT = os.path.join(os.path.dirname(os.path.realpath(__file__)), "..")


def rows(path, macro):
    """Arguments of each MACRO(...) line: strings without quotes, words."""
    text = open(os.path.join(ROOT, path), encoding="utf-8").read()
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    for match in re.finditer(r"^%s\((.*)\)$" % macro, text, re.M):
        yield [part.strip().strip('"') for part in re.findall(
            r'\s*"(?:[^"\\]|\\.)*"\s*|[^,]+', match.group(1))]


def config():
    aliases = {}
    for name, id_ in rows("cli/options.def", "CLI_ALIAS"):
        aliases.setdefault(id_.strip(), []).append(name)
    remembered = [(row[1].strip(), row[3], "R" in row[5])
                  for row in rows("cli/options.def", "CLI_REDIS")]
    refused = list(rows("cli/options.def", "CLI_REFUSED"))
    print("""# Options of the server

Made from `cli/options.def` by `docs/generate.py`; edit the table, not this
page.

An option is set, the later wins, by the built-in default, a line of the
configuration file (`name value`, redis.conf's format, `#` begins a comment,
`include FILE`), a variable of the environment (`KVSQL_HTTP_PORT` for
`http-port`), or the command line (`--http-port 8090`). `kvsql config dump
--origin` shows what counts and why. SIGHUP reads all layers again; options
marked *reload* change then, and CONFIG SET changes them over all layers until
the server ends; CONFIG REWRITE puts what it changed into the file.

Sizes take `kb mb gb` (1024) and `k m g` (1000), times take `ms s m h d`.

| option | default | where | what it does |
|---|---|---|---|""")
    for row in rows("cli/options.def", "CLI_OPTION"):
        id_, name, scope, _, initial, argument, where, doc = [
            part.strip() for part in row]
        if scope not in ("CLI_SERVING", "CLI_IN_SERVE"):
            continue
        places = [word for letter, word in (
            ("F", "file"), ("E", "environment"), ("L", "flag"), ("R", "reload"))
            if letter in where]
        title = "`%s`" % name
        for alias in aliases.get(id_, []):
            title += ", `%s`" % alias
        if argument:
            title += " " + argument.replace("|", "\\|")
        print("| %s | %s | %s | %s |" % (
            title, "`%s`" % initial if initial else "-", ", ".join(places), doc))
    print("""
## Parameters of Redis that mean nothing here

A file or the command line may hold them, with values that Redis takes; one message names those
that were found. CONFIG GET gives them back, and CONFIG SET takes those without
a star as Redis does.
""")
    print(", ".join("`%s`%s" % (name, "" if live else "\\*")
                    for name, _, live in remembered) + ".")
    print("""
## Lines of a redis.conf that stop the start

They would mean something that this server does not do.

| line | why |
|---|---|""")
    for name, why in refused:
        print("| `%s` | %s |" % (name.strip(), why.strip()))
    print("""
Any other name stops the start with file, line and the nearest name.""")


def errors():
    print("""# Errors

Made from `kvsql/base/errors.def` by `docs/generate.py`; edit the table, not
this page. Every refusal has a sentence that names what was attempted and on
what; this table has the rest. `code` is in the JSON of tiers 2 and 3 of REST,
RESP is the first word of an error reply of a command.

| code | number | words | HTTP | RESP | SQLite | what to do |
|---|---|---|---|---|---|---|""")
    for row in rows("kvsql/base/errors.def", "KV_ERROR"):
        name, number, words, http, resp, sqlite, hint = [
            part.strip() for part in row]
        print("| %s | %s | %s | %s | %s | %s | %s |" % (
            name, number, words, http, resp, sqlite, hint or "-"))


if __name__ == "__main__":
    {"CONFIG": config, "ERRORS": errors}[sys.argv[1]]()
