#!/usr/bin/env python3
"""lint.py - what a machine can check about the house: rooms, cycles, headers
that compile alone, banned calls, names, opening comments.

    lint.py ROOT LIBS CC

Each check is a function from a tree to a list of problems. At the end every
check is run on a tree with one violation planted for it and must find it.
Prints PASS, FAIL and SKIP lines; exit 1 when anything failed."""
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

LEVELS = {'kvsql/base': 0, 'kvsql': 1, 'vtab': 2, 'command': 3, 'http': 4,
          'resp': 4, 'cluster': 4, 'cli': 5, 'tests': 9, 'bench': 9}
OPEN_FACES = ('kvsql/kvsql.h', 'kvsql/inside.h', 'kvsql/admin.h')
# A foreign header, and the files (or rooms, with a slash) that may have it.
FOREIGN = {
    'sqlite3.h': ('vtab/', 'kvsql/snapshot.c', 'kvsql/snapshot_read.c',
                  'kvsql/snapshot_write.c', 'kvsql/snapshot_answers.c',
                  'kvsql/snapshot_private.h'),
    'sqlite3ext.h': ('vtab/', 'kvsql/snapshot_private.h'),
    'microhttpd.h': ('http/',),
    'zlib.h': ('http/gzip.c',),
    'cjson/cJSON.h': ('http/json.c',),
    'cJSON.h': ('http/json.c',),
    'histedit.h': ('cli/',),
    'editline/readline.h': ('cli/',),
    'curl/curl.h': ('cli/',),
    'check.h': (),
}
PREFIX = {'kvsql': ('kv_', 'kvsql_'), 'vtab': ('vt_', 'kvsql_'),
          'command': ('cmd_',), 'http': ('http_',),
          'resp': ('resp_',), 'cli': ('cli_', 'main')}
NEVER = 'strcpy stpcpy strcat sprintf vsprintf atoi atol atoll strtok gets'
MEMORY = 'malloc calloc realloc free strdup strndup'
SYSTEM = ('open openat creat read write pread pwrite readv writev fsync '
          'fdatasync ftruncate time gettimeofday clock_gettime getrandom '
          'rename renameat unlink unlinkat fopen')


def calls(words):
    return re.compile(r'(?<![\w.>])(%s)\s*\(' % '|'.join(words.split()))


def strip(text):
    """Comments and the insides of strings go, lines stay."""
    def blank(match):
        s = match.group(0)
        if s[0] in '"\'':
            return s[0] + s[0]
        return ' ' + '\n' * s.count('\n')
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'',
                  blank, text, flags=re.S)


class Tree:
    """The sources below a root: text, text without comments, includes."""

    def __init__(self, root):
        self.root, self.text, self.code, self.includes = root, {}, {}, {}
        for room in LEVELS:
            top = os.path.join(root, room)
            for folder, _, names in os.walk(top):
                for name in names:
                    if name.endswith(('.c', '.h')):
                        self.add(os.path.relpath(os.path.join(folder, name),
                                                 root))

    def add(self, path):
        with open(os.path.join(self.root, path), encoding='utf-8') as file:
            text = file.read()
        self.text[path] = text
        self.code[path] = strip(text)
        self.includes[path] = re.findall(
            r'^[ \t]*#[ \t]*include[ \t]+(["<])([^">]+)[">]', text, re.M)

    def ours(self):
        return [p for p in sorted(self.text) if LEVELS[room_of(p)] < 9]


def room_of(path):
    if path.startswith('kvsql/base/'):
        return 'kvsql/base'
    return path.split('/')[0]


def line_of(text, position):
    return text.count('\n', 0, position) + 1


def check_rooms(tree, _):
    problems = []
    for path in tree.ours():
        room = room_of(path)
        for quote, name in tree.includes[path]:
            if quote == '<':
                allowed = FOREIGN.get(name)
                if allowed is not None and not any(
                        path == a or a.endswith('/') and path.startswith(a)
                        for a in allowed):
                    problems.append('%s includes <%s>, which lives in %s' % (
                        path, name, ', '.join(allowed) or 'tests/'))
                continue
            target = room_of(name)
            if not os.path.exists(os.path.join(tree.root, name)):
                problems.append('%s includes "%s": no such path from the root'
                                % (path, name))
            elif target != room and (target not in LEVELS or
                                     LEVELS[target] >= LEVELS[room]):
                problems.append('%s includes "%s": %s/ lies not below %s/' % (
                    path, name, target, room))
            elif target == 'kvsql' and not room.startswith('kvsql') and \
                    name not in OPEN_FACES:
                problems.append('%s includes "%s": from outside kvsql/ only %s'
                                % (path, name, ', '.join(OPEN_FACES)))
    return problems


