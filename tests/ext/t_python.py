#!/usr/bin/env python3
"""t_python.py - the extension in Python's sqlite3: two connections in one
process, a server and the program beside it, damaged directories, connections
that are closed in any order. Prints PASS and FAIL lines."""
import fcntl
import gc
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import traceback

EXT, KVSQL = os.environ["KVSQL_EXT"], os.environ["KVSQL"]
PLAIN = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
place = None
failed = False


def connect(directory=None, mode=None, path=":memory:"):
    sql = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    sql.enable_load_extension(True)
    sql.load_extension(EXT)
    if directory is not None:
        sql.execute("SELECT kv_open(?, ?)", (directory, mode))
    return sql


def rows(sql, text, *arguments):
    return sql.execute(text, arguments).fetchall()


def same(got, wanted):
    assert got == wanted, "got %r, wanted %r" % (got, wanted)


def refused(sql, text, pattern, *arguments):
    try:
        sql.execute(text, arguments).fetchall()
    except sqlite3.Error as error:
        assert re.search(pattern, str(error)), str(error)
        return error
    raise AssertionError("not refused: " + text)


def kvsql(*words, code=0):
    ran = subprocess.run([KVSQL, *words], capture_output=True, text=True,
                         stdin=subprocess.DEVNULL, env=PLAIN)
    assert ran.returncode == code, (words, ran.returncode, ran.stderr)
    return ran.stdout + ran.stderr


