#!/usr/bin/env python3
"""build.py - join the library into one kvsql.c and one kvsql.h.

    build.py DIR

The sources stand in sources.list, in that order. Each project header is put in
where it is first included and nowhere again; .def tables are put in each time,
for they mean something else each time. kvsql.h stays a file of its own and is
included at the top. #line, relative to the root, keeps messages pointing home.
Same input, same bytes: nothing of the clock or the machine goes in."""
import glob
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PUBLIC = 'kvsql/kvsql.h'
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"([^"]+)"[^\n]*$')


def read(path):
    with open(os.path.join(ROOT, path), encoding='utf-8') as file:
        return file.read().splitlines()


def sources():
    seen = []
    for line in read('amalgamation/sources.list'):
        line = line.split('#')[0].strip()
        if not line:
            continue
        found = sorted(os.path.relpath(p, ROOT)
                       for p in glob.glob(os.path.join(ROOT, line)))
        seen += [p for p in found if p not in seen]
    return seen


def inline(path, out, done):
    """Append a file with its project headers put in."""
    out.append('#line 1 "%s"' % path)
    for number, line in enumerate(read(path), 1):
        match = INCLUDE.match(line)
        if not match:
            # Data shared between files is static here, like functions.
            out.append(line.replace('extern KV_INTERNAL', 'KV_INTERNAL'))
            continue
        name = match.group(1)
        if not name.endswith('.def'):
            if name in done:
                out.append('/* %s is above */' % name)
                continue
            done.add(name)
        inline(name, out, done)
        out.append('#line %d "%s"' % (number + 1, path))


def main():
    target = sys.argv[1]
    out = ['/* kvsql.c - the whole library in one file, made from its sources.',
           ' * Compile it with -std=c11 -D_GNU_SOURCE and link -lsqlite3',
           ' * -lpthread -lm; kvsql.h is its face. */',
           '#ifndef _GNU_SOURCE', '#define _GNU_SOURCE', '#endif',
           '#define KVSQL_AMALGAMATION 1', '#include "kvsql.h"']
    done = {PUBLIC}
    for path in sources():
        inline(path, out, done)
    os.makedirs(target, exist_ok=True)
    for name, lines in (('kvsql.c', out), ('kvsql.h', read(PUBLIC))):
        with open(os.path.join(target, name), 'w', encoding='utf-8',
                  newline='\n') as file:
            file.write('\n'.join(lines) + '\n')


if __name__ == '__main__':
    main()