def check_cycles(tree, _):
    problems, done, trail = [], set(), []

    def visit(path):
        if path in trail:
            problems.append(' -> '.join(trail[trail.index(path):] + [path]))
            return
        if path in done or path not in tree.includes:
            return
        done.add(path)
        trail.append(path)
        for quote, name in tree.includes[path]:
            if quote == '"':
                visit(name)
        trail.pop()

    for path in sorted(tree.includes):
        visit(path)
    return problems


def check_headers(tree, cc):
    headers = [p for p in sorted(tree.text) if p.endswith('.h')]

    def compile_one(path):
        source = '#include "%s"\nint lint_unused(void);\n' % path
        run = subprocess.run(
            cc.split() + ['-std=c11', '-D_GNU_SOURCE', '-I' + tree.root,
                          '-Wall', '-Wextra', '-Wpedantic', '-Werror',
                          '-fsyntax-only', '-x', 'c', '-'],
            input=source, text=True, capture_output=True)
        if run.returncode == 0:
            return None
        why = [l for l in run.stderr.splitlines() if 'error' in l] or ['?']
        return '%s does not compile alone: %s' % (path, why[0].strip())

    with ThreadPoolExecutor(2) as pool:
        return [p for p in pool.map(compile_one, headers) if p]


def check_calls(tree, _):
    problems = []
    rules = ((calls(NEVER), lambda p: False),
             (calls(MEMORY.replace('free ', '')),
              lambda p: p == 'kvsql/base/mem.c'),
             # The C library hands blocks to cli/ (getline, line editors).
             (calls('free'),
              lambda p: p == 'kvsql/base/mem.c' or p.startswith('cli/')),
             (calls(SYSTEM),
              lambda p: p == 'kvsql/base/os.c' or p.startswith('cli/')))
    for path in tree.ours():
        for pattern, allowed in rules:
            if allowed(path):
                continue
            for match in pattern.finditer(tree.code[path]):
                problems.append('%s:%d calls %s()' % (
                    path, line_of(tree.code[path], match.start()),
                    match.group(1)))
    return problems


def check_opening(tree, _):
    return ['%s opens without a comment' % p for p in sorted(tree.text)
            if not tree.text[p].startswith('/*')]


FILE_NAME = re.compile(
    r'^static\s+(?!inline\s+assert)[^;={}()]*?(\w+)\s*(?:\(|\[|=|;)', re.M)
TAIL_NAME = re.compile(r'^}\s*(\w+)\s*(?:=|;|\[)', re.M)
TYPE_NAME = re.compile(r'^(?:struct|enum|union)\s+(\w+)\s*{', re.M)
MACRO_NAME = re.compile(r'^#\s*define\s+(\w+)', re.M)


def names_of_file(code):
    """Names of file scope in a .c file that must be its own."""
    code = re.sub(r'__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)\s*', '', code)
    code = re.sub(r'^_Thread_local static|^static _Thread_local', 'static', code,
                  flags=re.M)
    undefined = set(re.findall(r'^#\s*undef\s+(\w+)', code, re.M))
    found = set()
    for pattern in (FILE_NAME, TAIL_NAME, TYPE_NAME, MACRO_NAME):
        found.update(pattern.findall(code))
    return found - undefined


def check_statics(tree, _):
    where, problems = {}, []
    for path in tree.ours():
        if not path.endswith('.c') or room_of(path) not in (
                'kvsql/base', 'kvsql', 'vtab'):
            continue
        for name in sorted(names_of_file(tree.code[path])):
            if name in where:
                problems.append('%s stands in %s and in %s: one file must '
                                'hold both' % (name, where[name], path))
            where.setdefault(name, path)
    return problems


def check_symbols(libs):
    """Of the libraries as built: what strangers and other rooms see."""
    problems = []
    for room, prefixes in PREFIX.items():
        library = os.path.join(libs, 'lib%s.a' % room)
        if not os.path.exists(library):
            continue
        out = subprocess.run(['readelf', '-sW', library], text=True,
                             capture_output=True, check=True).stdout
        for line in out.splitlines():
            part = line.split()
            if len(part) < 8 or part[4] not in ('GLOBAL', 'WEAK') or \
                    part[6] == 'UND' or part[3] not in ('FUNC', 'OBJECT'):
                continue
            name, hidden = part[7], part[5] == 'HIDDEN'
            if name == 'main' and room == 'cli':
                continue
            if not hidden and not name.startswith('kvsql_') and \
                    name != 'sqlite3_kvsql_init':
                problems.append('lib%s.a exports %s' % (room, name))
            if not name.startswith(prefixes) and name != 'sqlite3_kvsql_init':
                problems.append('lib%s.a: %s lacks the prefix %s' % (
                    room, name, ' or '.join(prefixes)))
    return problems