def closed(directory):
    """Nobody has the directory any more."""
    with open(os.path.join(directory, "LOCK"), "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def fill(sql):
    sql.execute("INSERT INTO strings(key, value) VALUES ('a', '1'), ('b', '2')")


def two_connections_see_each_other(data):
    one, two = connect(data), connect(os.path.join(data, ".", "."))
    fill(one)
    same(rows(two, "SELECT key, value FROM strings"), [("a", "1"), ("b", "2")])
    two.execute("UPDATE strings SET value = '3' WHERE key = 'a'")
    same(rows(one, "SELECT kv_get('a')"), [("3",)])
    one.close()
    same(rows(two, "SELECT kv_get('a')"), [("3",)])
    two.close()


def what_was_written_is_there_when_it_is_opened_again(data):
    one = connect(data)
    fill(one)
    one.close()
    same(kvsql("sql", "--dir", data, "SELECT key, value FROM strings"),
         "a|1\nb|2\n")
    closed(data)
    two = connect(data)
    same(rows(two, "SELECT key FROM keys"), [("a",), ("b",)])
    two.close()


def a_transaction_reads_the_same_to_its_end(data):
    one, two = connect(data), connect(data)
    fill(one)
    for end in ("COMMIT", "ROLLBACK", "COMMIT"):
        one.execute("BEGIN")
        before = rows(one, "SELECT value FROM strings WHERE key = 'a'")
        two.execute("UPDATE strings SET value = value || 'x' WHERE key = 'a'")
        same(rows(one, "SELECT value FROM strings WHERE key = 'a'"), before)
        same(rows(one, "SELECT kv_get('a')"), before)
        one.execute(end)
        after = rows(one, "SELECT value FROM strings WHERE key = 'a'")
        assert after != before, after
    # and again with nothing read in between
    one.execute("BEGIN")
    rows(one, "SELECT * FROM strings")
    one.execute("COMMIT")
    two.execute("UPDATE strings SET value = 'last' WHERE key = 'a'")
    one.execute("BEGIN")
    same(rows(one, "SELECT value FROM strings WHERE key = 'a'"), [("last",)])
    one.execute("COMMIT")
    one.execute("SAVEPOINT s")
    rows(one, "SELECT * FROM strings")
    two.execute("UPDATE strings SET value = 'more' WHERE key = 'a'")
    same(rows(one, "SELECT kv_get('a')"), [("last",)])
    one.execute("RELEASE s")
    same(rows(one, "SELECT kv_get('a')"), [("more",)])
    one.close()
    two.close()


def reading_then_writing_over_a_change_is_refused(data):
    one, two = connect(data), connect(data)
    fill(one)
    one.execute("BEGIN")
    rows(one, "SELECT * FROM strings")
    two.execute("UPDATE strings SET value = '9' WHERE key = 'a'")
    refused(one, "UPDATE strings SET value = '5' WHERE key = 'a'",
            "begin the transaction with a write")
    one.execute("ROLLBACK")
    same(rows(two, "SELECT kv_get('a')"), [("9",)])
    # what a statement before the transaction has read is not of it
    rows(one, "SELECT * FROM strings")
    two.execute("UPDATE strings SET value = '10' WHERE key = 'a'")
    one.execute("BEGIN")
    one.execute("UPDATE strings SET incr = 1 WHERE key = 'a'")
    one.execute("COMMIT")
    same(rows(two, "SELECT kv_get('a')"), [("11",)])
    one.close()
    two.close()


def a_thread_does_not_wait_for_itself(data):
    one, two, three = connect(data), connect(data), connect(data)
    fill(one)
    running = three.execute("SELECT key FROM strings ORDER BY key")
    same(running.fetchone(), ("a",))
    one.execute("BEGIN")
    one.execute("INSERT INTO strings(key, value) VALUES ('c', '3')")
    for text in ("SELECT * FROM strings", "SELECT kv_get('a')",
                 "SELECT * FROM stats", "SELECT * FROM kv_meta",
                 "SELECT * FROM changes", "DELETE FROM strings",
                 "SELECT * FROM views"):
        refused(two, text, "another connection of this thread")
    # its running statement reads on, and ends inside of the other's transaction
    same(rows(three, "SELECT kv_get('b')"), [("2",)])
    same(running.fetchall(), [("b",)])
    one.execute("COMMIT")
    same(rows(two, "SELECT count(*) FROM strings"), [(3,)])
    one.execute("BEGIN")
    one.execute("DELETE FROM strings")
    two.close()
    three.close()
    one.close()  # takes the transaction back
    two = connect(data)
    same(rows(two, "SELECT count(*) FROM strings"), [(3,)])
    same(rows(two, "SELECT count(*) FROM views WHERE holder = 'connection'"
                   " AND pins > 1"), [(0,)])
    two.close()


def a_statement_that_runs_keeps_its_view_while_others_write(data):
    one = connect(data)
    one.execute("INSERT INTO strings(key, value) WITH RECURSIVE n(i) AS (SELECT"
                " 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)"
                " SELECT printf('k%04d', i), i FROM n")
    seen = 0
    for key, value in one.execute("SELECT key, value FROM strings"):
        one.execute("UPDATE strings SET value = value || '!' WHERE key = ?",
                    (key,))
        one.execute("INSERT INTO strings(key, value) VALUES (?, 'new')",
                    (key + "x",))
        assert value != "new" and not value.endswith("!"), (key, value)
        same(rows(one, "SELECT value FROM strings WHERE key = ?", key),
             [(value + "!",)])
        seen += 1
    same(seen, 500)
    same(rows(one, "SELECT count(*) FROM strings"), [(1000,)])
    same(rows(one, "SELECT count(*) FROM views WHERE pins > 0")[0][0] <= 2, True)
    one.close()


def a_join_reads_one_state(data):
    one, two = connect(data), connect(data)
    fill(one)
    one.execute("CREATE TABLE t(k TEXT)")
    one.execute("INSERT INTO t VALUES ('a'), ('b'), ('a'), ('b')")
    running = one.execute("SELECT t.k, s.value FROM t CROSS JOIN strings s"
                          " ON s.key = t.k")
    got = [running.fetchone()]
    for _ in range(3):
        two.execute("UPDATE strings SET value = value || '!'")
        got.append(running.fetchone())
    same(got, [("a", "1"), ("b", "2"), ("a", "1"), ("b", "2")])
    one.close()
    two.close()


def a_file_and_the_store_commit_together(data):
    path = os.path.join(place, "main.db")
    one = connect(data, path=path)
    one.execute("CREATE TABLE log(k TEXT PRIMARY KEY)")
    fill(one)
    one.execute("BEGIN")
    one.execute("INSERT INTO log VALUES ('a')")
    one.execute("DELETE FROM strings WHERE key = 'a'")
    one.execute("ROLLBACK")
    same(rows(one, "SELECT count(*) FROM log, strings"), [(0,)])
    one.execute("BEGIN")
    one.execute("INSERT INTO log SELECT key FROM strings")
    one.execute("DELETE FROM strings")
    one.execute("COMMIT")
    same(rows(one, "SELECT * FROM log"), [("a",), ("b",)])
    # reading in a transaction takes no lock on the file
    other = sqlite3.connect(path, isolation_level=None, timeout=0)
    one.execute("BEGIN")
    rows(one, "SELECT * FROM strings")
    other.execute("BEGIN IMMEDIATE")
    other.execute("INSERT INTO log VALUES ('z')")
    other.execute("ROLLBACK")
    one.execute("COMMIT")
    other.close()
    one.close()


def a_connection_that_only_reads(data):
    one = connect(data)
    fill(one)
    one.execute("PRAGMA query_only = 1")
    one.execute("BEGIN")
    same(rows(one, "SELECT kv_get('a'), value FROM strings WHERE key = 'b'"),
         [("1", "2")])
    refused(one, "DELETE FROM strings", "readonly")
    one.execute("COMMIT")
    one.close()


def loading_twice_and_other_functions_of_the_name_do_no_harm(data):
    one = connect(data)
    fill(one)
    one.load_extension(EXT)
    same(rows(one, "SELECT kv_open(?) IS NOT NULL", data), [(1,)])
    for name in ("kv_open", "kv_get"):
        one.create_function(name, 1, lambda x: x)
    same(rows(one, "SELECT kv_get('k'), kv_open('k'), value FROM strings"
                   " WHERE key = 'a'"), [("k", "k", "1")])
    refused(one, "SELECT kv_open(?, NULL)", "this connection has", place)
    one.close()


def patterns_are_those_of_the_process(data):
    one = connect(data)
    fill(one)
    same(rows(one, "SELECT key FROM strings WHERE key GLOB 'a*'"), [("a",)])
    same(rows(one, "SELECT key FROM strings WHERE key LIKE 'A%'"), [("a",)])
    one.execute("PRAGMA case_sensitive_like = 1")
    same(rows(one, "SELECT key FROM strings WHERE key LIKE 'A%'"), [])
    one.execute("PRAGMA case_sensitive_like = 0")
    one.create_function("like", 2, lambda pattern, text: text == "b")
    one.create_function("glob", 2, lambda pattern, text: text == "b")
    same(rows(one, "SELECT key FROM strings WHERE key LIKE 'A%'"), [("b",)])
    same(rows(one, "SELECT key FROM strings WHERE key GLOB 'a*'"), [("b",)])
    one.close()


def numbers_as_keys(data):
    one = connect(data)
    one.execute("INSERT INTO strings(key, value) VALUES ('7', 'x'), ('007', 'y')")
    same(rows(one, "SELECT value FROM strings WHERE key = 3 + 4"), [("x",)])
    same(rows(one, "SELECT value FROM strings WHERE key = '7'"), [("x",)])
    same(rows(one, "SELECT value FROM strings WHERE key = ?", 7), [("x",)])
    one.execute("CREATE TABLE n(i INTEGER)")
    one.execute("INSERT INTO n VALUES (7)")
    same(rows(one, "SELECT value FROM n JOIN strings ON key = i ORDER BY 1"),
         [("x",), ("y",)])
    same(rows(one, "SELECT count(*) FROM n LEFT JOIN strings ON key = i"),
         [(2,)])
    one.execute("DELETE FROM strings WHERE key = '7'")
    same(rows(one, "SELECT key FROM strings"), [("007",)])
    one.close()


def step(sql, text, arguments=()):
    """How it ended: nothing, or the kind of error."""
    try:
        sql.execute(text, arguments)
    except sqlite3.IntegrityError:
        return "constraint"
    except sqlite3.OperationalError as error:
        return re.sub(r"\b(strings|twin)\b", "T", str(error))
    return None


def random_histories_end_as_with_a_table_of_sqlite(data):
    seed = int(os.environ.get("KVSQL_SEED", random.randrange(1 << 31)))
    print("KVSQL_SEED=%d" % seed, flush=True)
    dice = random.Random(seed)
    one, two = connect(data), connect(data)
    one.execute("CREATE TABLE twin(key TEXT NOT NULL PRIMARY KEY, value TEXT"
                " NOT NULL) WITHOUT ROWID")
    content = "SELECT key, value FROM %s ORDER BY key"
    for number in range(1500):
        key, value = "k%d" % dice.randrange(12), str(number)
        wild = "k%d" % dice.randrange(12)
        kind = dice.randrange(16)
        if kind < 6:
            # what opens, ends and divides transactions holds for both
            step(one, dice.choice((
                "BEGIN", "BEGIN IMMEDIATE", "COMMIT", "ROLLBACK", "SAVEPOINT a",
                "SAVEPOINT b", "SAVEPOINT a", "RELEASE a", "RELEASE b",
                "ROLLBACK TO a", "ROLLBACK TO b", "ROLLBACK TO a")))
        else:
            text, arguments = dice.choice((
                ("INSERT INTO {0}(key, value) VALUES (?, ?)", (key, value)),
                ("INSERT OR IGNORE INTO {0}(key, value) VALUES (?, ?)",
                 (key, value)),
                ("REPLACE INTO {0}(key, value) VALUES (?, ?)", (key, value)),
                ("INSERT INTO {0}(key, value) VALUES (?, ?), (?, ?)",
                 (key, value, wild, value)),
                ("INSERT OR FAIL INTO {0}(key, value) VALUES (?, ?), (?, ?)",
                 (key, value, wild, value)),
                ("UPDATE {0} SET value = ? WHERE key = ?", (value, key)),
                ("UPDATE {0} SET value = value || '.' WHERE key < ?", (key,)),
                ("UPDATE OR REPLACE {0} SET key = ? WHERE key = ?", (wild, key)),
                ("DELETE FROM {0} WHERE key = ?", (key,)),
                ("DELETE FROM {0} WHERE key IN (?, ?)", (key, wild))))
            same(step(one, text.format("strings"), arguments),
                 step(one, text.format("twin"), arguments))
        same(rows(one, content % "strings"), rows(one, content % "twin"))
        if not one.in_transaction:
            same(rows(two, content % "strings"), rows(one, content % "twin"))
    one.close()
    two.close()
    closed(data)


class Server:
    def __init__(self, data):
        self.process = subprocess.Popen(
            [KVSQL, "serve", "--dir", data, "--http-port", "0", "--port", "0"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env=PLAIN)
        self.url = None
        for line in self.process.stdout:
            found = re.search(r"curl (http\S*)/get/", line)
            self.url = found.group(1) if found else self.url
            if line.startswith("ready in"):
                break

    def stop(self):
        self.process.terminate()
        self.process.communicate()


def a_directory_belongs_to_one_process(data):
    one = connect(data)
    fill(one)
    ran = subprocess.run(
        [KVSQL, "serve", "--dir", data, "--http-port", "0", "--port", "0"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, env=PLAIN)
    assert ran.returncode != 0, ran
    assert "in use by pid %d" % os.getpid() in ran.stderr, ran.stderr
    one.close()
    server = Server(data)
    try:
        assert server.url is not None
        two = connect()
        error = refused(two, "SELECT kv_open(?)",
                        "in use by pid %d" % server.process.pid, data)
        assert isinstance(error, sqlite3.OperationalError)
        # what the server has written so far can be read, and nothing else
        two.execute("SELECT kv_open(?, 'readonly')", (data,))
        same(rows(two, "SELECT key, value FROM strings"),
             [("a", "1"), ("b", "2")])
        refused(two, "DELETE FROM strings", "only reads")
        two.close()
        # its snapshot is a plain SQLite file
        kvsql("snapshot", server.url)
        names = [n for n in os.listdir(data) if n.endswith(".db")]
        assert names, os.listdir(data)
        three = connect()
        path = os.path.join(data, sorted(names)[-1])
        refused(three, "SELECT kv_open(?)", "ATTACH", path)
        three.execute("ATTACH ? AS snapshot", (path,))
        same(rows(three, "SELECT key, value FROM snapshot.strings"),
             [("a", "1"), ("b", "2")])
        three.close()
    finally:
        server.stop()


def what_is_damaged_is_refused_with_the_place(data):
    one = connect(data)
    fill(one)
    one.execute("UPDATE strings SET value = 'x'")
    one.execute("UPDATE strings SET value = 'y'")
    one.close()
    wal = [n for n in os.listdir(data) if n.startswith("wal-")][0]
    with open(os.path.join(data, wal), "r+b") as file:
        content = file.read()
        at = content.index(b"\x01a")  # in the first frame
        file.seek(at)
        file.write(b"\xff\xff")
    two = connect()
    error = refused(two, "SELECT kv_open(?)", wal, data)
    assert isinstance(error, sqlite3.DatabaseError), error
    refused(two, "SELECT * FROM strings", "no such table")
    # the connection goes on, and may open another
    two.execute("SELECT kv_open(?)", (data + "2",))
    same(rows(two, "SELECT count(*) FROM keys"), [(0,)])
    two.close()
    with open(os.path.join(data, "MANIFEST"), "w", encoding="utf-8") as file:
        file.write("nonsense\n")
    three = connect()
    refused(three, "SELECT kv_open(?)", "MANIFEST", data)
    three.close()
    refused(connect(), "SELECT kv_open(?)", "cannot open the data directory",
            "/dev/null")


def connections_end_in_any_order(data):
    one, two, three = connect(data), connect(data), connect(data)
    fill(two)
    running = one.execute("SELECT key FROM strings")
    running.fetchone()
    two.execute("BEGIN")
    rows(two, "SELECT * FROM strings")
    three.execute("BEGIN")
    three.execute("DELETE FROM strings")
    two.close()
    del one  # with a statement that runs: a zombie until that has gone
    three.close()
    same(running.fetchall(), [("b",)])
    del running
    gc.collect()
    closed(data)
    same(kvsql("sql", "--dir", data, "SELECT count(*) FROM strings"), "2\n")


TESTS = [f for f in list(globals().values())
         if callable(f) and getattr(f, "__code__", None) is not None
         and f.__code__.co_varnames[:f.__code__.co_argcount] == ("data",)]

if __name__ == "__main__":
    for number, test in enumerate(TESTS):
        place = tempfile.mkdtemp(prefix="kvsql-ext.")
        name = test.__name__.replace("_", " ")
        try:
            test(os.path.join(place, "data"))
            print("PASS " + name, flush=True)
        except Exception as error:
            failed = True
            traceback.print_exc()
            print("FAIL %s: %s" % (name, error), flush=True)
        finally:
            shutil.rmtree(place, ignore_errors=True)
    sys.exit(1 if failed else 0)
