<?php
// php_redis.php - phpredis: types, PIPELINE and MULTI, SCAN, sessions.
error_reporting(E_ALL);
set_error_handler(function ($level, $words) {
    throw new ErrorException($words);
});
assert_options(ASSERT_EXCEPTION, true);

function step(string $name): void
{
    echo "ok $name\n";
}

function same($got, $wanted): void
{
    if ($got !== $wanted) {
        throw new Exception(var_export($got, true) . ' instead of ' .
            var_export($wanted, true));
    }
}

function connected(): Redis
{
    $r = new Redis();
    $r->connect(getenv('REDIS_HOST'), (int)getenv('REDIS_PORT'), 5);
    if (getenv('REDIS_PASSWORD')) {
        same($r->auth(getenv('REDIS_PASSWORD')), true);
    }
    return $r;
}

function strings(Redis $r): void
{
    $bytes = implode('', array_map('chr', range(0, 255)));
    same($r->set('s', $bytes, ['ex' => 100, 'nx']), true);
    same($r->get('s'), $bytes);
    same($r->set('s', 'x', ['nx']), false);
    same($r->ttl('s') > 0, true);
    same($r->get('none'), false);
    same($r->mset(['a' => '1', 'b' => '2']), true);
    same($r->mget(['a', 'none', 'b']), ['1', false, '2']);
    same([$r->incr('a'), $r->incrBy('a', 8), $r->decr('a')], [2, 10, 9]);
    same($r->incrByFloat('b', 0.5), 2.5);
    same([$r->append('a', 'x'), $r->strlen('a'), $r->getRange('a', 0, 0)],
        [2, 2, '9']);
    same([$r->setBit('bit', 5, true), $r->getBit('bit', 5)], [0, 1]);
    same([$r->exists('a', 'b', 'none'), $r->del('a', 'b'), $r->type('s')],
        [2, 2, Redis::REDIS_STRING]);
    step('strings');
}

function collections(Redis $r): void
{
    same($r->hMSet('h', ['name' => 'Ann', 'age' => 7]), true);
    $all = $r->hGetAll('h');
    ksort($all);
    same($all, ['age' => '7', 'name' => 'Ann']);
    same([$r->hIncrBy('h', 'age', 1), $r->hMGet('h', ['age', 'none'])],
        [8, ['age' => '8', 'none' => false]]);
    same([$r->hExists('h', 'age'), $r->hDel('h', 'age'), $r->hLen('h')],
        [true, 1, 1]);
    step('hashes');
    same([$r->rPush('l', 'a', 'b', 'c'), $r->lPop('l'), $r->lRange('l', 0, -1)],
        [3, 'a', ['b', 'c']]);
    same([$r->lLen('l'), $r->lIndex('l', -1), $r->lRem('l', 'b', 0)],
        [2, 'c', 1]);
    step('lists');
    same([$r->sAdd('t', 'a', 'b'), $r->sIsMember('t', 'a'), $r->sCard('t')],
        [2, true, 2]);
    $members = $r->sMembers('t');
    sort($members);
    same($members, ['a', 'b']);
    step('sets');
    same($r->zAdd('z', 1.5, 'a', 2, 'b', 1795326698.5, 'c'), 3);
    same($r->zRange('z', 0, 1, true), ['a' => 1.5, 'b' => 2.0]);
    same($r->zRangeByScore('z', '(1.5', '+inf',
        ['withscores' => true, 'limit' => [1, 1]]), ['c' => 1795326698.5]);
    same([$r->zScore('z', 'b'), $r->zIncrBy('z', 2.25, 'a'), $r->zRank('z', 'a'),
        $r->zPopMin('z')], [2.0, 3.75, 1, ['b' => 2.0]]);
    step('sorted sets');
}