def check_extension(libs):
    """The loadable extension shows its entry and nothing else."""
    extension = os.path.join(libs, 'kvsql.so')
    if not os.path.exists(extension):
        return []
    out = subprocess.run(['nm', '-D', '--defined-only', extension], text=True,
                         capture_output=True, check=True).stdout
    names = sorted(line.split()[-1] for line in out.splitlines())
    return [] if names == ['sqlite3_kvsql_init'] else [
        'kvsql.so exports ' + (' '.join(names) or 'nothing')]


# Ways to make text a page, or a program.
MARKUP = re.compile(r'\b(innerHTML|outerHTML|insertAdjacentHTML|srcdoc|'
                    r'document\.write\w*|DOMParser|createContextualFragment|'
                    r'setHTML\w*|eval\s*\(|Function\s*\(|javascript:)')
WEB_COLUMNS = 100


def check_web(tree, _):
    """The console's files: ours, whole, and without a way to write markup."""
    room, problems = os.path.join(tree.root, 'http/console'), []
    names = sorted(os.listdir(room)) if os.path.isdir(room) else []
    for name in names:
        if not name.endswith(('.html', '.css', '.js', '.svg')):
            if name != 'embed':
                problems.append('%s: what is it?' % name)
            continue
        with open(os.path.join(room, name), encoding='utf-8') as file:
            text = file.read()
        opening = '/* %s - ' if name.endswith(('.js', '.css')) else '<!-- %s - '
        if not name.endswith('.svg') and opening % name not in text[:200]:
            problems.append('%s opens without a comment' % name)
        for number, line in enumerate(text.split('\n'), 1):
            if MARKUP.search(line):
                problems.append('%s:%d writes markup or code' % (name, number))
            if len(line) > WEB_COLUMNS and name.endswith('.js'):
                problems.append('%s:%d is longer than %d columns' % (
                    name, number, WEB_COLUMNS))
        for target in re.findall(r'(?:\bfrom |\bimport |\bimport\()"([^"\n]+)"', text) + \
                re.findall(r'"/_/@VERSION@/([^"]+)"', text):
            file = target.removeprefix('./')
            if file not in names and not file.startswith('editor.'):
                problems.append('%s takes %s, which is not there' % (
                    name, target))
    return problems


CHECKS = (
    ('includes go down and foreign headers stay in their rooms', check_rooms),
    ('includes make no cycle', check_cycles),
    ('every header compiles alone', check_headers),
    ('no banned call', check_calls),
    ('every file opens with a comment', check_opening),
    ('names of file scope are unique over the library', check_statics),
    ('the console writes no markup and takes only what is there', check_web),
)

C = '/* x */\n'
PLANTS = (
    (check_rooms, {'kvsql/a.c': C + '#include "vtab/b.h"\n', 'vtab/b.h': C}),
    (check_rooms, {'http/a.c': C + '#include "kvsql/b.h"\n', 'kvsql/b.h': C}),
    (check_rooms, {'http/a.c': C + '#include "resp/b.h"\n', 'resp/b.h': C}),
    (check_rooms, {'kvsql/base/a.c': C + '#include "kvsql/b.h"\n',
                   'kvsql/b.h': C}),
    (check_rooms, {'command/a.c': C + '#include <sqlite3.h>\n'}),
    (check_rooms, {'vtab/a.c': C + '#include <check.h>\n'}),
    (check_rooms, {'http/a.c': C + '#include "nowhere.h"\n'}),
    (check_cycles, {'kvsql/a.h': C + '#include "kvsql/b.h"\n',
                    'kvsql/b.h': C + '#include "kvsql/a.h"\n'}),
    (check_headers, {'kvsql/a.h': C + 'size_t lint_size(void);\n'}),
    (check_calls, {'vtab/a.c': C + 'void f(void) { strcpy(a, b); }\n'}),
    (check_calls, {'kvsql/a.c': C + 'void f(void) { free (a); }\n'}),
    (check_calls, {'http/a.c': C + 'long f(void) { return time(0); }\n'}),
    (check_calls, {'kvsql/a.c': C + 'int f(int a) { return fsync(a); }\n'}),
    (check_opening, {'cli/a.c': 'int a;\n'}),
    (check_web, {'http/console/a.js': 'let a;\n'}),
    (check_web, {'http/console/a.js': '/* a.js - x */ b.innerHTML = c;\n'}),
    (check_web, {'http/console/a.js': '/* a.js - x */\nimport "./b.js";\n'}),
    (check_web, {'http/console/a.html':
                 '<!-- a.html - x -->\n<p title="/_/@VERSION@/a.css">\n'}),
    (check_web, {'http/console/jquery.min': 'x'}),
    (check_statics, {'kvsql/a.c': C + 'static int size_of(int a);\n',
                     'vtab/b.c': C + 'static long\nsize_of(long b)\n{\n}\n'}),
    (check_statics, {'kvsql/a.c': C + 'static struct {\nint i;\n} both;\n',
                     'vtab/b.c': C + 'static char both[3];\n'}),
    (check_statics, {'kvsql/a.c': C + 'struct both {\nint i;\n};\n',
                     'vtab/b.c': C + 'struct both {\nint j;\n};\n'}),
    (check_statics, {'kvsql/a.c': C + '#define BOTH 1\n',
                     'vtab/b.c': C + '#define BOTH 2\n'}),
)
INNOCENT = {
    'kvsql/base/a.h': C + '#include <stddef.h>\nextern size_t a_size;\n',
    'kvsql/a.c': C + '#include "kvsql/base/a.h"\n'
                 '/* free(p) and "time(0)" */\nstatic int a_open(void);\n'
                 'void f(void) { os->open(1); kv_mem_free(p, "free(x)"); }\n',
    'vtab/b.c': C + '#include <sqlite3.h>\nstatic int b_open(void);\n',
    'http/console/a.js': '/* a.js - x */\nimport { b } from "./b.js";\n',
    'http/console/b.js': '/* b.js - x */\nb.append("<p>");\n',
}


