#!/bin/sh
# demo.sh - kvsql on data that nobody here wrote: Debian's own package index.
#
#   KVSQL=build/kvsql sh docs/demo.sh
#
# Loads every package that apt knows into a server in a temporary directory,
# asks about them over HTTP and in the shell, changes, rolls back, commits, lets
# a key expire, opens the snapshot with stock sqlite3, and kills a server in the
# middle of an import. Exits 1 when an answer is not what it must be.
set -eu

KVSQL=$(realpath "${KVSQL:-build/kvsql}")
here=$(dirname "$(realpath "$0")")
work=$(mktemp -d "${TMPDIR:-/tmp}/kvsql-demo.XXXXXX")
server=
cleanup()
{
    [ -n "$server" ] && kill -9 "$server" 2>/dev/null
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

step() { printf '\n== %s\n' "$*"; }
show() { printf '$ %s\n' "$*"; }
stop_with()
{
    echo "demo: $*" >&2
    exit 1
}

# serve DIR OPTIONS...: on a free port; sets server and url.
serve()
{
    dir=$1
    shift
    rm -f "$work/banner"
    mkfifo "$work/banner"
    "$KVSQL" serve --dir "$dir" --http-port 0 --port 0 "$@" >"$work/banner" \
        2>>"$work/messages" &
    server=$!
    url=
    while IFS= read -r line; do
        case $line in
        *"curl http"*"/get/"*)
            url=${line#*curl }
            url=${url%/get/*}
            ;;
        "ready in"*) break ;;
        esac
    done <"$work/banner"
    [ -n "$url" ] || stop_with "no server: $(tail -n 3 "$work/messages")"
}

# sql TEXT: over HTTP by curl, as CSV.
by_curl()
{
    curl -sS --fail-with-body -G "$url/v1/sql.csv" --data-urlencode "q=$1"
}
by_shell() { "$KVSQL" sql "$url" --mode box "$1"; }

# ---- load -------------------------------------------------------------------

step "The input: every package that apt knows"
if command -v apt-cache >/dev/null && [ "$(apt-cache dumpavail 2>/dev/null |
    head -c 1 | wc -c)" = 1 ]; then
    apt-cache dumpavail >"$work/packages"
else
    echo "apt-cache has no package lists here; the sample of the docs is used"
    cp "$here/sample.deb822" "$work/packages"
fi
packages=$(grep -c '^Package:' "$work/packages")
echo "$packages packages, $(wc -c <"$work/packages") bytes"

step "A server, and the import"
serve "$work/data"
show "apt-cache dumpavail | kvsql import $url --format deb822 -"
"$KVSQL" import "$url" --format deb822 - <"$work/packages"
show "curl $url/hget/pkg:dpkg/Version"
curl -sS "$url/hget/pkg:dpkg/Version"
echo

# ---- ask --------------------------------------------------------------------

largest="SELECT z.member AS package, CAST(z.score AS INTEGER) AS kib,
       h.value AS section
FROM zsets z JOIN hashes h ON h.key = 'pkg:' || z.member
                          AND h.field = 'Section'
WHERE z.key = 'by:installed-size'
ORDER BY z.score DESC, z.member LIMIT 10"
sections="SELECT substr(s.key, 9) AS section, count(*) AS packages,
       CAST(sum(z.score) AS INTEGER) AS bytes
FROM sets s JOIN zsets z ON z.key = 'by:size' AND z.member = s.member
WHERE s.key GLOB 'section:*'
GROUP BY s.key ORDER BY bytes DESC, section"
unneeded="SELECT count(*) AS packages FROM hashes
WHERE field = 'Package'
  AND value NOT IN (SELECT value FROM lists WHERE key GLOB 'deps:*')"

step "The ten largest packages with their sections: sorted set and hashes joined"
printf '%s\n' "$largest"
echo "-- over HTTP"
by_curl "$largest"
echo "-- in the shell"
by_shell "$largest"

step "Number and total size of the packages of each section"
printf '%s\n' "$sections"
by_shell "$sections LIMIT 12"

step "Packages that nothing depends on"
printf '%s\n' "$unneeded"
by_shell "$unneeded"
by_shell "SELECT value AS package FROM hashes
WHERE field = 'Package'
  AND value NOT IN (SELECT value FROM lists WHERE key GLOB 'deps:*')
ORDER BY key LIMIT 5"

# ---- change -----------------------------------------------------------------

step "UPDATE and DELETE in a transaction, rolled back and then committed"
victim=$("$KVSQL" sql "$url" "SELECT member FROM zsets
    WHERE key = 'by:size' ORDER BY score DESC, member LIMIT 1")
state="SELECT (SELECT value FROM hashes WHERE key = 'pkg:$victim'
               AND field = 'Section') AS section,
       (SELECT count(*) FROM zsets WHERE key = 'by:size'
               AND member = '$victim') AS in_by_size"
transaction()
{
    printf "BEGIN;
UPDATE hashes SET value = 'demo' WHERE key = 'pkg:%s' AND field = 'Section';
DELETE FROM zsets WHERE key = 'by:size' AND member = '%s';
%s;\n" "$victim" "$victim" "$1"
}
before=$("$KVSQL" sql "$url" "$state")
echo "$victim before: $before"
transaction ROLLBACK | "$KVSQL" sql "$url"
rolled=$("$KVSQL" sql "$url" "$state")
echo "after ROLLBACK: $rolled"
[ "$rolled" = "$before" ] || stop_with "the rollback left something"
transaction COMMIT | "$KVSQL" sql "$url"
committed=$("$KVSQL" sql "$url" "$state")
echo "after COMMIT: $committed"
[ "$committed" = "demo|0" ] || stop_with "the commit is not there"

step "A key that expires"
"$KVSQL" sql "$url" "SET session:demo Ann PX 300"
"$KVSQL" sql "$url" "SELECT key, value FROM strings WHERE key GLOB 'session:*'"
while [ "$("$KVSQL" sql "$url" "EXISTS session:demo")" = 1 ]; do
    sleep 0.05
done
echo "gone: $("$KVSQL" sql "$url" "SELECT count(*) FROM keys
    WHERE key = 'session:demo'") keys"

# ---- snapshot ---------------------------------------------------------------

step "The snapshot, opened by stock sqlite3: the same answers byte for byte"
snapshot=$("$KVSQL" snapshot "$url")
show "sqlite3 $(basename "$snapshot")"
n=0
for query in "$largest" "$sections" "$unneeded" \
    "SELECT * FROM keys ORDER BY key LIMIT 1000" \
    "SELECT * FROM lists WHERE key GLOB 'deps:lib*' ORDER BY key, idx LIMIT 9000" \
    "SELECT member, score FROM zsets WHERE key = 'by:size'
     ORDER BY score, member LIMIT 9000"; do
    "$KVSQL" sql "$url" --mode list "$query" >"$work/live"
    sqlite3 -list "file:$snapshot?mode=ro&immutable=1" "$query" >"$work/file"
    [ -s "$work/live" ] || stop_with "an empty answer"
    cmp "$work/live" "$work/file" || stop_with "the file answers otherwise"
    n=$((n + 1))
done
echo "$n queries, the same bytes from the server and from the file"
sqlite3 -box "file:$snapshot?mode=ro&immutable=1" "$largest"
kill "$server"
wait "$server"
server=

# ---- kill -------------------------------------------------------------------

step "kill -9 in the middle of an import with --fsync always"
serve "$work/killed" --fsync always
: >"$work/acked"
"$KVSQL" import "$url" --format deb822 --batch 10 --print-acked \
    "$work/packages" >"$work/acked" 2>"$work/import" &
import=$!
third=$((packages / 3))
while [ "$(wc -l <"$work/acked")" -lt "$third" ] && kill -0 "$import" \
    2>/dev/null; do
    sleep 0.02
done
kill -9 "$server"
wait "$server" 2>/dev/null || :
wait "$import" && echo "(the import was done before the kill)"
tail -n 1 "$work/import"
serve "$work/killed" --fsync always
acked=$(wc -l <"$work/acked")
there=$(sed 's/.*/EXISTS pkg:&/' "$work/acked" | "$KVSQL" sql "$url" |
    grep -c '^1$')
echo "acknowledged before the kill: $acked, there after the restart: $there"
[ "$acked" = "$there" ] || stop_with "acknowledged packages are missing"
kill "$server"
wait "$server"
server=
"$KVSQL" check "$work/killed"
printf '\nAll answers were as they must be.\n'