function pipelines(Redis $r): void
{
    $got = $r->pipeline()->set('p', '1')->incr('p')->get('p')->exec();
    same($got, [true, 2, '2']);
    $got = $r->multi()->incr('p')->hSet('ph', 'f', 'v')->get('none')->exec();
    same($got, [3, 1, false]);
    $r->watch('p');
    connected()->set('p', 'else');
    same($r->multi()->set('p', 'mine')->exec(), false);
    same($r->get('p'), 'else');
    step('PIPELINE, MULTI, WATCH');
}

function scans(Redis $r): void
{
    $r->setOption(Redis::OPT_SCAN, Redis::SCAN_RETRY);
    for ($i = 0; $i < 300; $i++) {
        $r->set("scan:$i", $i);
    }
    $found = [];
    $cursor = null;
    while ($keys = $r->scan($cursor, 'scan:*', 50)) {
        foreach ($keys as $key) {
            $found[$key] = true;
        }
    }
    same(count($found), 300);
    $cursor = null;
    same($r->hScan('h', $cursor), ['name' => 'Ann']);
    $cursor = null;
    same($r->zScan('z', $cursor, 'c*'), ['c' => 1795326698.5]);
    step('SCAN, HSCAN, ZSCAN');
}

function server(Redis $r): void
{
    $info = $r->info();
    same([$info['redis_mode'], $info['role']], ['standalone', 'master']);
    same($r->dbSize() > 300, true);
    same($r->config('GET', 'maxmemory-policy'),
        ['maxmemory-policy' => 'noeviction']);
    same($r->rawCommand('ECHO', 'raw'), 'raw');
    same($r->lPush('h', 'x'), false);
    same(rtrim($r->getLastError(), "\0"),
        'WRONGTYPE Operation against a key holding the wrong kind of value');
    same($r->select(0), true);
    same($r->select(1), false);
    $r->clearLastError();
    step('INFO, CONFIG, errors, one database');
}

function with_options(Redis $r): void
{
    $r->setOption(Redis::OPT_PREFIX, 'app:');
    $r->setOption(Redis::OPT_SERIALIZER, Redis::SERIALIZER_PHP);
    same($r->set('object', ['list' => [1, 2.5, null]]), true);
    same($r->get('object'), ['list' => [1, 2.5, null]]);
    same(connected()->exists('app:object'), 1);
    step('a prefix and a serializer');
}

function sessions(): void
{
    $path = 'tcp://' . getenv('REDIS_HOST') . ':' . getenv('REDIS_PORT') .
        '?database=0&prefix=sess:';
    if (getenv('REDIS_PASSWORD')) {
        $path .= '&auth=' . urlencode(getenv('REDIS_PASSWORD'));
    }
    ini_set('session.save_handler', 'redis');
    ini_set('session.save_path', $path);
    ini_set('session.use_cookies', '0');
    ini_set('session.cache_limiter', '');
    session_id('abc123');
    session_start();
    $_SESSION['user'] = 'Ann';
    session_write_close();
    same(connected()->ttl('sess:abc123') > 0, true);
    $_SESSION = [];
    session_start();
    same($_SESSION['user'], 'Ann');
    session_destroy();
    same(connected()->exists('sess:abc123'), 0);
    step('sessions');
}

function passwords(): void
{
    $r = new Redis();
    $r->connect(getenv('REDIS_HOST'), (int)getenv('REDIS_PORT'), 5);
    try {
        $r->get('a');
        throw new Exception('no NOAUTH');
    } catch (RedisException $e) {
        same($e->getMessage(), 'NOAUTH Authentication required.');
    }
    try {
        same($r->auth('wrong'), false);
    } catch (RedisException $e) {
        same(strpos($e->getMessage(), 'WRONGPASS '), 0);
    }
    same($r->auth(['default', getenv('REDIS_PASSWORD')]), true);
    step('passwords');
}

ob_start(); // a session begins only before the first output
echo 'version ', phpversion('redis'), "\n";
$r = connected();
$r->flushAll();
strings($r);
collections($r);
pipelines($r);
scans($r);
server($r);
with_options($r);
sessions();
if (getenv('REDIS_PASSWORD')) {
    passwords();
}