def write_tree(root, files):
    for path, text in files.items():
        full = os.path.join(root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, 'w', encoding='utf-8') as file:
            file.write(text)
    return Tree(root)


def plant_symbol(cc, source, library):
    """Problems of a library made of `source`."""
    with tempfile.TemporaryDirectory() as root:
        object_file = os.path.join(root, 'a.o')
        subprocess.run(cc.split() + ['-c', '-x', 'c', '-', '-o', object_file],
                       input=source, text=True, check=True)
        subprocess.run(['ar', 'rcs', os.path.join(root, library), object_file],
                       check=True)
        return check_symbols(root)


def plant_extension(cc, source):
    """Problems of an extension made of `source`."""
    with tempfile.TemporaryDirectory() as root:
        subprocess.run(cc.split() + ['-shared', '-fPIC', '-x', 'c', '-', '-o',
                                     os.path.join(root, 'kvsql.so')],
                       input=source, text=True, check=True)
        return check_extension(root)


def self_test(cc, report):
    for number, (check, files) in enumerate(PLANTS, 1):
        with tempfile.TemporaryDirectory() as root:
            found = check(write_tree(root, files), cc)
        report('%s finds planted violation %d' % (
            check.__name__[6:], number), [] if found else ['not found'])
    with tempfile.TemporaryDirectory() as root:
        tree = write_tree(root, INNOCENT)
        for _, check in CHECKS:
            report('%s lets the innocent pass' % check.__name__[6:],
                   check(tree, cc))
    hidden = '__attribute__((visibility("hidden"))) '
    entry = 'int sqlite3_kvsql_init(void) { return 0; }\n'
    report('extension judges what it shows',
           [] if not plant_extension(cc, entry) and plant_extension(
               cc, entry + 'int kv_open(void) { return 0; }') else ['wrongly'])
    for name, source, bad in (
            ('a stranger\'s export', 'int kv_open(void) { return 0; }', True),
            ('a missing prefix', hidden + 'int open_it(void) { return 0; }',
             True),
            ('an innocent name', hidden + 'int kv_it(void) { return 0; }',
             False)):
        found = plant_symbol(cc, source, 'libkvsql.a')
        report('symbols judges ' + name,
               [] if bool(found) == bad else ['wrongly judged'])


def main():
    root, libs, cc = sys.argv[1:4]
    failures = 0

    def report(name, problems):
        nonlocal failures
        if not problems:
            print('PASS', name)
            return
        failures += 1
        print('FAIL %s: %d found' % (name, len(problems)))
        for problem in problems:
            print('     ' + problem)

    tree = Tree(root)
    for name, check in CHECKS:
        report(name, check(tree, cc))
    if os.path.exists(os.path.join(libs, 'libkvsql.a')):
        report('only kvsql_ is exported and rooms keep their prefix',
               check_symbols(libs))
    else:
        print('SKIP only kvsql_ is exported and rooms keep their prefix: '
              'no library in %s' % libs)
    report('the extension shows its entry alone', check_extension(libs))
    self_test(cc, report)
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
