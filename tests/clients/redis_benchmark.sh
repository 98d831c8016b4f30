#!/bin/bash
# redis_benchmark.sh - redis-benchmark: its default tests, plain and pipelined.
set -u
options=(-h "$REDIS_HOST" -p "$REDIS_PORT" -c 20)
[ -z "${REDIS_PASSWORD:-}" ] || options+=(-a "$REDIS_PASSWORD")
[ "${REDIS_RESP:-2}" = 2 ] || options+=(-3)
echo "version $(redis-benchmark --version | awk '{ print $2 }')"

# Each default test gives one line with a rate; errors would stand among them.
names="PING_INLINE PING_MBULK SET GET INCR LPUSH RPUSH LPOP RPOP SADD HSET SPOP
ZADD ZPOPMIN LPUSH LRANGE_100 LRANGE_300 LRANGE_500 LRANGE_600 MSET"
judge() # name of the step
{
    local name
    tr '\r' '\n' >"$REDIS_WORK/rates"
    if grep -iE 'err|warn' "$REDIS_WORK/rates"; then
        exit 1
    fi
    for name in $names; do
        grep -qE "^$name( .*)?: [0-9.]+ requests per second" \
            "$REDIS_WORK/rates" || {
            echo "no rate of $name:"
            cat "$REDIS_WORK/rates"
            exit 1
        }
    done
    echo "ok $1"
}

redis-benchmark "${options[@]}" -q -n 1000 2>&1 | judge "default tests" || exit
redis-benchmark "${options[@]}" -q -n 5000 -P 16 -r 1000 2>&1 |
    judge "default tests, 16 in a pipeline, random keys" || exit
redis-benchmark "${options[@]}" -n 2000 --csv -t set,get >"$REDIS_WORK/csv" 2>&1
[ "$(grep -cE '^"(SET|GET)","[0-9.]+"' "$REDIS_WORK/csv")" = 2 ] || {
    cat "$REDIS_WORK/csv"
    exit 1
}
echo "ok --csv"
redis-benchmark "${options[@]}" -q -n 1000 -r 100 HSET record:__rand_int__ \
    field __rand_int__ 2>&1 | grep -q 'requests per second' || exit 1
echo "ok a command of one's own"
