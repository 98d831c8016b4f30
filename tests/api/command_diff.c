/* command_diff.c - random commands for the comparison with a Redis: all types,
 * valid and invalid arguments.
 *
 * Thread: main. */
#include "tests/api/command_diff.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- random ------------------------------------------------------------- */

uint64_t diff_state;

uint64_t diff_next(void)
{
    uint64_t z = (diff_state += UINT64_C(0x9E3779B97F4A7C15));

    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

unsigned diff_below(unsigned n)
{
    return (unsigned)(diff_next() % n);
}

/* ---- the table ----------------------------------------------------------- */

/* Letters of a shape: k any key, s h l t z key of a type (mostly), v value, f field,
 * U key of a set or sorted set, L key of a sorted set with equal scores, m
 * member, i integer, I small index, d score, r score end, x lex end,
 * e expiry in seconds from now or far away, E in ms, a time to come in
 * seconds, A in ms, p pattern, b offset of a bit, B one of a bit field, w width
 * of a bit field, j number for one, y pattern of SORT, Y key of a HyperLogLog,
 * q element of one, g key of places, n name of a place, o longitude and
 * latitude, R radius or side, u unit, * a few more of the letter before, ?
 * maybe the next option; upper case words in [] are one of them, maybe none; in
 * {} one of them. */
static const struct diff_row diff_rows[] = {
    {"GET", "s", DIFF_EXACT},
    {"SET", "kv", DIFF_EXACT},
    {"SET", "sv[NX XX GET KEEPTTL nx]", DIFF_EXACT},
    {"SET", "sv[NX XX GET][GET KEEPTTL XX]", DIFF_EXACT},
    {"SET", "sv{EX}e", DIFF_EXACT},
    {"SET", "sv{PX}E[NX XX KEEPTTL GET EX]", DIFF_EXACT},
    {"SET", "sv{EXAT}a", DIFF_EXACT},
    {"SET", "sv{PXAT px}A", DIFF_EXACT},
    {"SETEX", "sev", DIFF_EXACT},
    {"PSETEX", "sEv", DIFF_EXACT},
    {"SETNX", "kv", DIFF_EXACT},
    {"GETSET", "sv", DIFF_EXACT},
    {"GETDEL", "s", DIFF_EXACT},
    {"GETEX", "s[PERSIST FOO]", DIFF_EXACT},
    {"GETEX", "s{EX}e", DIFF_EXACT},
    {"GETEX", "s{PX EX}E[PERSIST]", DIFF_EXACT},
    {"GETEX", "s{EXAT}a", DIFF_EXACT},
    {"MGET", "kk*", DIFF_EXACT},
    {"MSET", "sv", DIFF_EXACT},
    {"MSET", "svsv", DIFF_EXACT},
    {"MSET", "svs", DIFF_EXACT},
    {"MSETNX", "kvkv", DIFF_EXACT},
    {"APPEND", "sv", DIFF_EXACT},
    {"STRLEN", "s", DIFF_EXACT},
    {"GETRANGE", "sII", DIFF_EXACT},
    {"SETRANGE", "sIv", DIFF_EXACT},
    {"SUBSTR", "sII", DIFF_EXACT},
    {"LCS", "ss[LEN IDX FOO][IDX WITHMATCHLEN]", DIFF_EXACT},
    {"LCS", "ss{MINMATCHLEN}I[IDX LEN][WITHMATCHLEN IDX]", DIFF_EXACT},
    {"INCR", "s", DIFF_EXACT},
    {"DECR", "s", DIFF_EXACT},
    {"INCRBY", "si", DIFF_EXACT},
    {"DECRBY", "si", DIFF_EXACT},
    {"INCRBYFLOAT", "sd", DIFF_EXACT},
    {"DEL", "kk*", DIFF_EXACT},
    {"UNLINK", "k", DIFF_EXACT},
    {"EXISTS", "kk*", DIFF_EXACT},
    {"TOUCH", "kk*", DIFF_EXACT},
    {"EXPIRE", "ke[NX XX GT LT FOO]", DIFF_EXACT},
    {"EXPIRE", "ke[NX XX][GT LT]", DIFF_EXACT},
    {"PEXPIRE", "kE[NX XX GT LT]", DIFF_EXACT},
    {"EXPIREAT", "ka[NX XX GT LT]", DIFF_EXACT},
    {"PEXPIREAT", "kA[NX XX GT LT][LT]", DIFF_EXACT},
    {"TTL", "k", DIFF_NEAR},
    {"PTTL", "k", DIFF_SHAPE},
    {"EXPIRETIME", "k", DIFF_SHAPE},
    {"PEXPIRETIME", "k", DIFF_SHAPE},
    {"PERSIST", "k", DIFF_EXACT},
    {"TYPE", "k", DIFF_EXACT},
    {"RENAME", "kk", DIFF_EXACT},
    {"RENAMENX", "kk", DIFF_EXACT},
    {"COPY", "kk[REPLACE FOO]", DIFF_EXACT},
    {"COPY", "kk{DB}I[REPLACE]", DIFF_EXACT},
    {"MOVE", "kI", DIFF_EXACT},
    {"DUMP", "k", DIFF_SHAPE},
    {"RESTORE", "kEv[REPLACE ABSTTL FOO]", DIFF_EXACT},
    {"RESTORE", "kEv[REPLACE]{IDLETIME FREQ}I[IDLETIME]", DIFF_EXACT},
    {"SORT", "l[DESC ASC FOO][ALPHA asc]", DIFF_EXACT},
    {"SORT", "z[DESC ALPHA][ALPHA]", DIFF_EXACT},
    {"SORT", "t{ALPHA}[DESC ASC]", DIFF_EXACT},
    {"SORT_RO", "l{ALPHA}{LIMIT}II[DESC]", DIFF_EXACT},
    {"SORT", "l{LIMIT}II{BY GET}y[DESC]", DIFF_EXACT},
    {"SORT", "l{BY}y{GET}y{GET}y[DESC ALPHA]", DIFF_EXACT},
    {"SORT", "z{BY}{nosort}{LIMIT}II[DESC]", DIFF_EXACT},
    {"SORT", "z{ALPHA}{GET}y[DESC]", DIFF_EXACT},
    {"SORT", "t{BY}y{GET}{#}{GET}y[DESC]", DIFF_SET},
    /* Not into a list that others sort: what GET finds may hold NUL bytes, and
     * ALPHA compares up to the first (strcoll), so "" and "\0" come in the
     * order that Redis's quicksort happens to leave. */
    {"SORT", "l{ALPHA}{GET}y{STORE}{sorted}", DIFF_EXACT},
    {"LRANGE", "{sorted}II", DIFF_EXACT},
    {"SORT", "t{ALPHA}{STORE}l[DESC]", DIFF_EXACT},
    {"SORT", "l{BY}{nosort}{STORE}k{LIMIT}II", DIFF_EXACT},
    {"KEYS", "p", DIFF_SET},
    {"SCAN", "{0}{COUNT}{100000}{MATCH}p", DIFF_SCAN},
    {"SCAN", "{0 abc}{COUNT}{100000 0 x}"
             "[TYPE]{string hash list set zset foo STRING}", DIFF_SCAN},
    {"DBSIZE", "", DIFF_EXACT},
    {"RANDOMKEY", "", DIFF_SHAPE},
    {"HSET", "hfv", DIFF_EXACT},
    {"HSET", "hfvfv", DIFF_EXACT},
    {"HSET", "hfvf", DIFF_EXACT},
    {"HMSET", "hfvfv", DIFF_EXACT},
    {"HSETNX", "hfv", DIFF_EXACT},
    {"HGET", "hf", DIFF_EXACT},
    {"HMGET", "hff*", DIFF_EXACT},
    {"HGETALL", "h", DIFF_MAP},
    {"HKEYS", "h", DIFF_SET},
    {"HVALS", "h", DIFF_SET},
    {"HDEL", "hff*", DIFF_EXACT},
    {"HEXISTS", "hf", DIFF_EXACT},
    {"HLEN", "h", DIFF_EXACT},
    {"HSTRLEN", "hf", DIFF_EXACT},
    {"HINCRBY", "hfi", DIFF_EXACT},
    {"HINCRBYFLOAT", "hfd", DIFF_EXACT},
    {"HSCAN", "h{0}{COUNT}{100000}[MATCH FOO]p", DIFF_SCAN},
    {"HRANDFIELD", "h[0 x]", DIFF_SHAPE},
    {"HRANDFIELD", "h{100}", DIFF_SET},
    {"HRANDFIELD", "h{100}{WITHVALUES FOO}", DIFF_MAP},
    {"LPUSH", "lvv*", DIFF_EXACT},
    {"RPUSH", "lvv*", DIFF_EXACT},
    {"LPUSHX", "lv", DIFF_EXACT},
    {"RPUSHX", "lv", DIFF_EXACT},
    {"LPOP", "l", DIFF_EXACT},
    {"RPOP", "l", DIFF_EXACT},
    {"LPOP", "lI", DIFF_EXACT},
    {"RPOP", "lI", DIFF_EXACT},
    {"LRANGE", "lII", DIFF_EXACT},
    {"LLEN", "l", DIFF_EXACT},
    {"LINDEX", "lI", DIFF_EXACT},
    {"LSET", "lIv", DIFF_EXACT},
    {"LINSERT", "l{BEFORE AFTER after FOO}vv", DIFF_EXACT},
    {"LREM", "lIv", DIFF_EXACT},
    {"LTRIM", "lII", DIFF_EXACT},
    {"LPOS", "lv", DIFF_EXACT},
    {"LPOS", "lv{RANK COUNT MAXLEN}I", DIFF_EXACT},
    {"LPOS", "lv{RANK}I{COUNT MAXLEN}I", DIFF_EXACT},
    {"LMOVE", "ll{LEFT RIGHT FOO}{LEFT RIGHT left}", DIFF_EXACT},
    {"RPOPLPUSH", "ll", DIFF_EXACT},
    {"LMPOP", "{1}l{LEFT RIGHT left FOO}", DIFF_EXACT},
    {"LMPOP", "{2 2 1 3 0 x}ll{LEFT RIGHT}[COUNT FOO]I", DIFF_EXACT},
    {"LMPOP", "{3}lll{LEFT RIGHT}{COUNT}I[COUNT][2]", DIFF_EXACT},
    {"SADD", "tmm*", DIFF_EXACT},
    {"SREM", "tmm*", DIFF_EXACT},
    {"SMEMBERS", "t", DIFF_SET},
    {"SISMEMBER", "tm", DIFF_EXACT},
    {"SMISMEMBER", "tmm*", DIFF_EXACT},
    {"SCARD", "t", DIFF_EXACT},
    {"SPOP", "t{0 10000 -1 x}", DIFF_SET},
    {"SRANDMEMBER", "t", DIFF_SHAPE},
    {"SRANDMEMBER", "t{0 10000 x}", DIFF_SET},
    {"SRANDMEMBER", "t{-5 1.5}", DIFF_SHAPE},
    {"SMOVE", "ttm", DIFF_EXACT},
    {"SSCAN", "t{0}{COUNT}{100000}[MATCH]p", DIFF_SCAN},
    {"SINTER", "tt*", DIFF_SET},
    {"SUNION", "tt*", DIFF_SET},
    {"SDIFF", "tt*", DIFF_SET},
    {"SINTERSTORE", "ttt*", DIFF_EXACT},
    {"SUNIONSTORE", "ttt*", DIFF_EXACT},
    {"SDIFFSTORE", "ttt*", DIFF_EXACT},
    {"SINTERCARD", "{1 2 3 0 x}tt[LIMIT]I", DIFF_EXACT},
    {"SINTERCARD", "{2}tt", DIFF_EXACT},
    {"SINTERCARD", "{2}tt{LIMIT}I[LIMIT]", DIFF_EXACT},
    {"SUNION", "ttttt", DIFF_SET},
    {"SINTER", "ttt", DIFF_SET},
    {"SPOP", "t{100}v", DIFF_SET},
    {"ZADD", "zdm", DIFF_EXACT},
    {"ZADD", "zdmdm", DIFF_EXACT},
    {"ZADD", "z[NX XX][GT LT CH]dm", DIFF_EXACT},
    {"ZADD", "z[XX CH][GT LT][CH]dmdm", DIFF_EXACT},
    {"ZADD", "z[NX XX GT LT]{INCR}dm", DIFF_REAL},
    {"ZADD", "z{INCR}dmdm", DIFF_REAL},
    {"ZADD", "zdmd", DIFF_EXACT},
    {"ZREM", "zmm*", DIFF_EXACT},
    {"ZSCORE", "zm", DIFF_REAL},
    {"ZMSCORE", "zmm*", DIFF_REAL},
    {"ZINCRBY", "zdm", DIFF_REAL},
    {"ZCARD", "z", DIFF_EXACT},
    {"ZCOUNT", "zrr", DIFF_EXACT},
    {"ZRANK", "zm", DIFF_EXACT},
    {"ZREVRANK", "zm", DIFF_EXACT},
    {"ZRANGE", "zII[WITHSCORES REV LIMIT]", DIFF_REAL},
    {"ZRANGE", "zII[REV][WITHSCORES]", DIFF_REAL},
    {"ZRANGE", "zrr{BYSCORE}[REV BYLEX][WITHSCORES]", DIFF_REAL},
    {"ZRANGE", "zrr{BYSCORE}{LIMIT}II[WITHSCORES REV]", DIFF_REAL},
    {"ZRANGE", "Lxx{BYLEX}[REV WITHSCORES]", DIFF_REAL},
    {"ZRANGE", "Lxx{BYLEX}{LIMIT}II[REV]", DIFF_EXACT},
    {"ZRANGEBYSCORE", "zrr[WITHSCORES]", DIFF_REAL},
    {"ZRANGEBYSCORE", "zrr{LIMIT}II[WITHSCORES]", DIFF_REAL},
    {"ZREVRANGE", "zII[WITHSCORES FOO]", DIFF_REAL},
    {"ZREVRANGEBYSCORE", "zrr[WITHSCORES]", DIFF_REAL},
    {"ZREVRANGEBYSCORE", "zrr{LIMIT}II", DIFF_REAL},
    {"ZRANGEBYLEX", "Lxx", DIFF_EXACT},
    {"ZREVRANGEBYLEX", "Lxx{LIMIT}II", DIFF_EXACT},
    {"ZLEXCOUNT", "Lxx", DIFF_EXACT},
    {"ZADD", "L{0}m{0}m", DIFF_EXACT},
    {"ZREMRANGEBYLEX", "Lxx", DIFF_EXACT},
    {"ZREMRANGEBYSCORE", "zrr", DIFF_EXACT},
    {"ZREMRANGEBYRANK", "zII", DIFF_EXACT},
    {"ZPOPMIN", "z", DIFF_REAL},
    {"ZPOPMAX", "z", DIFF_REAL},
    {"ZPOPMIN", "zI", DIFF_REAL},
    {"ZPOPMAX", "zI", DIFF_REAL},
    {"ZSCAN", "z{0}{COUNT}{100000}[MATCH FOO]p", DIFF_SCAN},
    {"ZADD", "z[GT LT]{XX}{CH}dmdm", DIFF_EXACT},
    {"ZADD", "z{NX}[INCR CH]dm", DIFF_REAL},
    {"ZCOUNT", "z{-inf}r", DIFF_EXACT},
    {"ZRANGE", "zII[LIMIT]II", DIFF_REAL},
    {"ZREVRANGEBYLEX", "Lxx", DIFF_EXACT},
    {"ZRANGEBYLEX", "Lxx{LIMIT}II", DIFF_EXACT},
    {"ZUNION", "{2}UU[WITHSCORES FOO]", DIFF_REAL},
    {"ZUNION", "{1 2 3 0 -1 x}UU[WITHSCORES]", DIFF_REAL},
    {"ZUNION", "{3}UUU{WEIGHTS}ddd[WITHSCORES]", DIFF_REAL},
    {"ZUNION", "{2}UU{AGGREGATE}{SUM MIN max FOO}{WITHSCORES}", DIFF_REAL},
    {"ZUNION", "{2}UU{AGGREGATE}{MIN MAX}{WEIGHTS}dd{WITHSCORES}", DIFF_REAL},
    {"ZINTER", "{2}UU[WITHSCORES WEIGHTS]", DIFF_REAL},
    {"ZINTER", "{3}UUU{WEIGHTS weights}ddd[WITHSCORES]", DIFF_REAL},
    {"ZINTER", "{2}UU{AGGREGATE}{SUM MIN max}{WITHSCORES}", DIFF_REAL},
    {"ZINTER", "{2}UU{WEIGHTS}dd{AGGREGATE}{MIN MAX SUM}{WITHSCORES}",
     DIFF_REAL},
    {"ZDIFF", "{2}UU[WITHSCORES WEIGHTS]", DIFF_REAL},
    {"ZDIFF", "{1 2 3 0 x}UUU[WITHSCORES]", DIFF_REAL},
    {"ZUNIONSTORE", "z{2}UU[WITHSCORES]", DIFF_EXACT},
    {"ZUNIONSTORE", "z{2}UU{WEIGHTS}dd[AGGREGATE][MIN MAX SUM]", DIFF_EXACT},
    {"ZINTERSTORE", "z{2 3 0}UU[AGGREGATE][MIN MAX SUM]", DIFF_EXACT},
    {"ZINTERSTORE", "z{2}UU{WEIGHTS}dd", DIFF_EXACT},
    {"ZDIFFSTORE", "z{2 1 x}UU[AGGREGATE]", DIFF_EXACT},
    {"ZINTERCARD", "{2}UU[LIMIT WITHSCORES]", DIFF_EXACT},
    {"ZINTERCARD", "{1 2 3 0 x}UU{LIMIT}I", DIFF_EXACT},
    {"ZRANDMEMBER", "z", DIFF_SHAPE},
    {"ZRANDMEMBER", "z{0 x -5}", DIFF_SHAPE},
    {"ZRANDMEMBER", "z{100}", DIFF_SET},
    {"ZRANDMEMBER", "z{100}{WITHSCORES}", DIFF_SCORES},
    {"ZRANDMEMBER", "z{9223372036854775807 -3}{WITHSCORES FOO}[x]",
     DIFF_SHAPE},
    {"ZMPOP", "{1}z{MIN MAX min FOO}", DIFF_REAL},
    {"ZMPOP", "{2 2 1 3 0 x}zz{MIN MAX}[COUNT FOO]I", DIFF_REAL},
    {"ZMPOP", "{3}zzz{MIN MAX}{COUNT}I[COUNT][2]", DIFF_REAL},
    {"ZRANGESTORE", "zLxx{BYLEX}[REV LIMIT]II", DIFF_EXACT},
    {"ZRANGESTORE", "zzrr{BYSCORE}{LIMIT}II[REV]", DIFF_EXACT},
    {"ZRANGESTORE", "zzII[REV WITHSCORES]", DIFF_EXACT},
    {"ZRANGESTORE", "zzrr{BYSCORE}[REV]", DIFF_EXACT},
    {"SETBIT", "sb{0 1 1 2 x}", DIFF_EXACT},
    {"SETBIT", "sb{0 1}", DIFF_EXACT},
    {"GETBIT", "sb", DIFF_EXACT},
    {"GETBIT", "s{4294967295 4294967296 -1 #1}", DIFF_EXACT},
    {"BITCOUNT", "s", DIFF_EXACT},
    {"BITCOUNT", "sII", DIFF_EXACT},
    {"BITCOUNT", "sbb[BIT bit BYTE FOO]", DIFF_EXACT},
    {"BITPOS", "s{0 1 0 1 2 x}", DIFF_EXACT},
    {"BITPOS", "s{0 1}I", DIFF_EXACT},
    {"BITPOS", "s{0 1}II[BIT BYTE byte FOO]", DIFF_EXACT},
    {"BITPOS", "s{0 1}bb[BIT BYTE]", DIFF_EXACT},
    {"BITOP", "{AND OR XOR NOT xor FOO}ss", DIFF_EXACT},
    {"BITOP", "{AND OR XOR NOT}sss*", DIFF_EXACT},
    {"BITFIELD", "s{GET get SET FOO}wB", DIFF_EXACT},
    {"BITFIELD", "s{SET INCRBY incrby}wBj[GET]wB", DIFF_EXACT},
    {"BITFIELD", "s{OVERFLOW}{WRAP SAT FAIL sat FOO}{SET INCRBY}wBj",
     DIFF_EXACT},
    {"BITFIELD", "s{OVERFLOW}{SAT FAIL}{SET INCRBY}wBj{OVERFLOW}{WRAP FAIL}"
                 "{INCRBY SET}wBj", DIFF_EXACT},
    {"BITFIELD_RO", "s{GET}wB[GET SET]wB", DIFF_EXACT},
    {"BITFIELD_RO", "s{GET}wB{GET}wB", DIFF_EXACT},
    {"PFADD", "Y", DIFF_EXACT},
    {"PFADD", "Yq*", DIFF_EXACT},
    {"PFADD", "Yqqqqqqqqqqqq", DIFF_EXACT},
    {"PFADD", "{Y:5}qqqqqqqqqqqq", DIFF_EXACT},
    {"PFCOUNT", "Y", DIFF_EXACT},
    {"PFCOUNT", "YY*", DIFF_EXACT},
    {"PFMERGE", "YY*", DIFF_EXACT},
    {"PFMERGE", "{Y:0}", DIFF_EXACT},
    {"PFDEBUG", "{ENCODING DECODE TODENSE encoding FOO}{Y:0 Y:1 Y:5}",
     DIFF_EXACT},
    {"PFDEBUG", "{ENCODING DECODE GETREG}Y", DIFF_EXACT},
    {"PFSELFTEST", "v", DIFF_EXACT},
    {"GET", "Y", DIFF_EXACT},
    {"STRLEN", "Y", DIFF_EXACT},
    {"DEL", "{Y:0 Y:1 Y:2}", DIFF_EXACT},
    /* Y:9 is damaged, now and then. Nothing is added to it: Redis keeps what
     * it did before it saw the damage. */
    {"COPY", "Y{Y:9}{REPLACE}", DIFF_EXACT},
    {"SETRANGE", "{Y:9}{0 3 4}{Z a HYLL}", DIFF_EXACT},
    {"SETRANGE", "{Y:9}{8 15 16 17 18 40}{Z a HYLL \x7f \xff \x01}",
     DIFF_EXACT},
    {"APPEND", "{Y:9}{Z a \x7f \xff \x01}", DIFF_EXACT},
    {"PFCOUNT", "{Y:9}[Y:1 Y:9]", DIFF_EXACT},
    {"PFMERGE", "Y{Y:9}", DIFF_EXACT},
    {"PFMERGE", "{Y:9}Y", DIFF_EXACT},
    {"PFDEBUG", "{ENCODING DECODE TODENSE GETREG}{Y:9}", DIFF_EXACT},
    {"GET", "{Y:9}", DIFF_EXACT},
    {"GEOADD", "gononon", DIFF_EXACT},
    {"GEOADD", "gonononon", DIFF_EXACT},
    {"GEOADD", "g[NX XX CH]onon", DIFF_EXACT},
    {"GEOADD", "g[NX XX][CH xx]on", DIFF_EXACT},
    {"GEOADD", "{G:0}gon", DIFF_EXACT},
    {"GEOPOS", "gnn*", DIFF_EXACT},
    {"GEOPOS", "z{m1 m2}n", DIFF_EXACT},
    {"GEOHASH", "gnn*", DIFF_EXACT},
    {"GEOHASH", "z{m1 m2}n", DIFF_EXACT},
    {"GEODIST", "gnn[m KM ft MI foo]", DIFF_EXACT},
    {"GEODIST", "z{m1}{m3}[m]", DIFF_EXACT},
    {"GEOSEARCH", "g{FROMMEMBER}n{BYRADIUS}Ru[WITHDIST WITHHASH]"
                  "[WITHCOORD ASC DESC]", DIFF_EXACT},
    {"GEOSEARCH", "g{FROMLONLAT}o{BYRADIUS}Ru[WITHDIST WITHHASH]"
                  "[WITHCOORD ASC DESC]", DIFF_EXACT},
    {"GEOSEARCH", "g{FROMMEMBER}n{BYBOX}RRu[WITHDIST ASC]", DIFF_EXACT},
    {"GEOSEARCH", "g{FROMLONLAT}o{BYBOX}RRu[WITHDIST DESC foo]", DIFF_EXACT},
    {"GEOSEARCH", "g{FROMLONLAT}o{BYRADIUS}Ru{COUNT}I[ANY]", DIFF_EXACT},
    {"GEOSEARCH", "g{FROMMEMBER}n{BYBOX}RRu{COUNT}{1 2 5 20}[ANY ASC DESC]"
                  "[WITHDIST]", DIFF_EXACT},
    {"GEOSEARCH", "g[FROMMEMBER FROMLONLAT]n[BYRADIUS BYBOX]Ru[ANY STOREDIST]"
                  "{FROMLONLAT BYRADIUS COUNT ASC}[1 2]", DIFF_EXACT},
    {"GEOSEARCH", "z{FROMLONLAT}o{BYRADIUS}Ru[WITHCOORD WITHHASH]", DIFF_EXACT},
    {"GEOSEARCHSTORE", "{G:7}g{FROMMEMBER}n{BYRADIUS}Ru[STOREDIST WITHDIST]"
                       "[ASC DESC]", DIFF_EXACT},
    {"GEOSEARCHSTORE", "{G:7}g{FROMLONLAT}o{BYBOX}RRu{COUNT}{1 3 50}"
                       "[STOREDIST]", DIFF_EXACT},
    {"GEORADIUS", "goRu[WITHDIST WITHCOORD][ASC DESC]", DIFF_EXACT},
    {"GEORADIUS", "goRu[STORE STOREDIST]{G:7}[WITHDIST COUNT]", DIFF_EXACT},
    {"GEORADIUS", "goRu{STORE}{G:6}{STOREDIST}{G:7}[COUNT][3]", DIFF_EXACT},
    {"GEORADIUS_RO", "goRu[WITHHASH STORE]", DIFF_EXACT},
    {"GEORADIUSBYMEMBER", "gnRu[STORE STOREDIST][G:7 ASC]", DIFF_EXACT},
    {"GEORADIUSBYMEMBER", "gnRu[COUNT][5][WITHDIST ANY]", DIFF_EXACT},
    {"GEORADIUSBYMEMBER_RO", "gnRu[DESC WITHCOORD STOREDIST]", DIFF_EXACT},
    {"ZRANGE", "{G:7 G:6}{0}{-1}{WITHSCORES}", DIFF_REAL},
    {"ZREM", "gn", DIFF_EXACT},
    {"PING", "", DIFF_EXACT},
    {"PING", "v", DIFF_EXACT},
    {"PING", "vv", DIFF_EXACT},
    {"ECHO", "v", DIFF_EXACT},
    {"TIME", "", DIFF_SHAPE},
    {"OBJECT", "{ENCODING}k", DIFF_EXACT},
    {"OBJECT", "{FOO}k", DIFF_EXACT},
    {"OBJECT", "{ENCODING}", DIFF_EXACT},
    {"OBJECT", "", DIFF_EXACT},
    {"NOSUCH", "vv*", DIFF_EXACT},
    {"nosuch", "", DIFF_EXACT},
    {"FLUSHALL", "{FOO}", DIFF_EXACT},
};
#define DIFF_ROWS (sizeof(diff_rows) / sizeof(diff_rows[0]))

/* ---- making commands ---------------------------------------------------- */

void diff_add(struct diff_command *c, const char *p, size_t size)
{
    if (c->argc < DIFF_ARGS_MAX && size <= sizeof(c->text[0])) {
        memcpy(c->text[c->argc], p, size);
        c->size[c->argc++] = size;
    }
}

static const char *diff_pick(const char *const *words, unsigned count)
{
    return words[diff_below(count)];
}
#define PICK(words) diff_pick(words, sizeof(words) / sizeof(words[0]))

static void diff_add_key(struct diff_command *c, char type)
{
    static const char types[] = "shltz";
    char name[32];

    if (type == 'U') {
        type = diff_below(3) == 0 ? 't' : 'z';
    }
    if (type == 'L') { /* all scores are equal, or ranges mean nothing */
        diff_add(c, "lex", 3);
        return;
    }
    if (type == 'k' || diff_below(25) == 0) {
        type = types[diff_below(5)];
    }
    if (type == 'g') { /* few and large */
        diff_add(c, name, (size_t)snprintf(name, sizeof(name), "G:%u",
                                           diff_below(3)));
        return;
    }
    diff_add(c, name, (size_t)snprintf(name, sizeof(name), "%c:%u", type,
                                       diff_below(6)));
}

static void diff_add_number(struct diff_command *c)
{
    static const char *const odd[] = {
        "9223372036854775807", "-9223372036854775808", "9223372036854775808",
        "007", "1.0", "", "abc", "1e3", "99999999999", "-99999999999",
    };
    char text[32];

    if (diff_below(6) == 0) {
        const char *word = PICK(odd);

        diff_add(c, word, strlen(word));
    } else {
        diff_add(c, text, (size_t)snprintf(text, sizeof(text), "%d",
                                           (int)diff_below(200) - 100));
    }
}

static void diff_add_value(struct diff_command *c)
{
    static const char *const words[] = {
        "", "a", "b", "hello", "caf\xc3\xa9", "\xff\x01\x80", "1", "10", "3.5",
        "-7", "5.0e3", "a longer value of more than forty-four bytes, for raw",
    };

    if (diff_below(3) == 0) {
        diff_add_number(c);
    } else {
        const char *word = PICK(words);

        diff_add(c, word, strlen(word));
    }
}

static void diff_add_small(struct diff_command *c)
{
    static const char *const odd[] = {"9223372036854775807", "x", "1.5",
                                      "-9223372036854775808", ""};
    char text[32];

    /* SETRANGE at a far offset would only measure memory. */
    if (diff_below(20) == 0) {
        const char *word = PICK(odd);

        diff_add(c, word, strlen(word));
    } else {
        diff_add(c, text, (size_t)snprintf(text, sizeof(text), "%d",
                                           (int)diff_below(14) - 5));
    }
}

static void diff_add_score(struct diff_command *c)
{
    static const char *const words[] = {"inf", "-inf", "+inf", "0.1", "1e10",
                                        "-0.5", "3.14159", "1e-3", "x", "nan",
                                        "1795326698.5", "100", "2.5"};
    char text[32];

    if (diff_below(3) == 0) {
        const char *word = PICK(words);

        diff_add(c, word, strlen(word));
    } else {
        diff_add(c, text, (size_t)snprintf(text, sizeof(text), "%d",
                                           (int)diff_below(20) - 5));
    }
}

static void diff_add_score_end(struct diff_command *c)
{
    static const char *const words[] = {"-inf", "+inf", "inf", "(1", "(3.5",
                                        "(inf", "((1", "x", "1e400x"};
    char text[32];

    if (diff_below(3) == 0) {
        const char *word = PICK(words);

        diff_add(c, word, strlen(word));
    } else {
        diff_add(c, text, (size_t)snprintf(text, sizeof(text), "%d",
                                           (int)diff_below(30) - 8));
    }
}

static void diff_add_time(struct diff_command *c, char letter)
{
    /* None that comes while the test runs: both would not see it at once. */
    static const char *const odd[] = {
        "0", "-1", "-50", "9223372036854775807", "-9223372036854775808",
        "9223372036854775808", "99999999999999", "abc", "", "1.5", "9e9",
    };
    const int64_t now = (int64_t)time(NULL);
    char text[32];
    long long number = 1000 + (long long)diff_below(1000) * 100;

    if (diff_below(8) == 0) {
        const char *word = PICK(odd);

        diff_add(c, word, strlen(word));
        return;
    }
    number *= letter == 'E' || letter == 'A' ? 1000 : 1;
    number += letter == 'a' ? now : letter == 'A' ? now * 1000 : 0;
    if (letter == 'e' && diff_below(12) == 0) {
        number = 0;
    }
    /* Middle of a second, so that both clocks round the same way. */
    number += letter == 'E' ? 250 : 0;
    diff_add(c, text,
             (size_t)snprintf(text, sizeof(text), "%lld", number));
}

static void diff_add_bit(struct diff_command *c, char letter)
{
    static const char *const odd[] = {"4294967296", "-1", "x", "", "1.5",
                                      "9223372036854775807", "#x", "##1"};
    static const unsigned below[] = {16, 150, 150, 3000};
    char text[32];

    if (diff_below(25) == 0) {
        const char *word = PICK(odd);

        diff_add(c, word, strlen(word));
        return;
    }
    diff_add(c, text,
             (size_t)snprintf(text, sizeof(text), "%s%u",
                              letter == 'B' && diff_below(3) == 0 ? "#" : "",
                              diff_below(below[diff_below(4)])));
}

static void diff_add_width(struct diff_command *c)
{
    static const char *const odd[] = {"u0", "u64", "i65", "i", "x8", "", "u+8",
                                      "i-1", "U8"};
    static const char *const some[] = {"i64", "u63", "i1", "u1", "i8", "u8"};
    char text[32];

    if (diff_below(3) == 0) {
        const char *word = diff_below(5) == 0 ? PICK(odd) : PICK(some);

        diff_add(c, word, strlen(word));
        return;
    }
    diff_add(c, text, (size_t)snprintf(text, sizeof(text), "%c%u",
                                       diff_below(2) == 0 ? 'i' : 'u',
                                       1 + diff_below(63)));
}

/* Around a few places of all kinds: poles, both sides of 180 degrees. No two
 * in one cell, but by a rare chance: which of two that are equally far is the
 * nearer one is not defined. */
static void diff_add_place(struct diff_command *c)
{
    static const double places[][2] = {{2.3488, 48.8534}, {0, 0}, {-180, 0},
                                       {180, -60}, {15.5, 85.05}, {-70, -84.9},
                                       {13.361389, 38.115556}, {100, 67}};
    static const char *const odd[] = {"181", "-85.06", "x", "", "inf", "1e10",
                                      "nan", "-85.05112878", "85.05112878"};
    const unsigned scale = diff_below(5);
    const unsigned place = diff_below(8);
    double spread = 100;

    for (unsigned i = 0; i < scale; i++) {
        spread /= 10;
    }
    for (unsigned i = 0; i < 2; i++) {
        const double limit = i == 0 ? 180 : 85.05112878;
        double value = places[place][i] +
                       spread * ((double)diff_below(2000001) / 1e6 - 1);
        char text[32];

        value = value > limit ? 2 * limit - value
                              : value < -limit ? -2 * limit - value : value;
        if (diff_below(150) == 0) {
            const char *word =
                diff_below(2) == 0 ? PICK(odd) : i == 0 ? "180" : "0";

            diff_add(c, word, strlen(word));
        } else {
            diff_add(c, text,
                     (size_t)snprintf(text, sizeof(text), "%.9f", value));
        }
    }
}

static void diff_add_radius(struct diff_command *c)
{
    static const char *const odd[] = {"0", "-1", "x", "", "inf", "1e-5", "1e9"};
    double radius = 1 + diff_below(100000);
    char text[32];

    if (diff_below(25) == 0) {
        const char *word = PICK(odd);

        diff_add(c, word, strlen(word));
        return;
    }
    for (unsigned i = diff_below(8); i > 0; i--) {
        radius /= 10;
    }
    diff_add(c, text, (size_t)snprintf(text, sizeof(text), "%.6g", radius));
}

static void diff_add_letter(struct diff_command *c, char letter)
{
    static const char *const lex[] = {"-", "+", "[a", "(a", "[b", "(hello",
                                      "[z", "a", "", "[", "(m3", "[m5", "(m7"};
    static const char *const patterns[] = {"*", "s:*", "?:1", "[hl]:*", "z:3",
                                           "nothing*", "*:2", "\\s:0", "f*",
                                           "m?", "[^m]*", "m1"};
    static const char *const weights[] = {"s:*", "h:*->f1", "h:*->", "nosort",
                                          "#", "*", "h:*->f2->f3", "*:1"};
    static const char *const units[] = {"km", "m", "ft", "mi", "KM", "M", "km",
                                        "mi", "KM", "x"};
    const char *word;
    char text[32];

    switch (letter) {
    case 'k': case 's': case 'h': case 'l': case 't': case 'z': case 'L':
    case 'U': case 'Y': case 'g':
        diff_add_key(c, letter);
        break;
    case 'v':
        diff_add_value(c);
        break;
    case 'f': case 'm':
        if (diff_below(12) == 0) {
            diff_add_value(c);
        } else {
            diff_add(c, text, (size_t)snprintf(text, sizeof(text), "%c%u",
                                               letter, diff_below(12)));
        }
        break;
    case 'i': case 'j':
        diff_add_number(c);
        if (letter == 'j' && c->argc > 0 && c->size[c->argc - 1] == 20) {
            c->size[c->argc - 1]--; /* F: INT64_MIN becomes another */
        }
        break;
    case 'I':
        diff_add_small(c);
        break;
    case 'd':
        diff_add_score(c);
        break;
    case 'r':
        diff_add_score_end(c);
        break;
    case 'x':
        word = PICK(lex);
        diff_add(c, word, strlen(word));
        break;
    case 'b': case 'B':
        diff_add_bit(c, letter);
        break;
    case 'w':
        diff_add_width(c);
        break;
    case 'y':
        word = PICK(weights);
        diff_add(c, word, strlen(word));
        break;
    case 'n':
        diff_add(c, text,
                 (size_t)snprintf(text, sizeof(text), "p%u", diff_below(400)));
        break;
    case 'o':
        diff_add_place(c);
        break;
    case 'R':
        diff_add_radius(c);
        break;
    case 'u':
        word = PICK(units);
        diff_add(c, word, strlen(word));
        break;
    case 'q':
        diff_add(c, text, (size_t)snprintf(text, sizeof(text), "%u",
                                           diff_below(100000)));
        break;
    case 'p':
        word = PICK(patterns);
        diff_add(c, word, strlen(word));
        break;
    default:
        diff_add_time(c, letter);
        break;
    }
}

/* One of the words between p and `end`. */
static void diff_add_word(struct diff_command *c, const char *p,
                          const char *end)
{
    unsigned count = 1, chosen;

    for (const char *q = p; q < end; q++) {
        count += *q == ' ';
    }
    chosen = diff_below(count);
    while (chosen > 0) {
        chosen -= *p++ == ' ';
    }
    for (count = 0; p + count < end && p[count] != ' ';) {
        count++;
    }
    diff_add(c, p, count);
}

void diff_make_row(struct diff_command *c, const struct diff_row *row)
{
    const char *p = row->shape;

    *c = (struct diff_command){.how = row->how};
    diff_add(c, row->name, strlen(row->name));
    while (*p != '\0') {
        if (*p == '[' || *p == '{') {
            const char *end = strchr(p, *p == '[' ? ']' : '}');

            if (*p == '{' || diff_below(2) == 0) {
                diff_add_word(c, p + 1, end);
            }
            p = end + 1;
        } else if (*p == '*') {
            for (unsigned n = diff_below(4); n > 0; n--) {
                diff_add_letter(c, p[-1]);
            }
            p++;
        } else {
            diff_add_letter(c, *p++);
        }
    }
    /* Now and then an argument too many or too few. */
    if (c->how != DIFF_EXACT) {
        return;
    }
    if (diff_below(60) == 0) {
        diff_add_value(c);
    } else if (diff_below(60) == 0 && c->argc > 1) {
        c->argc--;
    }
}

void diff_make(struct diff_command *c)
{
    diff_make_row(c, &diff_rows[diff_below(DIFF_ROWS)]);
}
