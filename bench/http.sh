#!/bin/bash
# http.sh - requests per second and server CPU per request over HTTP.
#
#   KVSQL=build/kvsql bench/http.sh [SECONDS]
#
# A server on a free port with a temporary directory, one wrk thread with 50
# connections; CPU is user + system of the server from /proc/PID/stat. Load
# generator and server share the machine: trust CPU before requests/s.
set -u
cd "$(dirname "$0")/.." || exit 1
command -v wrk >/dev/null || { echo "SKIP http: wrk is not installed"; exit 0; }
. tests/lib/server.sh
seconds=${1:-4}

# post BODY: a script for wrk that posts BODY as JSON
post()
{
    printf 'wrk.method = "POST"\n'
    printf 'wrk.headers["Content-Type"] = "application/json"\n'
    printf 'wrk.body = [=[%s]=]\n' "$1"
}

ticks()
{
    local stat
    stat=$(<"/proc/$SERVER_PID/stat")
    set -- ${stat##*) }
    echo $((${12} + ${13}))
}

# measure NAME PATH [SCRIPT]
measure()
{
    local before after output
    before=$(ticks)
    output=$(wrk -t1 -c50 -d"${seconds}s" ${3:+-s "$3"} "$URL$2")
    after=$(ticks)
    if grep -q 'Non-2xx' <<<"$output"; then
        echo "http: $1: errors were answered" >&2
        exit 1
    fi
    awk -v name="$1" -v ticks=$((after - before)) -v hz="$(getconf CLK_TCK)" '
        /requests in/ { done = $1 }
        /Requests\/sec/ { rate = $2 }
        END {
            if (done == 0) exit 1
            printf "http %-34s %9.0f req/s %8.1f us CPU\n", name, rate,
                ticks * 1e6 / hz / done
        }' <<<"$output" || exit 1
}

post '["SET","k","value"]' >"$WORK/set.lua"
batch=$(for i in $(seq 100); do printf ',["SET","key:%d","value"]' "$i"; done)
post "[${batch#,}]" >"$WORK/batch.lua"

server_start "$WORK/everysec" --fsync everysec || exit 1
measure "POST SET, everysec" / "$WORK/set.lua"
measure "GET /get/k" /get/k
measure "POST /pipeline of 100 SET" /pipeline "$WORK/batch.lua"
server_stop || exit 1
server_start "$WORK/always" --fsync always || exit 1
measure "POST SET, always" / "$WORK/set.lua"
server_stop
