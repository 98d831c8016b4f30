# server.sh - for scripts in bash: a server on a free port, and how to judge.
#
#   . tests/lib/server.sh
#   server_start DIR [OPTIONS]     sets SERVER_PID, URL, RESP (the port of the
#                                  Redis protocol), SERVER_ERR (its stderr)
#   server_kill                    SIGKILL, and waits
#   server_stop                    SIGTERM, and waits; gives its exit code
#   pass NAME / fail NAME WHY      lines for the suite
#
# Everything lives in $WORK, a directory of this run that is removed at the
# end together with the server.
KVSQL=$(realpath "${KVSQL:-build/kvsql}")
WORK=$(mktemp -d "${TMPDIR:-/tmp}/kvsql-test.XXXXXX")
SERVER_PID=
server_count=0

server_cleanup()
{
    [ -n "$SERVER_PID" ] && kill -KILL "$SERVER_PID" 2>/dev/null
    rm -rf "$WORK"
}
trap server_cleanup EXIT
trap 'exit 1' INT TERM

server_start()
{
    local dir=$1 line
    shift
    server_count=$((server_count + 1))
    SERVER_ERR=$WORK/server-$server_count.err
    exec {server_out}< <(exec "$KVSQL" serve --dir "$dir" --http-port 0 --port 0 "$@" \
        2>"$SERVER_ERR")
    SERVER_PID=$!
    URL= RESP=
    while IFS= read -r line <&$server_out; do
        case $line in
        *"curl http"*"/get/"*)
            URL=${line#*curl }
            URL=${URL%/get/*}
            ;;
        *"redis-cli -p "*) RESP=${line##*redis-cli -p } ;;
        "ready in"*) return 0 ;;
        esac
    done
    return 1
}

server_kill()
{
    kill -KILL "$SERVER_PID"
    wait "$SERVER_PID" 2>/dev/null
    SERVER_PID=
    exec {server_out}<&-
}

server_stop()
{
    local code
    kill -TERM "$SERVER_PID"
    wait "$SERVER_PID"
    code=$?
    SERVER_PID=
    exec {server_out}<&-
    return $code
}

test_failed=0
pass() { echo "PASS $1"; }
fail()
{
    echo "FAIL $1: $2"
    test_failed=1
}
